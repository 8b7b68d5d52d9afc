"""KServe's samples, run: each is applied as it is and asked what its README asks it.

Those of ``docs/samples`` for whose models there are twins, and that have a request beside them.
Each has a namespace of its own, as their names are not their own. A sample passes if its services
become ready and its request is answered with as much as it asks for; what with, twins cannot tell.
"""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from tests.conformance.kserve import EMULATOR, ENVIRONMENT, images, outside, prepare
from tests.conformance.rows import Case, Platform, Row

__all__ = ["ENVIRONMENT", "cases", "images", "outside", "run"]


@dataclass(frozen=True, slots=True)
class _Request:
    """A file to send, the model's name where it is not the service's, and what it is asked."""

    file: str
    model: str = ""
    verb: str = "predict"
    after: str = ""
    """A file that is applied before, and ready."""


_MNIST: Final = "v1beta1/torchserve/v1/mnist.json"
_REQUESTS: Final[Mapping[str, _Request]] = {
    "explanation/art/mnist/art.yaml": _Request("explanation/art/mnist/input.json", verb="explain"),
    "graph/ensemble.yaml": _Request("graph/iris-input.json", verb="graph"),
    "graph/sequence.yaml": _Request("graph/iris-input.json", verb="graph"),
    "graph/splitter.yaml": _Request("graph/iris-input.json", verb="graph"),
    "istio-dex/sklearn.yaml": _Request("istio-dex/iris-input.json"),
    "logger/basic/sklearn-logging.yaml": _Request("logger/basic/iris-input.json"),
    "v1beta1/advanced/cluster_local.yaml": _Request("v1beta1/sklearn/v1/iris-input.json"),
    "v1beta1/advanced/probes.yaml": _Request("v1beta1/tensorflow/input.json"),
    "v1beta1/advanced/timeout.yaml": _Request("v1beta1/tensorflow/input.json"),
    "v1beta1/lightgbm/lightgbm.yaml": _Request("v1beta1/lightgbm/iris-input.json"),
    "v1beta1/paddle/paddle.yaml": _Request("v1beta1/paddle/jay.json"),
    "v1beta1/pmml/pmml.yaml": _Request("v1beta1/pmml/pmml-input.json"),
    "v1beta1/rollout/canary.yaml": _Request(
        "v1beta1/rollout/input.json", after="v1beta1/rollout/default.yaml"
    ),
    "v1beta1/rollout/default.yaml": _Request("v1beta1/rollout/input.json"),
    "v1beta1/rollout/pinned.yaml": _Request(
        "v1beta1/rollout/input.json", after="v1beta1/rollout/default.yaml"
    ),
    "v1beta1/rollout/promotion.yaml": _Request(
        "v1beta1/rollout/input.json", after="v1beta1/rollout/canary.yaml"
    ),
    "v1beta1/sklearn/v1/sklearn-mixedtype-model/sklearn-mixedtype.yaml": _Request(
        "v1beta1/sklearn/v1/sklearn-mixedtype-model/mixedtype-input.json"
    ),
    "v1beta1/sklearn/v1/sklearn.yaml": _Request("v1beta1/sklearn/v1/iris-input.json"),
    "v1beta1/sklearn/v2/sklearn.yaml": _Request("v1beta1/sklearn/v2/iris-input.json"),
    "v1beta1/tensorflow/tensorflow.yaml": _Request("v1beta1/tensorflow/input.json"),
    "v1beta1/torchserve/metrics/metrics.yaml": _Request(_MNIST, "mnist"),
    "v1beta1/torchserve/v1/torchserve.yaml": _Request(_MNIST, "mnist"),
    "v1beta1/torchserve/v2/mnist.yaml": _Request(
        "v1beta1/torchserve/v2/tensor_conv/mnist_v2.json", "mnist"
    ),
    "v1beta1/transformer/collocation/collocation.yaml": _Request(
        "v1beta1/transformer/collocation/input.json", "mnist"
    ),
    "v1beta1/triton/torchscript/torchscript.yaml": _Request(
        "v1beta1/triton/torchscript/input.json", "cifar10"
    ),
    "v1beta1/xgboost/xgboost.yaml": _Request("v1beta1/xgboost/iris-input.json"),
}
_AT_ONCE: Final = 3
_READY: Final = "600s"
_ANSWERED_WITHIN: Final = 300.0


def cases(upstream: Path) -> list[Case]:
    """Every file with a request."""
    root = upstream / "kserve" / "docs" / "samples"
    group = "kserve samples, run"
    return [Case(name, group, root / name) for name in _REQUESTS if (root / name).exists()]


def run(chosen: Sequence[Case], platform: Platform) -> Iterator[Row]:
    """Runs each, some at once; a row for each, in their order."""
    prepare(platform, os.environ[EMULATOR])
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        yield from pool.map(lambda numbered: _run(*numbered, platform), enumerate(chosen))


def _run(number: int, case: Case, platform: Platform) -> Row:
    namespace = f"sample-{number}"
    try:
        why = _outcome(case, namespace, platform)
    finally:
        platform.kubectl("delete", "namespace", namespace, "--ignore-not-found", "--wait=false")
    return Row(case.name, case.group, "failed" if why else "passed", why[:300])


def _outcome(case: Case, namespace: str, platform: Platform) -> str:
    """Why it failed, empty if it passed."""
    asked = _REQUESTS[case.name]
    root = Path(str(case.path).removesuffix(case.name))
    platform.kubectl("create", "namespace", namespace)
    for file in [asked.after, case.name] if asked.after else [case.name]:
        manifest = (root / file).read_text()
        applied = platform.kubectl("apply", "-n", namespace, "-f", "-", stdin=manifest)
        if applied.returncode:
            return applied.stderr.strip()
        for kind in ("inferenceservices", "inferencegraphs"):
            if not platform.kubectl("get", kind, "-n", namespace, "-o", "name").stdout:
                continue
            ready = ("--for=condition=Ready", f"--timeout={_READY}")
            waited = platform.kubectl("wait", kind, "--all", "-n", namespace, *ready)
            if waited.returncode:
                return waited.stderr.strip()
    documents = list(yaml.safe_load_all(case.path.read_text()))
    return _asked(
        asked, json.loads((root / asked.file).read_text()), documents, namespace, platform
    )


def _asked(
    asked: _Request, body: Any, documents: Sequence[Any], namespace: str, platform: Platform
) -> str:
    wanted = "InferenceGraph" if asked.verb == "graph" else "InferenceService"
    obj = next(one for one in documents if one["kind"] == wanted)
    name = obj["metadata"]["name"]
    query = ("get", wanted, name, "-n", namespace, "-o", "jsonpath={.status.url}")
    host = platform.kubectl(*query).stdout.partition("://")[2].rstrip("/")
    model = asked.model or name
    if asked.verb == "graph":
        path = "/"
    elif isinstance(body.get("inputs"), list) and "datatype" in body["inputs"][0]:
        path = f"/v2/models/{model}/infer"
    else:
        path = f"/v1/models/{model}:{asked.verb}"
    request = urllib.request.Request(
        platform.url + path,
        json.dumps(body).encode(),
        {"Host": host, "Content-Type": "application/json"},
    )
    deadline = time.monotonic() + _ANSWERED_WITHIN
    while True:
        try:
            with urllib.request.urlopen(request, timeout=_ANSWERED_WITHIN) as answer:
                return _judged(body, json.load(answer), asked.verb)
        except urllib.error.HTTPError as error:
            why = f"HTTP {error.code}: {error.read().decode(errors='replace')}"
            # As after any apply, the way to a service may take a moment.
            if error.code not in (404, 503) or time.monotonic() > deadline:
                return why
            time.sleep(1)
        except OSError as error:
            return f"{type(error).__name__}: {error}"


def _judged(body: Any, answer: Any, verb: str) -> str:
    """Whether a request's rows are all answered; what is wrong, if not."""
    if verb == "explain":
        return "" if "explanations" in answer else f"no explanations: {answer}"
    if verb == "graph":
        return "" if answer else "the graph answered with nothing"
    if "outputs" in answer:
        return "" if answer["outputs"][0]["data"] else f"nothing in {answer}"
    rows = body.get("instances") or body["inputs"]
    found = answer.get("predictions") or []
    return "" if len(found) == len(rows) else f"{len(rows)} rows, but {answer}"

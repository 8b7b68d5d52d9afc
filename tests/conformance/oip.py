"""The Open Inference Protocol's own description, tried on our model server by Schemathesis.

``oip`` is a checkout of kserve/open-inference-protocol. Its description writes parameters of paths
as ``${MODEL_NAME}``, and names few of the answers that its text has: both are put right here. Then
anything is asked that the description allows, and much that it does not; no answer may be a 5xx,
and all have to be of the described form.
"""

from __future__ import annotations

import json
import pickle
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import yaml
from sklearn.datasets import load_iris
from sklearn.svm import SVC
from tests.conformance.rows import Case, Platform, Row
from tests.support.client_python import python_with

__all__ = ["cases", "run"]

_DESCRIPTION: Final = "oip/specification/protocol/open_inference_rest.yaml"
_GROUP: Final = "OIP over REST"
_EXAMPLES: Final = 300
_WITHIN: Final = 600
_CHECKS: Final = (
    "not_a_server_error,content_type_conformance,response_schema_conformance,"
    "status_code_conformance,unsupported_method"
)
_ERROR: Final = {
    "description": "what is wrong",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "properties": {"error": {"type": "string"}},
                "required": ["error"],
            }
        }
    },
}


def cases(upstream: Path) -> list[Case]:
    """Every operation of the description."""
    path = upstream / _DESCRIPTION
    described = _put_right(path)
    return [
        Case(f"{method.upper()} {address}", _GROUP, path)
        for address, operations in described["paths"].items()
        for method in operations
        if method != "parameters"
    ]


def _put_right(path: Path) -> dict[str, Any]:
    described: dict[str, Any] = yaml.safe_load(path.read_text().replace("${", "{"))
    for address, operations in list(described["paths"].items()):
        for parameter in operations.get("parameters", ()):
            known = {"MODEL_NAME": ["iris", "absent"], "MODEL_VERSION": ["1", "7"]}
            parameter["schema"]["enum"] = known[parameter["name"]]
        for method, operation in operations.items():
            if method != "parameters":
                operation["responses"]["default"] = _ERROR
        # The text has every path of a model without a version, too.
        short = address.replace("/versions/{MODEL_VERSION}", "")
        if short != address:
            copied = json.loads(json.dumps(operations))
            copied["parameters"] = copied["parameters"][:1]
            for method in copied.keys() - {"parameters"}:
                copied[method]["operationId"] += "-unversioned"
            described["paths"][short] = copied
    return described


def run(chosen: Sequence[Case], platform: Platform) -> Iterator[Row]:
    """Asks a server of its own; the platform has no part in it."""
    if not chosen:
        return
    with tempfile.TemporaryDirectory(prefix="oip-") as place, _serving(Path(place)) as url:
        description = Path(place) / "description.json"
        description.write_text(json.dumps(_put_right(chosen[0].path)))
        report = Path(place) / "report.xml"
        schemathesis = python_with("schemathesis>=4").with_name("schemathesis")
        subprocess.run(
            [
                *(str(schemathesis), "run", str(description), f"--url={url}"),
                *(f"--checks={_CHECKS}", f"--max-examples={_EXAMPLES}", "--seed=1"),
                *("--phases=examples,coverage,fuzzing", "--continue-on-failure", "--no-shrink"),
                *("--suppress-health-check=all", "--report=junit"),
                f"--report-junit-path={report}",
            ],
            cwd=place,
            check=False,
            stdout=subprocess.DEVNULL,
            timeout=_WITHIN,
        )
        outcomes = {str(test.get("name")): _why(test) for test in ET.parse(report).iter("testcase")}
    for case in chosen:
        why = outcomes.get(case.name, "it did not run")
        yield Row(case.name, case.group, "failed" if why else "passed", why)


@contextmanager
def _serving(place: Path) -> Iterator[str]:
    """A model server with one version of a model."""
    iris = load_iris()
    folder = place / "models" / "1"
    folder.mkdir(parents=True)
    (folder / "model.pkl").write_bytes(pickle.dumps(SVC().fit(iris.data, iris.target)))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "kubeling.serving.server", "--model_name=iris"),
            *(f"--model_dir={folder.parent}", f"--http_port={port}", "--enable_grpc=false"),
        ],
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait(f"{url}/v2/health/ready")
        yield url
    finally:
        server.terminate()
        server.wait()


def _wait(url: str) -> None:
    end = time.monotonic() + 120
    while True:
        try:
            urllib.request.urlopen(url).close()
            return
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def _why(test: ET.Element[Any]) -> str:
    for outcome in ("failure", "error"):
        if (found := test.find(outcome)) is not None:
            text = str(found.get("message") or found.text or outcome)
            return re.sub(r"\s+", " ", text).strip()[:300]
    return ""

"""The Open Inference Protocol's own descriptions, tried on our model servers by Schemathesis.

``oip`` is a checkout of kserve/open-inference-protocol. Its descriptions write parameters of paths
as ``${MODEL_NAME}``, and name few of the answers that their text has: both are put right here. Then
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
from tests.serving.language_models import gpt2
from tests.support.client_python import python_with

__all__ = ["cases", "run"]

_FOLDER: Final = "oip/specification/protocol"
_GROUPS: Final = {
    f"{_FOLDER}/open_inference_rest.yaml": "OIP over REST",
    f"{_FOLDER}/generate_rest.yaml": "OIP over REST: generated text",
}
_EXAMPLES: Final = {"OIP over REST": 300, "OIP over REST: generated text": 60}
_EVENTS: Final = "text/event-stream"
_KNOWN: Final = {"MODEL_NAME": ["iris", "absent"], "MODEL_VERSION": ["1", "7"]}
_WITHIN: Final = 1800
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
    """Every operation of the descriptions."""
    return [
        Case(f"{method.upper()} {address}", group, upstream / file)
        for file, group in _GROUPS.items()
        for address, operations in _put_right(upstream / file)["paths"].items()
        for method in operations
        if method != "parameters"
    ]


def _put_right(path: Path) -> dict[str, Any]:
    described: dict[str, Any] = yaml.safe_load(path.read_text().replace("${", "{"))
    if details := described.get("components", {}).get("schemas", {}).get("StreamDetails"):
        # Why a text ended can only be told with its last token.
        details["required"].remove("finish_reason")
    for address, operations in list(described["paths"].items()):
        for place in (operations, *operations.values()):
            for parameter in place.get("parameters", ()) if isinstance(place, dict) else ():
                parameter["schema"]["enum"] = _KNOWN[parameter["name"]]
        for method, operation in operations.items():
            if method != "parameters":
                operation["responses"]["default"] = _ERROR
                for status, answer in operation["responses"].items():
                    if status not in ("200", "default"):
                        # What is refused before there is a stream is no event.
                        answer["content"] = answer.get("content", {}) | _ERROR["content"]
                    elif _EVENTS in answer.get("content", {}):
                        # What is described is what an event holds.
                        answer["content"][_EVENTS] = {"schema": _event(answer["content"][_EVENTS])}
        # The text has every path of a model without a version, too.
        short = address.replace("/versions/{MODEL_VERSION}", "")
        if short != address:
            copied = json.loads(json.dumps(operations))
            for place in (copied, *copied.values()):
                if isinstance(place, dict) and "parameters" in place:
                    place["parameters"] = place["parameters"][:1]
            for method in copied.keys() - {"parameters"}:
                if "operationId" in copied[method]:
                    copied[method]["operationId"] += "-unversioned"
            described["paths"][short] = copied
    return described


def _event(described: dict[str, Any]) -> dict[str, Any]:
    held = {
        "type": "string",
        "contentMediaType": "application/json",
        "contentSchema": described["schema"],
    }
    return {"type": "object", "required": ["data"], "properties": {"data": held}}


def run(chosen: Sequence[Case], platform: Platform) -> Iterator[Row]:
    """Asks servers of its own; the platform has no part in it."""
    for group in _GROUPS.values():
        yield from _asked([case for case in chosen if case.group == group])


def _asked(chosen: Sequence[Case]) -> Iterator[Row]:
    if not chosen:
        return
    with (
        tempfile.TemporaryDirectory(prefix="oip-") as place,
        _serving(Path(place), chosen[0]) as url,
    ):
        description = Path(place) / "description.json"
        description.write_text(json.dumps(_put_right(chosen[0].path)))
        report = Path(place) / "report.xml"
        schemathesis = python_with("schemathesis>=4").with_name("schemathesis")
        subprocess.run(
            [
                *(str(schemathesis), "run", str(description), f"--url={url}"),
                *(
                    f"--checks={_CHECKS}",
                    f"--max-examples={_EXAMPLES[chosen[0].group]}",
                    "--seed=1",
                ),
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
def _serving(place: Path, case: Case) -> Iterator[str]:
    """A model server with one version of a model: of iris, or of texts."""
    folder = place / "models" / "1"
    folder.mkdir(parents=True)
    if texts := case.group.endswith("text"):
        gpt2(folder)
    else:
        iris = load_iris()
        (folder / "model.pkl").write_bytes(pickle.dumps(SVC().fit(iris.data, iris.target)))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "kubeling.serving.server", "--model_name=iris"),
            *(f"--model_dir={folder.parent}", f"--http_port={port}", "--enable_grpc=false"),
            f"--format={'huggingface' if texts else 'sklearn'}",
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

"""Upstream's unit tests of its model server, put to ours.

They run unmodified; ``kserve_alias.py`` has ``kserve`` mean ``kubeling.serving.kserve`` and their
client ask a server of ours over HTTP and gRPC. What is not run looks into FastAPI's, Uvicorn's or
grpcio's objects, which there are none of here. JSON is compared as JSON, where the tests compare
its bytes: members in any order, and those that are null as if they were not there.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from importlib.metadata import requires, version
from pathlib import Path
from typing import Any, Final

from tests.conformance.rows import Case, Platform, Row
from tests.support.client_python import python_with

__all__ = ["cases", "run"]

_ROOT: Final = Path(__file__).parents[2]
_TESTS: Final = "kserve/python/kserve/test"
_FILES: Final = {
    f"{_TESTS}/test_server.py": "kserve server: REST",
    f"{_TESTS}/test_grpc_server.py": "kserve server: gRPC",
    f"{_TESTS}/test_infer_type.py": "kserve server: infer types",
    f"{_TESTS}/test_model_repository.py": "kserve server: models",
    f"{_TESTS}/test_numpy_codec.py": "kserve server: infer types",
    **{
        f"kserve/python/{name}/{name}/test_model.py": "kserve server: formats"
        for name in ("lgbserver", "sklearnserver", "xgbserver")
    },
}
_NEEDS: Final = (
    *("pytest", "pytest-asyncio", "pytest-timeout", "fastapi", "httpx", "cloudevents<2", "avro"),
    *("pandas", "grpcio", "grpcio-testing", "orjson"),
)
_LIBRARIES: Final = ("scikit-learn", "lightgbm", "xgboost-cpu")
_COPY: Final = "-copy"
_WITHIN: Final = 300
_MESSAGES: Final = "is about grpcio's messages; ours are others, with the same bytes"
_NULLS: Final = "differs on purpose: members that are null are left out, as the protocol lets them"
_SIZES: Final = "differs on purpose: over gRPC there is no binary_data_size, which is REST's"
_SKIPPED: Final = {
    "sklearnserver/*::test_dir_with_*": "expects another class of error; ours says what there is",
    "sklearnserver/*::test_mixedtype_model_joblib": "its pickle is of scikit-learn 1.3",
    "xgbserver/*::test_model_load_bytearray": "looks into upstream's module",
    "*::TestRayServer::*": "needs Ray",
    "*::TestMutiProcessServer::*": "looks into Uvicorn's processes",
    "*::TestModelServerEventLoopWithDummy::*": "looks into Uvicorn's processes",
    "*::test_model_server_dataplane_with_predictor_config": "looks into upstream's DataPlane",
    "*::test_unknown_path_v1": "differs on purpose: errors have the protocol's form, not FastAPI's",
    "*::test_predict_ce_bytes_bad_*": "quotes orjson's words",
    "*::test_fp16_output_as_binary_data": _NULLS,
    "*::test_all_output_as_binary_data": _NULLS,
    "*::test_binary_data_parameter_precedence": _NULLS,
    "test/test_grpc_server.py::test_grpc_raw_inputs": _SIZES,
    "test/test_grpc_server.py::test_grpc_fp16_*": _SIZES,
    "test/test_infer_type.py::*grpc*": _MESSAGES,
    "test/test_infer_type.py::*from_inference_request*": "is about models of pydantic",
    "test/test_infer_type.py::*response_to_rest*": _NULLS,
    "test/*::test_to_rest_with_mixed_binary_data": "compares the order of members",
    "test/test_infer_type.py::*::test_infer_response_from_bytes_with_binary_data": (
        "differs on purpose: bytes that came as bytes are bytes"
    ),
}


def cases(upstream: Path) -> list[Case]:
    """Every test function of the files."""
    found = []
    for file, group in _FILES.items():
        path = upstream / file
        for name in _tests(ast.parse(path.read_text()), f"{path.parent.name}/{path.name}"):
            why = next((w for p, w in _SKIPPED.items() if fnmatchcase(name, p)), "")
            found.append(Case(name, group, path, skip=why))
    return found


def _tests(node: ast.AST, within: str) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef) and child.name.startswith("Test"):
            yield from _tests(child, f"{within}::{child.name}")
        named = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
        if named and child.name.startswith("test"):
            yield f"{within}::{child.name}"


def run(chosen: Sequence[Case], platform: Platform) -> Iterator[Row]:
    """Runs the tests; the platform has no part in them."""
    yield from (Row(c.name, c.group, "not runnable", c.skip) for c in chosen if c.skip)
    runnable = [case for case in chosen if not case.skip]
    if not runnable:
        return
    outcomes = _outcomes(runnable)
    for case in runnable:
        why = outcomes.get(case.name, "it did not run")
        yield Row(case.name, case.group, "failed" if why else "passed", why)


def _outcomes(chosen: Sequence[Case]) -> dict[str, str]:
    """Why each test failed, empty if it passed; of one with parameters, the first that failed."""
    checkout = next(folder for folder in chosen[0].path.parents if folder.name == "python").parent
    needs = [text for text in requires("kubeling") or () if "extra ==" not in text]
    needs += [*_NEEDS, *(f"{name}=={version(name)}" for name in _LIBRARIES)]
    with tempfile.TemporaryDirectory(prefix="kserve-server-") as place:
        report = Path(place) / "report.xml"
        for folder in {case.path.parent for case in chosen}:
            # A copy: some write models beside themselves. Of another name than what they import.
            copy = Path(place) / f"{folder.name}{_COPY}"
            shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("__init__.py"))
        subprocess.run(
            [
                *(str(python_with(*needs)), "-m", "pytest", "-c", "/dev/null", "-q"),
                *(f"--rootdir={place}", "--noconftest", "-p", "tests.conformance.kserve_alias"),
                *("-p", "no:cacheprovider", "-o", "asyncio_mode=auto", "--timeout=60"),
                *("--import-mode=importlib", f"--junitxml={report}"),
                *(case.name.replace("/", f"{_COPY}/", 1) for case in chosen),
            ],
            cwd=place,
            env={
                **os.environ,
                "KSERVE_CHECKOUT": str(checkout),
                "PYTHONPATH": f"{_ROOT}{os.pathsep}{_ROOT / 'src'}",
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            check=False,
            stdout=subprocess.DEVNULL,
            timeout=_WITHIN,
        )
        found: dict[str, str] = {}
        for test in ET.parse(report).iter("testcase"):
            name = _name(test)
            found[name] = found.get(name) or _why(test)
        return found


def _name(test: ET.Element) -> str:
    module, _, inner = str(test.get("classname")).partition(".Test")
    within = f"::Test{inner}" if inner else ""
    file = f"{module.replace(_COPY, '').replace('.', '/')}.py"
    return f"{file}{within}::{str(test.get('name')).partition('[')[0]}"


def _why(test: ET.Element[Any]) -> str:
    for outcome in ("failure", "error"):
        if (found := test.find(outcome)) is not None:
            lines = str(found.get("message") or "").strip().splitlines() or [outcome]
            return lines[0][:300]
    return ""

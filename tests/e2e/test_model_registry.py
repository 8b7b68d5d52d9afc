"""The unmodified ``model-registry`` client, in an environment of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.support.platform import Platform, started

pytestmark = pytest.mark.e2e

UV = Path(sys.executable).parent / "uv"
SCRIPT = """
import json, sys
from model_registry import ModelRegistry
from model_registry.exceptions import StoreError
from model_registry.types import RegisteredModelState

registry = ModelRegistry(sys.argv[1], int(sys.argv[2]), author="me", is_secure=False)
seen = {}
model = registry.register_model(
    "iris", "s3://bucket/iris/model.joblib", version="v1", model_format_name="sklearn",
    model_format_version="1", metadata={"accuracy": 0.9, "rows": 150, "final": True, "by": "me"},
)
version = registry.get_model_version("iris", "v1")
seen["properties"] = version.custom_properties
seen["artifact"] = registry.get_model_artifact("iris", "v1").uri
version.description = "better"
seen["description"] = registry.update(version).description
seen["models"] = [found.name for found in registry.get_registered_models().page_size(1)]
seen["versions"] = [found.name for found in registry.get_model_versions("iris")]
seen["nobody"] = registry.get_registered_model("nobody")
try:
    registry.register_model(
        "iris", "s3://x", version="v1", model_format_name="a", model_format_version="1"
    )
except StoreError as error:
    seen["again"] = str(error)
model = registry.get_registered_model("iris")
model.state = RegisteredModelState.ARCHIVED
seen["state"] = registry.update(model).state.value
print(json.dumps(seen))
"""


@pytest.fixture(scope="module", params=["model-registry==0.3.0", "model-registry"])
def python(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has an old or the newest release of the client: they use different paths."""
    folder = tmp_path_factory.mktemp("client")
    interpreter = folder / "bin" / "python"
    subprocess.run([UV, "venv", "--quiet", "--clear", folder], check=True)
    install = [UV, "pip", "install", "--quiet", "--python", interpreter, request.param]
    subprocess.run(install, check=True)
    return interpreter


def test_a_model_is_registered_found_changed_and_archived(
    tmp_path: Path, workspace: Path, python: Path
) -> None:
    with started(tmp_path / "data", workspace) as platform:
        seen = run(python, platform)
    assert seen["properties"] == {"accuracy": 0.9, "rows": 150, "final": True, "by": "me"}
    assert seen["artifact"] == "s3://bucket/iris/model.joblib"
    assert seen["description"] == "better"
    assert seen["models"] == ["iris"]
    assert seen["versions"] == ["v1"]
    assert seen["nobody"] is None
    assert "already exists" in seen["again"]
    assert seen["state"] == "ARCHIVED"


def run(python: Path, platform: Platform) -> dict[str, Any]:
    address = urlsplit(platform.url)
    command = [python, "-c", SCRIPT, f"http://{address.hostname}", str(address.port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return seen

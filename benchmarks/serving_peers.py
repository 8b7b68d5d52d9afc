"""The servers that are compared: how each is started, and the environments of those of others.

An environment is made by uv when it is first asked for, below a folder that is kept. A peer trains
its model itself, as pickles are for the version of the library that made them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
LIBRARIES = ("scikit-learn", "xgboost-cpu; sys_platform == 'linux'")
PACKAGES = {
    "kserve": ["kserve==0.21.*"],
    # Later versions of uvloop let none of its models load.
    "mlserver": [
        *("mlserver==1.7.*", "mlserver-sklearn==1.7.*", "mlserver-xgboost==1.7.*"),
        "uvloop<0.22",
    ],
    "litserve": ["litserve==0.2.*"],
    "bentoml": ["bentoml==1.4.*"],
    "starlette": ["starlette", "uvicorn", "uvloop", "httptools", "orjson"],
}
OURS = {"ours": "true", "original": "false"}
"""Ours as it comes, and with the conversion to ONNX turned off."""
SPEAK = {
    "v1": ("ours", "original", "kserve", "litserve", "bentoml", "starlette", "echo"),
    "v2": ("ours", "original", "kserve", "mlserver"),
    "grpc": ("ours", "original", "kserve", "mlserver"),
}
"""Who speaks a protocol. LitServe and BentoML take the body of V1 at an address of their own."""


@dataclass(frozen=True)
class Ports:
    """Where a server listens."""

    rest: int
    grpc: int
    other: int


@dataclass(frozen=True)
class Command:
    """What starts a server, and what tells that it is ready."""

    argv: list[str]
    ready: str
    predict: str = "/v1/models/model:predict"
    env: dict[str, str] = field(default_factory=dict)


def command(name: str, place: Path, ports: Ports, processes: int, venvs: Path) -> Command:
    """How to start a server on the model in a folder."""
    if name in OURS or name == "before":
        return _ours(name, place, ports, processes)
    if name == "mlserver":
        return _mlserver(place, ports, processes, venvs)
    python = sys.executable if name == "echo" else str(interpreter(venvs, name))
    numbers = [str(ports.rest), str(ports.grpc), str(processes)]
    script = [python, str(HERE / "peers" / f"{name}_serving.py"), str(place), *numbers]
    if name == "kserve":
        return Command(script, "/v2/health/ready")
    if name == "litserve":
        return Command(script, "/health", "/predict")
    if name == "bentoml":
        argv = [python, "-m", "bentoml", "serve", "bentoml_serving:OneModel"]
        argv += ["--port", str(ports.rest), "--working-dir", str(HERE / "peers")]
        env = {"FOLDER": str(place), "WORKERS": str(processes), "BENTOML_DO_NOT_TRACK": "1"}
        return Command(argv, "/readyz", "/predict", env)
    return Command(script, "/")


def model_of(name: str, model: str, folder: Path, venvs: Path) -> Path:
    """Trains the model where the server will run; gives its folder."""
    place = folder / ("ours" if name in OURS or name == "before" else name)
    if not place.exists():
        place.mkdir()
        here = name in OURS or name in ("before", "echo")
        python = sys.executable if here else str(interpreter(venvs, name))
        script = str(HERE / "peers" / "serving_models.py")
        subprocess.run([python, "-W", "ignore", script, model, str(place)], check=True)
    return place


def interpreter(venvs: Path, name: str) -> Path:
    """The Python of a peer's environment, which is made once."""
    home = venvs / name
    python, whole = home / "bin" / "python", home / "whole"
    if not whole.exists():
        uv = [str(Path(sys.executable).with_name("uv")), "-q"]
        made = [*uv, "venv", "--seed", "--clear", "--python", sys.executable, str(home)]
        subprocess.run(made, check=True)
        wanted = [*PACKAGES[name], *LIBRARIES]
        subprocess.run([*uv, "pip", "install", "--python", str(python), *wanted], check=True)
        whole.touch()
    return python


def _ours(name: str, place: Path, ports: Ports, processes: int) -> Command:
    argv = [sys.executable, "-m", "kubeling.serving.server", "--model_name=model"]
    argv += [f"--format={_format(place)}", f"--model_dir={place}", f"--http_port={ports.rest}"]
    argv += [f"--grpc_port={ports.grpc}", f"--convert_to_onnx={OURS.get(name, 'true')}"]
    env = {"ONNX_FOLDER": str(place.parent / f"onnx-{name}")}
    if name == "before":
        env["PYTHONPATH"] = os.environ["BEFORE"]
    else:
        argv += [f"--workers={processes}"]
    return Command(argv, "/v2/health/ready", env=env)


def _mlserver(place: Path, ports: Ports, processes: int, venvs: Path) -> Command:
    kinds = {
        "sklearn": ("mlserver_sklearn.SKLearnModel", "model.joblib"),
        "xgboost": ("mlserver_xgboost.XGBoostModel", "model.json"),
    }
    kind, file = kinds[_format(place)]
    settings = {"name": "model", "implementation": kind, "parameters": {"uri": f"./{file}"}}
    (place / "model-settings.json").write_text(json.dumps(settings))
    env = {
        "MLSERVER_HTTP_PORT": str(ports.rest),
        "MLSERVER_GRPC_PORT": str(ports.grpc),
        "MLSERVER_METRICS_PORT": str(ports.other),
        # Its pool of processes makes it slower where one will do.
        "MLSERVER_PARALLEL_WORKERS": str(processes if processes > 1 else 0),
    }
    python = interpreter(venvs, "mlserver")
    argv = [str(python), str(python.with_name("mlserver")), "start", str(place)]
    return Command(argv, "/v2/models/model/ready", env=env)


def _format(place: Path) -> str:
    return "sklearn" if (place / "model.joblib").exists() else "xgboost"

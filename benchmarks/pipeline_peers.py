"""The engines that people would use instead, each in an environment of its own, and the limit.

A peer is a script in ``peers/`` that prints how long its chain and its fan took, steps in processes
where it can. The limit is a bare interpreter that does what a component does.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline_specs import BODY, KFP

PEERS = {
    "kfp_local": [["kfp==2.17.0"], ["--no-deps", f"kfp=={KFP}"]],
    "prefect": [["prefect==3.8.*", "fastapi<0.140"]],
    "dagster": [["dagster==1.13.*"]],
    "metaflow": [["metaflow==2.19.*", "setuptools<81"]],
}
HERE = Path(__file__).parent
LIMIT_SECONDS = 400
_INPUT = {
    "inputs": {"parameterValues": {"x": 1}},
    "outputs": {
        "parameters": {"Output": {"outputFile": "out/output"}},
        "outputFile": "out/executor_output.json",
    },
}


class PeerError(Exception):
    """A peer gave no figures; the message says why."""


def measure(folder: Path, name: str, *sizes: int) -> dict[str, float]:
    """Seconds that a peer takes by shape; ``sizes`` are those of its script."""
    python = interpreter(folder, name)
    with TemporaryDirectory() as scratch:
        command = [str(python), str(HERE / "peers" / f"{name}_steps.py"), *map(str, sizes)]
        try:
            done = subprocess.run(
                command, cwd=scratch, capture_output=True, text=True, timeout=LIMIT_SECONDS
            )
        except subprocess.TimeoutExpired:
            raise PeerError(f"not done after {LIMIT_SECONDS} s") from None
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise PeerError(said[-1])
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def interpreter(folder: Path, name: str) -> Path:
    """The Python of a peer's environment, which is made once."""
    home = folder / name
    python, whole = home / "bin" / "python", home / "whole"
    if not whole.exists():
        uv = [str(Path(sys.executable).with_name("uv")), "-q"]
        made = [*uv, "venv", "--seed", "--clear", "--python", sys.executable, str(home)]
        subprocess.run(made, check=True)
        for wanted in PEERS[name]:
            subprocess.run([*uv, "pip", "install", "--python", str(python), *wanted], check=True)
        whole.touch()
    return python


def bare(rounds: int, *command: str) -> float:
    """Seconds that a process takes."""
    with TemporaryDirectory() as scratch:
        times = []
        for _ in range(rounds):
            began = time.perf_counter()
            env = {**os.environ, "_KFP_RUNTIME": "true"}
            subprocess.run(command, check=True, cwd=scratch, env=env, capture_output=True)
            times.append(time.perf_counter() - began)
    return min(times)


def own_work(rounds: int, folder: Path) -> float:
    """Seconds that a bare interpreter takes for what a component's process does."""
    python = str(interpreter(folder, "kfp_local"))
    with TemporaryDirectory() as scratch:
        module = Path(scratch, "ephemeral_component.py")
        module.write_text(BODY)
        options = ["--component_module_path", str(module), "--function_to_execute", "add"]
        options += ["--executor_input", json.dumps(_INPUT)]
        return bare(rounds, python, "-m", "kfp.dsl.executor_main", *options)

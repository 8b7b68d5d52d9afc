"""Requests of one row, over each protocol, from clients that wait for each answer.

wrk sends REST, and h2load gRPC: both take next to no time of their own beside a server in Python.
"""

from __future__ import annotations

import json
import re
import struct
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kubeling.serving.server.grpc.conversion import request_to
from kubeling.serving.server.infer_types import InferInput, InferRequest

_GRPC = "/inference.GRPCInferenceService/ModelInfer"


@dataclass(frozen=True)
class Sent:
    """How requests went; latencies in milliseconds."""

    requests: int
    rate: float
    p50: float
    p99: float


def bodies(row: Sequence[float], folder: Path) -> None:
    """Writes what the tools send."""
    tensor = {"name": "input-0", "shape": [1, len(row)], "datatype": "FP32", "data": list(row)}
    for protocol, body in (("v1", {"instances": [list(row)]}), ("v2", {"inputs": [tensor]})):
        (folder / f"{protocol}.lua").write_text(
            f"wrk.method = 'POST'\nwrk.body = '{json.dumps(body)}'\n"
            "wrk.headers['Content-Type'] = 'application/json'\n"
        )
    request = InferRequest("model", [InferInput("input-0", [1, len(row)], "FP32")])
    request.inputs[0].set_data_from_numpy(np.asarray([row], dtype=np.float32))
    message = request_to(request).to_bytes()
    (folder / "grpc.bin").write_bytes(struct.pack(">BI", 0, len(message)) + message)


def send_rest(url: str, script: Path, clients: int, seconds: int) -> Sent:
    """With wrk; a refused request ends the benchmark."""
    text = _run("wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--latency", "-s", str(script), url)
    if "Non-2xx" in text:
        raise SystemExit(f"{url} refused requests:\n{text}")
    total = int(_found(r"(\d+) requests in", text)[0])
    rate = float(_found(r"Requests/sec:\s+([\d.]+)", text)[0])
    return Sent(total, rate, _latency("50%", text), _latency("99%", text))


def send_grpc(port: int, folder: Path, clients: int, seconds: int) -> Sent:
    """With h2load, each client over a connection of its own."""
    log = folder / "h2load.log"
    log.unlink(missing_ok=True)
    text = _run(
        *("h2load", "-t1", f"-c{clients}", "-m1", f"-D{seconds}", f"--log-file={log}"),
        *("-d", str(folder / "grpc.bin"), "-H", "content-type: application/grpc"),
        *("-H", "te: trailers", f"http://127.0.0.1:{port}{_GRPC}"),
    )
    took = [int(line.split("\t")[2]) for line in log.read_text().splitlines()]
    failed = int(_found(r"(\d+) failed", text)[0])
    if not took or failed:
        raise SystemExit(f"gRPC at port {port}: {failed} of {len(took)} failed:\n{text}")
    p50, p99 = np.percentile(took, [50, 99]) / 1e3
    return Sent(len(took), float(_found(r"([\d.]+) req/s", text)[0]), float(p50), float(p99))


def _run(*command: str) -> str:
    done = subprocess.run(["taskset", "-c", "1", *command], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{command[0]}: {done.stderr or done.stdout}")
    return done.stdout


def _latency(percentile: str, text: str) -> float:
    number, unit = _found(rf"{percentile}\s+([\d.]+)(us|ms|s)\s*\n", text)
    return float(number) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[unit]


def _found(pattern: str, text: str) -> tuple[str, ...]:
    match = re.search(pattern, text)
    if match is None:
        raise SystemExit(f"no {pattern} in:\n{text}")
    return match.groups()

"""Model servers side by side: ours with scikit-learn and with ONNX Runtime, and upstream's.

    .venv/bin/python benchmarks/serving.py --kserve .venvs/kserve/bin/python --before ../before

Servers run on one core and wrk on another, in turns, one row a request; what counts is the ratio
within a run. CPU is the server's own for each request, which other work on the machine changes less
than the rate. Needs Linux, wrk, and scikit-learn, skl2onnx and onnxruntime here; kserve and
scikit-learn where ``--kserve`` says (without it, upstream's server is left out). ``--before`` is a
checkout of another version of this one, to compare with.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

import numpy as np
import psutil

PEER = Path(__file__).parent / "peers" / "kserve_model.py"
NAMES = {"iris": "SVC on iris", "digits": "forest of 100 trees on digits"}


@dataclass(frozen=True)
class Figures:
    """One measurement."""

    rate: float
    p50: float
    p99: float
    cpu: float


def main() -> None:
    options = _options()
    for model in options.models.split(","):
        with TemporaryDirectory() as folder:
            row = _train(model, Path(folder))
            print(f"\n{NAMES[model]}; {options.rounds} rounds of {options.seconds} s each")
            _compare(_commands(Path(folder), options), row, Path(folder), options)


def _commands(folder: Path, options: argparse.Namespace) -> dict[str, list[str]]:
    ours = [sys.executable, "-m", "kubeling.serving.server", "--model_name=model"]
    ours += ["--enable_grpc=false", "--convert_to_onnx=false"]
    found = {}
    if options.kserve:
        found["kserve"] = [options.kserve, str(PEER), str(folder / "sklearn"), "{port}"]
    for name in ("sklearn", "onnx"):
        where = [f"--format={name}", f"--model_dir={folder / name}", "--http_port={port}"]
        found[f"ours, {name}"] = ours + where
        if options.before:
            path = f"PYTHONPATH={options.before / 'src'}"
            found[f"before, {name}"] = ["env", path, *ours, *where]
    return found


def _train(model: str, folder: Path) -> list[float]:
    import joblib
    import skl2onnx
    from sklearn.datasets import load_digits, load_iris
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.svm import SVC

    features, target = (load_iris if model == "iris" else load_digits)(return_X_y=True)
    made: Any = SVC() if model == "iris" else RandomForestClassifier(100, random_state=0)
    made.fit(features, target)
    for name in ("sklearn", "onnx"):
        (folder / name).mkdir()
    joblib.dump(made, folder / "sklearn" / "model.joblib")
    first = features[:1].astype(np.float32)
    converted = skl2onnx.to_onnx(made, first, options={id(made): {"zipmap": False}})
    (folder / "onnx" / "model.onnx").write_bytes(converted.SerializeToString())
    row: list[float] = features[-1].tolist()
    return row


def _compare(
    commands: dict[str, list[str]], row: Sequence[float], folder: Path, options: Any
) -> None:
    script = folder / "post.lua"
    body = f'{{"instances": [{list(row)}]}}'
    script.write_text(
        f"wrk.method = 'POST'\nwrk.body = '{body}'\n"
        "wrk.headers['Content-Type'] = 'application/json'\n"
    )
    with contextlib.ExitStack() as stack:
        servers = {name: stack.enter_context(_serving(c)) for name, c in commands.items()}
        for name, server in servers.items():
            memory = server.process.memory_info().rss / 2**20
            print(f"  {name:14} ready after {server.ready:.2f} s, {memory:.0f} MiB")
        for clients in map(int, options.clients.split(",")):
            found: dict[str, list[Figures]] = {name: [] for name in servers}
            for _ in range(options.rounds):
                for name, server in servers.items():
                    found[name].append(server.measure(script, clients, options.seconds))
            _print(clients, {name: _middle(values) for name, values in found.items()})


def _print(clients: int, found: dict[str, Figures]) -> None:
    base = found.get("kserve")
    for name, figures in found.items():
        ratio = f"{figures.rate / base.rate:6.1f}x" if base else ""
        times = f"p50 {figures.p50:6.2f} p99 {figures.p99:6.2f} ms  CPU {figures.cpu:7.1f} us"
        print(
            f"  {clients:3} clients  {name:14} {figures.rate:8.0f}/s {ratio}  {times}", flush=True
        )


def _middle(values: Sequence[Figures]) -> Figures:
    columns = zip(*((v.rate, v.p50, v.p99, v.cpu) for v in values), strict=True)
    return Figures(*(statistics.median(column) for column in columns))


class _Server:
    """A server that answers."""

    def __init__(self, process: psutil.Process, port: int, ready: float) -> None:
        self.process, self.port, self.ready = process, port, ready

    def measure(self, script: Path, clients: int, seconds: float) -> Figures:
        url = f"http://127.0.0.1:{self.port}/v1/models/model:predict"
        command = f"taskset -c 1 wrk -t1 -c{clients} -d{seconds}s --latency -s {script} {url}"
        before = sum(self.process.cpu_times()[:2])
        text = subprocess.run(command.split(), capture_output=True, text=True, check=True).stdout
        spent = sum(self.process.cpu_times()[:2]) - before
        if "Non-2xx" in text:
            raise SystemExit(f"{url} refused requests:\n{text}")
        total = int(_found(r"(\d+) requests in", text)[0])
        rate = float(_found(r"Requests/sec:\s+([\d.]+)", text)[0])
        return Figures(rate, _latency("50%", text), _latency("99%", text), 1e6 * spent / total)


@contextlib.contextmanager
def _serving(command: Sequence[str]) -> Iterator[_Server]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    filled = ["taskset", "-c", "0", *(part.format(port=port) for part in command)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    started = time.perf_counter()
    with subprocess.Popen(
        filled, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
    ) as process:
        try:
            _wait(process, f"http://127.0.0.1:{port}/v2/health/ready")
            yield _Server(psutil.Process(process.pid), port, time.perf_counter() - started)
        finally:
            process.send_signal(signal.SIGTERM)


def _wait(process: subprocess.Popen[bytes], url: str) -> None:
    opener = build_opener(ProxyHandler({}))
    while process.poll() is None:
        with contextlib.suppress(URLError, OSError), opener.open(url, timeout=5):
            return
        time.sleep(0.02)
    raise SystemExit(f"{process.args!r} ended before it was ready")


def _latency(percentile: str, text: str) -> float:
    number, unit = _found(rf"{percentile}\s+([\d.]+)(us|ms|s)", text)
    return float(number) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[unit]


def _found(pattern: str, text: str) -> tuple[str, ...]:
    match = re.search(pattern, text)
    if match is None:
        raise SystemExit(f"wrk said:\n{text}")
    return match.groups()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kserve", default="", help="a Python with kserve and scikit-learn")
    parser.add_argument("--before", type=Path, help="a checkout of another version")
    parser.add_argument("--models", default="iris,digits")
    parser.add_argument("--clients", default="1,8,32")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    main()

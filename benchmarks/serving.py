"""Model servers side by side: ours as it comes and without ONNX, and those of others.

    .venv/bin/python benchmarks/serving.py --models iris --protocols v1 --clients 1,32

All servers of a part run at once and take turns, one row a request; what counts is the ratio within
a run. A server has one core and the client another, or both share two where there are two
processes. CPU is the server's own for each request, of all its processes, which other work on the
machine changes less than the rate. Environments of peers are made below ``--venvs`` and kept. Needs
Linux, wrk (and h2load for gRPC), and scikit-learn, XGBoost, skl2onnx, onnxmltools and onnxruntime
here. ``--before`` is a checkout of another version of this one, to compare with.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from serving_load import bodies
from serving_peers import OURS, SPEAK, command, model_of
from serving_processes import Figures, Server, free_ports, serving

MODELS = {
    "iris": "SVC on iris",
    "forest": "forest of 100 trees on digits",
    "xgboost": "XGBoost of 500 trees on digits",
    "mlp": "MLP of 64 neurons on digits",
}
BASE = "kserve"


def main() -> None:
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # Or the servers would stay.
    if options.before:
        os.environ["BEFORE"] = str(options.before / "src")
    for model in options.models.split(","):
        with TemporaryDirectory() as folder:
            row = _row(model)
            bodies(row, Path(folder))
            for protocol in options.protocols.split(","):
                for processes in map(int, options.processes.split(",")):
                    print(f"\n{MODELS[model]}, {protocol}, {processes} process(es)", flush=True)
                    _compare(model, protocol, processes, row, Path(folder), options)


def _compare(
    model: str,
    protocol: str,
    processes: int,
    row: Sequence[float],
    folder: Path,
    options: argparse.Namespace,
) -> None:
    wanted = [n for n in options.servers.split(",") if n in SPEAK[protocol]]
    if options.before:
        wanted.append("before")
    cores = "0" if processes == 1 else "0,1"
    with contextlib.ExitStack() as stack:
        servers: dict[str, Server] = {}
        for name in wanted:
            try:
                place = model_of(name, model, folder, options.venvs)
                if name in ("ours", "before"):
                    _convert(name, place, processes, row, cores, options)
                ports = free_ports()
                made = command(name, place, ports, processes, options.venvs)
                servers[name] = stack.enter_context(serving(made, ports, cores))
            except (SystemExit, subprocess.CalledProcessError) as error:
                print(f"  {name:10} left out: {str(error)[:200]}", flush=True)
                continue
            print(f"  {name:10} ready after {servers[name].ready:5.2f} s", flush=True)
        for server in servers.values():
            server.pause(True)
        for clients in map(int, options.clients.split(",")):
            found: dict[str, list[Figures]] = {name: [] for name in servers}
            for _ in range(options.rounds):
                for name, server in servers.items():
                    server.pause(False)
                    found[name].append(server.measure(protocol, folder, clients, options.seconds))
                    server.pause(True)
            _print(clients, {name: _middle(values) for name, values in found.items()})
        for name, server in servers.items():
            resident, shared = server.memory()
            print(f"  {name:10} {resident:4.0f} MiB resident, {shared:4.0f} proportional")


def _convert(
    name: str,
    place: Path,
    processes: int,
    row: Sequence[float],
    cores: str,
    options: argparse.Namespace,
) -> None:
    """A first start, in which the model's twin is made and watched; the second is measured."""
    ports = free_ports()
    made = command(name, place, ports, processes, options.venvs)
    with serving(made, ports, cores) as server:
        print(f"  {name:10} ready after {server.ready:5.2f} s the first time", flush=True)
        server.settle(json.dumps(list(row)))


def _print(clients: int, found: dict[str, Figures]) -> None:
    base = found.get(BASE)
    for name, figures in found.items():
        ratio = cheaper = ""
        if base is not None:
            ratio = f"{figures.rate / base.rate:6.1f}x"
            cheaper = f"{base.cpu / figures.cpu:6.1f}x" if figures.cpu else ""
        print(
            f"  {clients:3} clients  {name:10} {figures.rate:7.0f}/s {ratio}  "
            f"p50 {figures.p50:7.2f} p99 {figures.p99:7.2f} ms  "
            f"CPU {figures.cpu:7.1f} us {cheaper}",
            flush=True,
        )


def _middle(values: Sequence[Figures]) -> Figures:
    columns = zip(*((v.rate, v.p50, v.p99, v.cpu) for v in values), strict=True)
    return Figures(*(statistics.median(column) for column in columns))


def _row(model: str) -> list[float]:
    from sklearn.datasets import load_digits, load_iris

    features, _ = (load_iris if model == "iris" else load_digits)(return_X_y=True)
    found: list[float] = features[-1].tolist()
    return found


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    everybody = [*OURS, "kserve", "mlserver", "litserve", "bentoml", "starlette", "echo"]
    parser.add_argument("--servers", default=",".join(everybody))
    parser.add_argument("--models", default="iris", help=",".join(MODELS))
    parser.add_argument("--protocols", default="v1", help=",".join(SPEAK))
    parser.add_argument("--clients", default="1,8,32", help="and 128")
    parser.add_argument("--processes", default="1", help="1,2")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=1)
    parser.add_argument("--venvs", type=Path, default=Path(".venvs/serving"))
    parser.add_argument("--before", type=Path, help="a checkout of another version")
    return parser.parse_args()


if __name__ == "__main__":
    main()

"""What the inference gateway costs: a model asked directly and through it, in turns.

    .venv/bin/python benchmarks/gateway.py [--clients 1,8,32] [--rounds 5] [--seconds 1]

Rates, p99, and the CPU that a request takes of the gateway's process, which is the platform's, and
of the model server's; of each the middle one. The server has a core of its own, the gateway shares
one with the clients. Linux, with wrk, scikit-learn, skl2onnx and onnxruntime.
"""

from __future__ import annotations

import argparse
import json
import statistics
from dataclasses import dataclass
from pathlib import Path

import psutil
from harness import Platform, platform, run
from serving_load import Sent, bodies, send_rest
from serving_processes import settle

ROW = [5.1, 3.5, 1.4, 0.2]
MODEL = "iris"


@dataclass(frozen=True)
class Turn:
    """How requests went, and the CPU that each took, in microseconds."""

    sent: Sent
    gateway: float
    server: float


def main() -> None:
    """Prints two lines for each number of clients."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", default="1,8,32")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=1)
    options = parser.parse_args()
    with platform() as found:
        _save_model(found.workspace / MODEL)
        bodies(ROW, found.workspace)
        found.up()
        ways = _serve(found)
        processes = psutil.Process(found.pid()), _server(found)
        for process, core in zip(processes, "10", strict=True):
            run("taskset", "-acp", core, str(process.pid))
        settle(ways["direct"], MODEL, str(ROW))
        for clients in map(int, options.clients.split(",")):
            turns: dict[str, list[Turn]] = {way: [] for way in ways}
            for _ in range(options.rounds):
                for way, base in ways.items():
                    url = f"{base}/v1/models/{MODEL}:predict"
                    script = found.workspace / "v1.lua"
                    turns[way].append(_turn(processes, url, script, clients, options.seconds))
            _print(clients, turns)


def _save_model(folder: Path) -> None:
    import joblib
    from sklearn.datasets import load_iris
    from sklearn.svm import SVC

    folder.mkdir()
    joblib.dump(SVC().fit(*load_iris(return_X_y=True)), folder / "model.joblib")


def _serve(found: Platform) -> dict[str, str]:
    """Where the pod answers, and the gateway."""
    served = json.loads(found.command("serve", str(found.workspace / MODEL), "--json"))
    kubectl = ("kubectl", "--kubeconfig", str(found.data / "kubeconfig"))
    (pod,) = json.loads(run(*kubectl, "get", "pods", "-o", "json"))["items"]
    return {"direct": f"http://{pod['status']['podIP']}:8080", "gateway": str(served["url"])}


def _server(found: Platform) -> psutil.Process:
    (process,) = [
        process
        for process in psutil.Process(found.pid()).children(recursive=True)
        if "kubeling.serving.server" in process.cmdline()
    ]
    return process


def _turn(
    processes: tuple[psutil.Process, psutil.Process],
    url: str,
    script: Path,
    clients: int,
    seconds: int,
) -> Turn:
    before = [_spent(process) for process in processes]
    sent = send_rest(url, script, clients, seconds)
    spent = [_spent(process) - was for process, was in zip(processes, before, strict=True)]
    gateway, server = (1e6 * cpu / sent.requests for cpu in spent)
    return Turn(sent, gateway, server)


def _spent(process: psutil.Process) -> float:
    return float(sum(process.cpu_times()[:2]))


def _print(clients: int, turns: dict[str, list[Turn]]) -> None:
    middle = statistics.median
    direct = middle(turn.sent.rate for turn in turns["direct"])
    for way, found in turns.items():
        rate = middle(turn.sent.rate for turn in found)
        print(
            f"{clients:5d} clients  {way:8} {rate:8.0f}/s {100 * rate / direct:5.0f}%  "
            f"p99 {middle(turn.sent.p99 for turn in found):7.2f} ms  "
            f"CPU {middle(turn.gateway for turn in found):6.1f} us of the gateway, "
            f"{middle(turn.server for turn in found):6.1f} of the server",
            flush=True,
        )


if __name__ == "__main__":
    main()

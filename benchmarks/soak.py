"""Hours' worth of requests in minutes: does the memory of the model server and the gateway stay?

    python benchmarks/soak.py                # 200,000 requests, half of them through the gateway
    python benchmarks/soak.py --requests 1000000

A platform of its own serves a scikit-learn model whose request log goes to a sink that never
answers. Clients ask it well and badly, go away in the middle, and have the model loaded again. The
resident memory of each process is printed along the way; after the first quarter, when all caches
are full, it may grow by no more than 5%. Needs scikit-learn.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import psutil
from harness import Platform, platform, run

_CLIENTS: Final = 16
_LOOKS: Final = 12
_GROWTH: Final = 0.05
_SETTLED: Final = 0.25
_BAD: Final = (b"{", b'{"instances": [["a"]]}', b'{"instances": []}', b'{"inputs": 3}')
_GOOD: Final = b'{"instances": [[5.1, 3.5, 1.4, 0.2]]}'


@dataclass
class Soak:
    """What is still to be asked, and what was answered; ``look`` is called along the way."""

    requests: int
    look: Callable[[int], None]
    taken: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    aborted: int = 0

    @property
    def is_over(self) -> bool:
        return self.taken >= self.requests

    def take(self) -> int:
        """The number of the next request, 0 when all are taken."""
        if self.is_over:
            return 0
        self.taken += 1
        if self.taken % (self.requests // _LOOKS) == 0:
            self.look(self.taken)
        return self.taken


def main() -> int:
    """Runs it; 1 if memory grew or a good request failed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--requests", type=int, default=200_000)
    options = parser.parse_args()
    with platform() as found, socket.create_server(("0.0.0.0", 0), backlog=8) as sink:
        _save_model(found.workspace / "iris")
        found.up()
        gateway, pod = _serve(found, sink.getsockname()[1])
        return asyncio.run(_soak(found, gateway, pod, options.requests))


def _save_model(folder: Path) -> None:
    import joblib
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    folder.mkdir()
    model = LogisticRegression(max_iter=500).fit(*load_iris(return_X_y=True))
    joblib.dump(model, folder / "model.joblib")


def _serve(found: Platform, sink: int) -> tuple[str, str]:
    """Where the gateway and the pod answer."""
    served = json.loads(found.command("serve", str(found.workspace / "iris"), "--json"))
    kubeconfig = found.data / "kubeconfig"
    kubectl = ("kubectl", "--kubeconfig", str(kubeconfig))
    nodes = json.loads(run(*kubectl, "get", "nodes", "-o", "json"))
    here = nodes["items"][0]["status"]["addresses"][0]["address"]
    logger = {"spec": {"predictor": {"logger": {"url": f"http://{here}:{sink}/", "mode": "all"}}}}
    run(*kubectl, "patch", "isvc", "iris", "--type=merge", "-p", json.dumps(logger))
    run(*kubectl, "wait", "--for=condition=Ready", "isvc/iris", "--timeout=120s")
    pods = json.loads(run(*kubectl, "get", "pods", "-o", "json"))["items"]
    newest = max(pods, key=lambda pod: str(pod["metadata"]["name"]))
    return str(served["url"]), f"http://{newest['status']['podIP']}:8080"


async def _soak(found: Platform, gateway: str, pod: str, requests: int) -> int:
    processes = {"platform": psutil.Process(found.pid()), "model server": _server(found)}
    seen: dict[str, list[float]] = {name: [] for name in processes}
    began = time.perf_counter()

    def look(done: int) -> None:
        for name, process in processes.items():
            seen[name].append(process.memory_info().rss / 2**20)
        shown = " ".join(f"{values[-1]:14.1f} MiB" for values in seen.values())
        print(f"{done:>10} {time.perf_counter() - began:8.1f} {shown}", flush=True)

    print(f"{'requests':>10} {'seconds':>8} " + " ".join(f"{name:>18}" for name in processes))
    soak = Soak(requests, look)
    async with asyncio.TaskGroup() as group:
        for number in range(_CLIENTS):
            group.create_task(_client(soak, pod if number % 2 else gateway))
    print(f"answers {dict(sorted(soak.statuses.items()))}, broken off by clients {soak.aborted}")
    grown = {name: _growth(values) for name, values in seen.items()}
    print("grown " + ", ".join(f"{name} {share:+.1%}" for name, share in grown.items()))
    failed = any(status >= 500 for status in soak.statuses)
    return int(failed or any(share > _GROWTH for share in grown.values()))


def _growth(values: list[float]) -> float:
    """From when all caches are full to the end."""
    start = values[int(len(values) * _SETTLED) - 1]
    return values[-1] / start - 1


def _server(found: Platform) -> psutil.Process:
    """The newest process of the model server."""
    servers = [
        process
        for process in psutil.Process(found.pid()).children(recursive=True)
        if "kubeling.serving.server" in process.cmdline()
    ]
    return max(servers, key=lambda process: process.create_time())


async def _client(soak: Soak, base: str) -> None:
    """One connection after the other."""
    place = urlsplit(base)
    while not soak.is_over:
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        try:
            while number := soak.take():
                if number % 1999 == 0:
                    writer.write(_request(place.path, _GOOD)[: 40 + number % 90])
                    soak.aborted += 1
                    break
                soak.statuses[await _ask(reader, writer, place.path, number)] += 1
        finally:
            writer.close()


async def _ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, number: int
) -> int:
    if number % 5003 == 0:
        sent = _request(path, b"", "/v2/repository/models/iris/load")
    else:
        sent = _request(path, _BAD[number % len(_BAD)] if number % 101 == 0 else _GOOD)
    writer.write(sent)
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        int(line.partition(b":")[2])
        for line in head.lower().splitlines()
        if line.startswith(b"content-length:")
    )
    await reader.readexactly(length)
    return int(head.split(b" ", 2)[1])


def _request(path: str, body: bytes, target: str = "/v1/models/iris:predict") -> bytes:
    head = f"POST {path}{target} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


if __name__ == "__main__":
    sys.exit(main())

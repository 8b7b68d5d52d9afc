"""A server under measurement: its start, its memory, and what it spends on requests."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import ProxyHandler, Request, build_opener

import psutil
from serving_load import Sent, send_grpc, send_rest
from serving_peers import Command, Ports

_START_SECONDS = 120
_TWIN_SECONDS = 120
_OPEN = build_opener(ProxyHandler({})).open


@dataclass(frozen=True)
class Figures:
    """One measurement; CPU in microseconds a request, of all processes of the server."""

    rate: float
    p50: float
    p99: float
    cpu: float


class Server:
    """A server that answers."""

    def __init__(self, process: psutil.Process, ports: Ports, command: Command, ready: float):
        self.ready = ready
        self._process = process
        self._ports = ports
        self._command = command

    def memory(self) -> tuple[float, float]:
        """MiB resident and, where shared pages count by halves, proportional."""
        found = [process.memory_full_info() for process in self._all()]
        return sum(f.rss for f in found) / 2**20, sum(f.pss for f in found) / 2**20

    def measure(self, protocol: str, folder: Path, clients: int, seconds: int) -> Figures:
        before = self._spent()
        sent = self._send(protocol, folder, clients, seconds)
        spent = self._spent() - before
        return Figures(sent.rate, sent.p50, sent.p99, 1e6 * spent / sent.requests)

    def _send(self, protocol: str, folder: Path, clients: int, seconds: int) -> Sent:
        if protocol == "grpc":
            return send_grpc(self._ports.grpc, folder, clients, seconds)
        path = "/v2/models/model/infer" if protocol == "v2" else self._command.predict
        url = f"http://127.0.0.1:{self._ports.rest}{path}"
        return send_rest(url, folder / f"{protocol}.lua", clients, seconds)

    def pause(self, paused: bool) -> None:
        """Holds it while others are measured: some are never quite idle."""
        for process in self._all():
            process.send_signal(signal.SIGSTOP if paused else signal.SIGCONT)

    def settle(self, row: str) -> None:
        """Waits until a model that is converted is answered in its final form."""
        settle(f"http://127.0.0.1:{self._ports.rest}", "model", row)

    def _all(self) -> list[psutil.Process]:
        return [self._process, *self._process.children(recursive=True)]

    def _spent(self) -> float:
        return float(sum(sum(process.cpu_times()[:2]) for process in self._all()))


@contextlib.contextmanager
def serving(command: Command, ports: Ports, cores: str) -> Iterator[Server]:
    """Starts a server on some cores, and ends it and all that it started."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **command.env}
    started = time.perf_counter()
    with subprocess.Popen(
        ["taskset", "-c", cores, *command.argv],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,
    ) as process:
        try:
            _wait(process, f"http://127.0.0.1:{ports.rest}{command.ready}")
            ready = time.perf_counter() - started
            yield Server(psutil.Process(process.pid), ports, command, ready)
        finally:
            _end(process)


def settle(url: str, model: str, row: str) -> None:
    """Waits until a converted model of a server at an address is answered in its final form."""
    deadline = time.monotonic() + _TWIN_SECONDS
    while time.monotonic() < deadline:
        with _OPEN(f"{url}/v2/models/{model}", timeout=10) as answer:
            if b"being made" not in answer.read():
                break
        time.sleep(0.1)
    body = f'{{"instances": [{", ".join([row] * 300)}]}}'.encode()
    for _ in range(4):  # Of several processes, each has to see so many rows.
        _OPEN(Request(f"{url}/v1/models/{model}:predict", body), timeout=30).close()


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends a server, and what it started, some of which is in sessions of its own."""
    started: list[psutil.Process] = []
    with contextlib.suppress(psutil.NoSuchProcess):
        started = psutil.Process(process.pid).children(recursive=True)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGCONT)
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10)
    for child in started:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def free_ports() -> Ports:
    with contextlib.ExitStack() as stack:
        taken = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3)]
        return Ports(*(s.getsockname()[1] for s in taken))


def _wait(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(URLError, OSError), _OPEN(url, timeout=5):
            return
        time.sleep(0.02)
    raise SystemExit(f"{process.args!r} was not ready within {_START_SECONDS} s, or ended")

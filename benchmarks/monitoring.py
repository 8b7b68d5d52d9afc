"""What monitoring and the request log cost a model server: CPU of each request, side by side.

    .venv/bin/python benchmarks/monitoring.py MODEL_DIR --rows '[[5.1, 3.5, 1.4, 0.2]]'

Servers of the same model, asked in turns by wrk (8 clients): as it is, sampled for monitoring (and
looked at every two seconds, as the platform does), recording to a folder, and to an address where
nobody answers. CPU is the server's own for each request. Needs Linux and wrk.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil

_LOOK_SECONDS = 2.0


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        ways = {
            "as it is": [],
            "monitored": ["--monitor=true"],
            "log in a folder": [f"--request_log={folder}/log"],
            "log, nobody answers": ["--request_log=http://127.0.0.1:9/"],
        }
        script = Path(folder) / "post.lua"
        body = json.dumps({"instances": json.loads(options.rows)})
        script.write_text(
            'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\n'
            f"wrk.body = '{body}'\n"
        )
        servers = {
            way: stack.enter_context(_server(options.model_dir, options.format, arguments))
            for way, arguments in ways.items()
        }
        found: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(options.rounds):
            for way, (process, port) in servers.items():
                with _looked_at(port) if way == "monitored" else contextlib.nullcontext():
                    found[way].append(_cpu(process, port, script, options.seconds))
        usual = statistics.median(found["as it is"])
        for way, times in found.items():
            process = servers[way][0]
            share = statistics.median(t / u for t, u in zip(times, found["as it is"], strict=True))
            print(
                f"{way:20} {statistics.median(times):7.1f} us a request "
                f"{100 * (share - 1):+6.1f}%  {process.memory_info().rss >> 20} MiB"
            )
        print(f"({usual:.1f} us as it is, median of {options.rounds} rounds)")


@contextlib.contextmanager
def _server(folder: Path, kind: str, arguments: list[str]) -> Iterator[tuple[psutil.Process, int]]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    command = [sys.executable, "-m", "kubeling.serving.server", f"--model_dir={folder}"]
    command += ["--model_name=m", f"--format={kind}", "--host=127.0.0.1", "--enable_grpc=false"]
    process = subprocess.Popen(
        [*command, f"--http_port={port}", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _until_ready(port)
        yield psutil.Process(process.pid), port
    finally:
        process.terminate()
        process.wait()


def _until_ready(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/health/ready")
            return
        time.sleep(0.05)
    raise SystemExit("the server did not get ready")


@contextlib.contextmanager
def _looked_at(port: int) -> Iterator[None]:
    over = threading.Event()

    def look() -> None:
        while not over.wait(_LOOK_SECONDS):
            request = urllib.request.Request(f"http://127.0.0.1:{port}/monitor/samples", b"{}")
            urllib.request.urlopen(request).read()

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _cpu(process: psutil.Process, port: int, script: Path, seconds: float) -> float:
    """Microseconds of CPU for each request."""
    before = sum(process.cpu_times()[:2])
    done = subprocess.run(
        [
            *("wrk", "-t1", "-c8", f"-d{seconds:g}s", "-s", str(script)),
            f"http://127.0.0.1:{port}/v1/models/m:predict",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    match = re.search(r"(\d+) requests in", done.stdout)
    assert match is not None, done.stdout
    assert "Non-2xx" not in done.stdout, done.stdout
    return 1e6 * (sum(process.cpu_times()[:2]) - before) / int(match.group(1))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model_dir", type=Path)
    parser.add_argument("--format", default="sklearn")
    parser.add_argument("--rows", default="[[5.1, 3.5, 1.4, 0.2]]")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=4.0)
    return parser.parse_args()


if __name__ == "__main__":
    main()

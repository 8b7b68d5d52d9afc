"""Packets to Services are taken while the platform lives; otherwise they vanish, unanswered."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubeling.engine.servicenet.reach import Reach

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0 or not os.path.exists("/dev/net/tun"),
    reason="needs Linux, root and network interfaces of its own",
)

RANGE = ipaddress.IPv4Network("10.111.240.0/28")
ADDRESS, PORT = str(RANGE[2]), 7001
SHOWN = str(RANGE.network_address)
PLATFORM = f"""
import ipaddress, pathlib, sys
from kubeling.engine.servicenet.reach import Reach
from kubeling.engine.servicenet.sockets import listener
reach = Reach(ipaddress.IPv4Network("{RANGE}"), pathlib.Path(sys.argv[1]))
reach.prepare()
taking = listener("{ADDRESS}", {PORT}, early=True)
print("prepared", flush=True)
sys.stdin.readline()
reach.open()
print("open", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def reach(tmp_path: Path) -> Iterator[Reach]:
    reach = Reach(RANGE, tmp_path)
    yield reach
    reach.close()


@contextlib.contextmanager
def platform(data_dir: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", PLATFORM, str(data_dir)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def step(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def go_on(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def outcome() -> str:
    """What a connection from this machine comes to; its own senders learn of a silent route."""
    try:
        socket.create_connection((ADDRESS, PORT), timeout=5).close()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "taken"


def test_packets_are_taken_from_the_moment_all_is_there(reach: Reach, tmp_path: Path) -> None:
    with platform(tmp_path) as process:
        assert step(process) == "prepared"
        assert outcome() == "EINVAL"
        go_on(process)
        assert step(process) == "open"
        assert outcome() == "taken"


def test_a_killed_platform_leaves_silence_not_refusals(reach: Reach, tmp_path: Path) -> None:
    with platform(tmp_path) as process:
        step(process)
        go_on(process)
        step(process)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert outcome() == "EINVAL"
    with platform(tmp_path) as process:
        step(process)
        go_on(process)
        step(process)
        assert outcome() == "taken"


def test_nothing_is_left_of_a_range_that_was_closed(reach: Reach, tmp_path: Path) -> None:
    with platform(tmp_path) as process:
        step(process)
    assert SHOWN in routes()
    reach.close()
    assert SHOWN not in routes()


def routes() -> str:
    return Path("/proc/net/fib_trie").read_text()

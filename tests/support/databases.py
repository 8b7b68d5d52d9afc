"""Database servers of the tests' own: PostgreSQL and MariaDB, as Debian has them."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

__all__ = ["SERVERS", "mariadb", "postgresql"]

_DEADLINE = 60.0


@contextlib.contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """The URL of an empty database."""
    programs = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
    if not programs:
        pytest.skip("there is no PostgreSQL on this machine")
    who = _unprivileged(folder, "postgres")
    data, sockets = folder / "data", str(folder)
    flags = ["--auth=trust", "--username=test", "--encoding=UTF8", "--locale=C", "--no-sync"]
    _run([*who, f"{programs[-1]}/initdb", "-D", str(data), *flags])
    quick = ["-c", "listen_addresses=", "-c", "fsync=off", "-k", sockets]
    server = [*who, f"{programs[-1]}/postgres", "-D", str(data), *quick]
    with _running(server, lambda: _opens(folder / ".s.PGSQL.5432")):
        yield f"postgresql+psycopg://test@/postgres?host={sockets}"


@contextlib.contextmanager
def mariadb(folder: Path) -> Iterator[str]:
    """The URL of an empty database."""
    if shutil.which("mariadbd") is None:
        pytest.skip("there is no MariaDB on this machine")
    who = _unprivileged(folder, "mysql")
    data, socket_path = folder / "data", folder / "socket"
    places = [f"--datadir={data}", "--no-defaults"]
    install = ["--auth-root-authentication-method=normal", "--skip-test-db"]
    _run([*who, "mariadb-install-db", *reversed(places), *install])
    lean = ["--skip-networking", f"--socket={socket_path}", f"--pid-file={folder}/pid"]
    lean += ["--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=32M"]
    with _running([*who, "mariadbd", *reversed(places), *lean], lambda: _opens(socket_path)):
        create = ["-e", "CREATE DATABASE test CHARACTER SET utf8mb4"]
        _run(["mariadb", "--no-defaults", f"--socket={socket_path}", "-u", "root", *create])
        yield f"mysql+pymysql://root@/test?unix_socket={socket_path}&charset=utf8mb4"


SERVERS = {"postgresql": postgresql, "mysql": mariadb}


def _unprivileged(folder: Path, user: str) -> list[str]:
    """What runs a server as somebody else: neither starts for root."""
    if os.geteuid() != 0:
        return []
    shutil.chown(folder, user, user)
    return ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--"]


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=_DEADLINE, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _opens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(str(path))
        except OSError:
            return False
    return True


@contextlib.contextmanager
def _running(command: Sequence[str], ready) -> Iterator[None]:  # type: ignore[no-untyped-def]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + _DEADLINE
        while not ready():
            assert server.poll() is None, "the server ended"
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.05)
        yield
    finally:
        server.terminate()
        server.wait(30)

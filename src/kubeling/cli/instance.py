"""One installation: its data directory, who holds it, and where it answers.

A data directory belongs to one running platform at a time (an advisory lock that dies with the
process) and names the layout it was written with, so that an older release refuses a newer one's
data instead of damaging it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

import click
import msgspec

from kubeling.cli.errors import CliError

__all__ = ["LAYOUT", "Endpoints", "Instance", "data_dir_option", "default_data_dir"]

LAYOUT: Final = 1
"""The version of the data directory's layout."""

F = TypeVar("F", bound=Callable[..., Any])


class Endpoints(msgspec.Struct, kw_only=True):
    """Where a running platform answers; the content of ``endpoints.json``."""

    pid: int
    version: str
    dashboard: str
    api_server: str
    kubeconfig: str
    workspace: str
    started_at: str
    gateway_port: int
    api_port: int
    argo_server: str = ""
    listeners: dict[str, int] = {}
    """By name, the ports of what components serve beside the gateway."""


def default_data_dir() -> Path:
    """``$KUBELING_DATA_DIR``, else ``kubeling`` in the user's data home."""
    if named := os.environ.get("KUBELING_DATA_DIR"):
        return Path(named)
    home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(home) / "kubeling"


def data_dir_option(command: F) -> F:
    """Adds ``--data-dir`` to a command; the function receives ``data_dir``."""
    return click.option(
        "--data-dir",
        type=click.Path(path_type=Path, file_okay=False),
        default=default_data_dir,
        show_default="$KUBELING_DATA_DIR or ~/.local/share/kubeling",
        help="Where the platform keeps everything.",
    )(command)


class Instance:
    """The files of one data directory."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir.expanduser().absolute()
        self.kubeconfig = self.data_dir / "kubeconfig"
        self.log_file = self.data_dir / "kubeling.log"
        self.config_file = self.data_dir / "config.yaml"
        self._endpoints = self.data_dir / "endpoints.json"
        self._layout = self.data_dir / "layout"
        self._lock = self.data_dir / "lock"

    @property
    def option(self) -> str:
        """What a command is given to mean this directory; nothing for the one it means anyway."""
        usual = Instance(default_data_dir()).data_dir
        return "" if self.data_dir == usual else f" --data-dir {shlex.quote(str(self.data_dir))}"

    def endpoints(self) -> Endpoints | None:
        """What was last written, whether or not that platform still runs."""
        try:
            return msgspec.json.decode(self._endpoints.read_bytes(), type=Endpoints)
        except (FileNotFoundError, msgspec.MsgspecError):
            return None

    def write_endpoints(self, endpoints: Endpoints) -> None:
        """Publishes the addresses, atomically."""
        text = msgspec.json.format(msgspec.json.encode(endpoints), indent=2)
        self._write(self._endpoints, text + b"\n")

    def running(self) -> Endpoints | None:
        """The addresses of the platform that holds the directory now, if one does."""
        if not self._held():
            return None
        return self.endpoints()

    def holder(self) -> int | None:
        """The process of the platform that holds the directory, be it only starting."""
        if not self._held():
            return None
        if written := self._lock.read_text():
            return int(written)
        if known := self.endpoints():  # An older release wrote its number nowhere else.
            return known.pid
        raise CliError(
            f"a platform is just starting from {self.data_dir}", "Try again in a moment."
        )

    def require_running(self) -> Endpoints:
        """As :meth:`running`, or an error that says how to start."""
        found = self.running()
        if found is None:
            raise CliError(
                f"no platform is running from {self.data_dir}",
                f"Start one with: kubeling up --detach{self.option}",
            )
        return found

    def lives(self, endpoints: Endpoints) -> bool:
        """Whether the platform that wrote these addresses still runs."""
        import psutil

        try:
            return psutil.Process(endpoints.pid).status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    @contextlib.contextmanager
    def claim(self) -> Iterator[None]:
        """Holds the directory while the platform runs; raises if it cannot be used."""
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise CliError(
                f"cannot use {self.data_dir}: {error.strerror}", "Choose another --data-dir."
            ) from None
        try:
            self._acquire(lock)
            os.ftruncate(lock, 0)
            os.write(lock, f"{os.getpid()}\n".encode())
            self._check_layout()
            yield
        finally:
            os.close(lock)

    def _acquire(self, lock: int) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = self.endpoints()
            who = f" (process {holder.pid}, {holder.dashboard})" if holder else ""
            raise CliError(
                f"{self.data_dir} is in use by another platform{who}",
                "Stop it with kubeling down, or choose another --data-dir.",
            ) from None

    def _check_layout(self) -> None:
        try:
            written = int(self._layout.read_text())
        except FileNotFoundError:
            self._write(self._layout, f"{LAYOUT}\n".encode())
            return
        except ValueError:
            raise CliError(f"{self._layout} is damaged: it should hold a number") from None
        if written > LAYOUT:
            raise CliError(
                f"{self.data_dir} was written by a newer kubeling (layout {written}, this one "
                f"knows {LAYOUT})",
                "Upgrade with pip install --upgrade kubeling, or choose another --data-dir.",
            )

    def _write(self, path: Path, content: bytes) -> None:
        """Writes a file whole or not at all."""
        temporary = path.with_name(f"{path.name}.tmp")
        temporary.write_bytes(content)
        temporary.replace(path)

    def _held(self) -> bool:
        try:
            lock = os.open(self._lock, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

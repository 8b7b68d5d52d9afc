"""A real platform in a process of its own, for the tests that drive it as a user would."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import psutil

__all__ = ["Mode", "Platform", "started"]

Mode = Literal["in-process", "separate"]

_BIN = Path(sys.executable).parent
_RESET_SECONDS = 600
"""Hundreds of pods' files and an environment with PyTorch take minutes on a busy machine."""


@dataclass
class Platform:
    """One running platform and the commands that use it."""

    data_dir: Path
    workspace: Path
    mode: Mode = "in-process"
    arguments: tuple[str, ...] = ()
    endpoints: dict[str, Any] = field(default_factory=dict)
    controllers: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What ``kubeling env`` exports, over this process' environment."""
        paths = {
            "KUBELING_DATA_DIR": str(self.data_dir),
            "PATH": f"{_BIN}{os.pathsep}{os.environ['PATH']}",
        }
        if self.endpoints:
            paths |= {
                "KUBECONFIG": self.endpoints["kubeconfig"],
                "KF_PIPELINES_ENDPOINT": self.endpoints["dashboard"],
                "MODEL_REGISTRY_BASE_URL": self.endpoints["dashboard"],
                "ARGO_SERVER": self.endpoints["argo_server"],
                "KATIB_DB_MANAGER": f"127.0.0.1:{self.endpoints['listeners']['katib-db-manager']}",
            }
        return {**os.environ, **paths}

    @property
    def listen_host(self) -> str:
        """Where separate controllers serve beside the API: an address of this process' own."""
        pid = os.getpid()
        return f"127.{96 + (pid >> 16) % 32}.{(pid >> 8) % 256}.{pid % 256}"

    @property
    def url(self) -> str:
        """The dashboard's address."""
        return str(self.endpoints["dashboard"])

    def run(
        self, *command: str, check: bool = True, stdin: str | None = None, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command with the platform's environment."""
        done = subprocess.run(
            command,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(
                f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
            )
        return done

    def kubectl(self, *arguments: str, **options: Any) -> str:
        """The output of a kubectl command."""
        return self.run("kubectl", *arguments, **options).stdout

    def kubeling(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Runs the ``kubeling`` command."""
        return self.run(sys.executable, "-m", "kubeling", *arguments, **options)

    def object(self, kind: str, name: str, namespace: str = "default") -> dict[str, Any]:
        """One object, as kubectl reads it."""
        found: dict[str, Any] = json.loads(
            self.kubectl("get", kind, name, "-n", namespace, "-o", "json")
        )
        return found

    def until(
        self,
        what: Callable[[dict[str, Any]], bool],
        kind: str,
        name: str,
        *,
        namespace: str = "default",
        timeout: float = 120,
    ) -> dict[str, Any]:
        """Watches an object until ``what`` holds of it; fails with what `why` says."""
        # Watched as a list: of a named object kubectl skips the watch's first event, and with it a
        # change between its two requests.
        only = f"--field-selector=metadata.name={name}"
        command = ["kubectl", "get", kind, only, "-n", namespace, "-w", "-o", "json"]
        watch = subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE, text=True)
        deadline = time.monotonic() + timeout
        try:
            with contextlib.suppress(TimeoutError):
                for obj in _objects(watch, deadline):
                    if what(obj):
                        return obj
        finally:
            watch.kill()
            watch.wait()
        why = self.kubeling("why", kind, name, "-n", namespace, check=False)
        shown = self.kubectl("get", kind, name, "-n", namespace, "-o", "yaml", check=False)
        raise AssertionError(f"{kind}/{name} never got there\n{why.stdout}{why.stderr}\n{shown}")

    def start(self, port: int = 0) -> None:
        """Starts (again) from the same data directory, the dashboard on any free port or this."""
        images = self.workspace / "images.yaml"
        if images.exists() and not self.data_dir.exists():
            self.data_dir.mkdir(parents=True)
            shutil.copy(images, self.data_dir)
        arguments = ["up", "--detach", "--port", str(port), "--workspace", str(self.workspace)]
        arguments += self.arguments
        if self.mode == "separate":
            arguments.append("--no-controllers")
        self.kubeling(*arguments, "--data-dir", str(self.data_dir))
        self.read_endpoints()
        if self.mode == "separate":
            self._start_controllers()

    def read_endpoints(self) -> None:
        """Learns where the platform answers now, whoever started it."""
        self.endpoints = json.loads((self.data_dir / "endpoints.json").read_text())

    def kill(self) -> None:
        """Ends the platform as a crash does, with its zygote: SIGKILL, no clean-up."""
        _kill(self.endpoints["pid"], *_zygotes(self.endpoints["pid"]))
        self._stop_controllers(signal.SIGKILL)

    def stop(self) -> None:
        """Stops it and deletes what it keeps, processes included."""
        self._stop_controllers(signal.SIGTERM)
        command = ("reset", "--yes", "--data-dir", str(self.data_dir))
        self.kubeling(*command, check=False, timeout=_RESET_SECONDS)

    def _start_controllers(self) -> None:
        log = (self.data_dir / "controllers.log").open("ab")
        self.controllers = subprocess.Popen(
            [
                *(sys.executable, "-m", "kubeling", "controllers"),
                *("--kubeconfig", self.endpoints["kubeconfig"]),
                *("--data-dir", str(self.data_dir), "--workspace", str(self.workspace)),
                *("--gateway", self.endpoints["dashboard"], "--listen-host", self.listen_host),
            ],
            env=self.environment,
            stdout=log,
            stderr=log,
        )

    def _stop_controllers(self, how: signal.Signals) -> None:
        if self.controllers is not None:
            self.controllers.send_signal(how)
            self.controllers.wait(timeout=30)
            self.controllers = None


@contextlib.contextmanager
def started(
    data_dir: Path, workspace: Path, mode: Mode = "in-process", arguments: Sequence[str] = ()
) -> Iterator[Platform]:
    """A running platform that is gone, with all it kept, afterwards."""
    platform = Platform(data_dir, workspace, mode, tuple(arguments))
    platform.start()
    try:
        yield platform
    finally:
        platform.stop()


def _zygotes(platform: int) -> list[int]:
    """The helpers that a platform starts its containers through."""
    found = []
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(platform).children():
            with contextlib.suppress(psutil.NoSuchProcess):
                if child.name() == "kubeling-zygote":
                    found.append(child.pid)
    return found


def _kill(*pids: int) -> None:
    """Ends processes that are not children of ours; their ports and locks are free afterwards."""
    with contextlib.ExitStack() as stack:
        processes = []
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                process = os.pidfd_open(pid)
                stack.callback(os.close, process)
                processes.append(process)
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(process, signal.SIGKILL)
        for process in processes:
            select.select([process], [], [], 30)


def _objects(watch: subprocess.Popen[str], deadline: float) -> Iterator[dict[str, Any]]:
    """The JSON objects that ``kubectl get -w -o json`` prints, until the deadline."""
    import selectors

    assert watch.stdout is not None
    os.set_blocking(watch.stdout.fileno(), False)
    decoder, text = json.JSONDecoder(), ""
    with selectors.DefaultSelector() as selector:
        selector.register(watch.stdout, selectors.EVENT_READ)
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or not selector.select(left):
                raise TimeoutError
            chunk = watch.stdout.read()
            if not chunk:
                return
            text = (text + chunk).lstrip()
            while text:
                try:
                    obj, end = decoder.raw_decode(text)
                except json.JSONDecodeError:
                    break
                text = text[end:].lstrip()
                yield obj

"""A platform of its own for a benchmark: started in a temporary folder and deleted at the end."""

from __future__ import annotations

import compileall
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

import kubeling

KUBELING = (sys.executable, "-m", "kubeling")


@dataclass(frozen=True)
class Platform:
    """Where it keeps everything; it need not run."""

    data: Path
    workspace: Path

    def command(self, name: str, *arguments: str) -> str:
        """Runs ``kubeling NAME`` on it and gives what it prints."""
        return run(*KUBELING, name, "--data-dir", str(self.data), *arguments)

    def up(self) -> None:
        """Returns when it is ready."""
        self.command("up", "--detach", "--port", "0", "--workspace", str(self.workspace))

    def pid(self) -> int:
        """The process that everything else is started by."""
        status = msgspec.json.decode(self.command("status", "-o", "json"), type=dict[str, object])
        return int(str(status["pid"]))


@contextmanager
def platform() -> Iterator[Platform]:
    """A data directory and a workspace; whatever runs from them ends with the block."""
    with TemporaryDirectory() as folder:
        compileall.compile_dir(Path(kubeling.__file__).parent, quiet=1)  # As installers do.
        found = Platform(Path(folder, "data"), Path(folder, "workspace"))
        found.workspace.mkdir()
        try:
            yield found
        finally:
            if found.data.exists():
                found.command("reset", "--yes")


def run(*command: str) -> str:
    """What a command prints; its failure ends the benchmark with what it said."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr or done.stdout}")
    return done.stdout


def seconds(*command: str) -> float:
    """How long a command takes."""
    began = time.perf_counter()
    run(*command)
    return time.perf_counter() - began

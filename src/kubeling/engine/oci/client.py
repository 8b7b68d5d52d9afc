"""The command line of podman or docker, which both understand the same way.

Why the command line and not the REST socket: docs/decisions/0015.
"""

from __future__ import annotations

import asyncio
import fnmatch
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

__all__ = ["ContainerEngine", "EngineError", "client_env"]

_PASSED: Final = (
    "PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "LANG", "XDG_*", "DBUS_SESSION_BUS_ADDRESS",
    "CONTAINER_*", "CONTAINERS_*", "REGISTRY_AUTH_FILE", "STORAGE_*", "DOCKER_*", "SSL_CERT_*",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
)  # fmt: skip
_LONGEST: Final = 1000


class EngineError(Exception):
    """The engine refused, or is not there; the message is its last word."""


@dataclass(frozen=True, slots=True)
class ContainerEngine:
    """A container engine that works on this machine.

    ``limits`` says whether it can bound memory and CPU: without root, old control groups cannot.
    """

    name: Literal["podman", "docker"]
    program: Path
    version: str = ""
    rootless: bool = False
    limits: bool = True

    @property
    def joins_namespaces(self) -> bool:
        """Whether a container can be put on a network or among processes that are there already."""
        return self.name == "podman" and not self.rootless

    async def run(
        self, *arguments: str, env: Mapping[str, str] | None = None, stdin: bytes = b""
    ) -> str:
        """Runs a command of the engine and returns what it prints; raises :class:`EngineError`.

        ``env`` adds to the client's own variables.
        """
        try:
            process = await asyncio.create_subprocess_exec(
                self.program,
                *arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={**client_env(), **(env or {})},
                start_new_session=True,
            )
        except OSError as error:
            raise EngineError(f"{self.program}: {error.strerror}") from error
        try:
            output, said = await process.communicate(stdin)
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise
        if process.returncode:
            text = _last_word(said.decode(errors="replace"))
            raise EngineError(text or f"{self.name} {arguments[0]}: exit code {process.returncode}")
        return output.decode(errors="replace")

    async def ask(self, *arguments: str) -> Any:
        """As :meth:`run`, for answers in JSON."""
        text = await self.run(*arguments)
        try:
            return json.loads(text)
        except ValueError as error:
            raise EngineError(f"{self.name} {arguments[0]}: {text[:_LONGEST]}") from error


def client_env() -> dict[str, str]:
    """The variables of the platform that are the engine's business."""
    return {
        name: value
        for name, value in os.environ.items()
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in _PASSED)
    }


def _last_word(text: str) -> str:
    """What went wrong, without the warnings before it."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    begin = next((n for n, line in enumerate(lines) if line.startswith("Error")), -1)
    said = " ".join(lines[begin:])
    for prefix in ("Error: ", "Error response from daemon: "):
        said = said.removeprefix(prefix)
    return said[:_LONGEST]

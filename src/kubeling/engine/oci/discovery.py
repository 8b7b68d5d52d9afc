"""Which container engine this machine has, found out by asking it when one is first needed.

Nobody waits for it at the start of the platform. What was found is kept; while nothing was, each
question looks again, so that an engine installed meanwhile needs no restart.
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Final, Literal

from kubeling.engine.oci.client import ContainerEngine, EngineError

__all__ = ["EngineChoice", "EngineFinder", "NoEngine"]

EngineChoice = Literal["auto", "podman", "docker", "none"]

_INSTALL: Final = "install podman (or docker)"
_PATIENCE_SECONDS: Final = 30.0


class NoEngine(Exception):
    """There is none to use; the message says why, ``remedy`` what to do about it."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


class EngineFinder:
    """Finds the engine that the configuration allows."""

    def __init__(self, choice: EngineChoice) -> None:
        self._choice = choice
        self._found: ContainerEngine | None = None

    async def find(self) -> ContainerEngine:
        """The engine; raises :class:`NoEngine`."""
        if self._found is None:
            self._found = await _find(self._choice)
        return self._found


async def _find(choice: EngineChoice) -> ContainerEngine:
    if choice == "none":
        raise NoEngine(
            "containers are turned off (engine.container_engine is none)",
            "set engine.container_engine to auto",
        )
    names: tuple[Literal["podman", "docker"], ...]
    names = ("podman", "docker") if choice == "auto" else (choice,)
    broken: dict[str, str] = {}
    for name in names:
        program = shutil.which(name)
        if program is None:
            continue
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                return await _ask(name, Path(program))
        except EngineError as error:
            broken[name] = str(error)
        except TimeoutError:
            broken[name] = f"it has not answered in {_PATIENCE_SECONDS:g} s"
    if broken:
        why = "; ".join(f"{name} does not work: {text}" for name, text in broken.items())
        raise NoEngine(why, f"see to it that {' or '.join(broken)} info works")
    if choice == "auto":
        raise NoEngine("this machine has neither podman nor docker", _INSTALL)
    raise NoEngine(
        f"this machine has no {choice} (engine.container_engine is {choice})", f"install {choice}"
    )


async def _ask(name: Literal["podman", "docker"], program: Path) -> ContainerEngine:
    said = await ContainerEngine(name, program).ask("info", "--format", "{{json .}}")
    if "host" not in said:
        if errors := said.get("ServerErrors"):
            raise EngineError(" ".join(errors))
        options = " ".join(said.get("SecurityOptions") or ())
        limits = bool(said.get("MemoryLimit"))
        rootless = "rootless" in options
        return ContainerEngine("docker", program, said["ServerVersion"], rootless, limits)
    host = said["host"]  # podman's answer, which also goes by the name of docker
    rootless = bool(host["security"]["rootless"])
    limits = not rootless or "memory" in (host.get("cgroupControllers") or ())
    return ContainerEngine("podman", program, said["version"]["Version"], rootless, limits)

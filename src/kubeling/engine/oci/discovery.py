"""Which container engine this machine has, found out by asking it when one is first needed.

Nobody waits for it at the start of the platform. What was found is kept; while nothing was, each
question looks again, so that an engine installed meanwhile needs no restart.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final, Literal

from kubeling.engine.oci.client import ContainerEngine, EngineError

__all__ = ["EngineChoice", "EngineFinder", "NoEngine"]

EngineChoice = Literal["auto", "podman", "docker", "none"]

_INSTALL: Final = "install podman (or docker)"


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
    broken = []
    for name in names:
        program = shutil.which(name)
        if program is None:
            continue
        try:
            return await _ask(name, Path(program))
        except EngineError as error:
            broken.append(f"{name} does not work: {error}")
    if broken:
        raise NoEngine("; ".join(broken), f"see to it that {names[0]} info works")
    if choice == "auto":
        raise NoEngine("this machine has neither podman nor docker", _INSTALL)
    raise NoEngine(
        f"this machine has no {choice} (engine.container_engine is {choice})", f"install {choice}"
    )


async def _ask(name: Literal["podman", "docker"], program: Path) -> ContainerEngine:
    said = await ContainerEngine(name, program).ask("info", "--format", "{{json .}}")
    if name == "docker":
        if errors := said.get("ServerErrors"):
            raise EngineError(" ".join(errors))
        options = " ".join(said.get("SecurityOptions") or ())
        limits = bool(said.get("MemoryLimit"))
        return ContainerEngine(name, program, said["ServerVersion"], "rootless" in options, limits)
    host = said["host"]
    rootless = bool(host["security"]["rootless"])
    limits = not rootless or "memory" in (host.get("cgroupControllers") or ())
    return ContainerEngine(name, program, said["version"]["Version"], rootless, limits)

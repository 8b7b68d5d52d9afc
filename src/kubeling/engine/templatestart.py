"""Starts one template: the interpreter in a view of the machine, and what it says of itself."""

from __future__ import annotations

import asyncio
import marshal
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kubeling.engine.launcher import Launcher, LaunchError
from kubeling.engine.sandbox import linux
from kubeling.engine.sandbox.plan import Mount, Root, TemplatePlan
from kubeling.engine.standby import Standby
from kubeling.engine.templatechecks import look
from kubeling.engine.templatefailures import Unfit
from kubeling.engine.templatekeys import TemplateKey

__all__ = ["Template", "shared_variables", "start_template", "template_plan"]

_READY_SECONDS: Final = 120.0
_SYSTEM: Final = (
    "/usr",
    "/lib",
    "/lib64",
    "/bin",
    "/etc/localtime",
    "/etc/ld.so.cache",
    "/etc/ssl",
)
_SHARED: Final = ("PATH", "HOME", "USER", "LOGNAME", "TMPDIR")
_NAMESPACES: Final = (
    linux.CLONE_NEWNS | linux.CLONE_NEWUTS | linux.CLONE_NEWIPC | linux.CLONE_NEWNET
)


@dataclass(slots=True)
class Template:
    """A running template, ready to fork."""

    way: socket.socket
    folder: Path
    places: tuple[str, ...]
    seen: Mapping[str, int]
    used_at: float
    standby: Standby
    variables: Mapping[str, str | None]
    """What libraries of machine code, which are loaded only once, and what needs them have found
    in variables."""
    prefixes: tuple[str, ...]
    """How variables begin that they have looked for in vain, but for those above."""

    def suits(self, env: Mapping[str, str]) -> bool:
        """Whether such libraries would find the same in other variables."""
        if any(env.get(name) != value for name, value in self.variables.items()):
            return False
        return not any(n.startswith(self.prefixes) and n not in self.variables for n in env)

    def close(self) -> None:
        """Lets it end, and who stands by for it."""
        self.standby.close()
        self.way.close()


async def start_template(
    launcher: Launcher, plan: TemplatePlan, folder: Path, modules: list[str], now: float
) -> Template:
    """Starts one that imports ``modules`` ahead, with its files in a new folder, which is left.

    Raises :class:`~.launcher.LaunchError` if it cannot be had, with the reason;
    :class:`.templatefailures.Unfit` if that is so each time.
    """
    way = None
    try:
        for name in ("files", "tmp"):
            (folder / name).mkdir(parents=True)
        way = await launcher.start_template(plan)
        async with asyncio.timeout(_READY_SECONDS):
            answer = await _introduce(way, modules)
        if reason := answer.get("useless"):
            raise _refusal(plan, reason, answer.get("seen"))
    except BaseException as error:
        if way is not None:
            way.close()
        if isinstance(error, (OSError, TimeoutError)):
            raise LaunchError(str(error) or "it is not ready in time") from error
        raise
    return Template(
        way,
        folder,
        (*answer["places"], *_SYSTEM),
        look(answer["seen"]),
        now,
        Standby(launcher, way),
        answer["variables"],
        tuple(answer["prefixes"]),
    )


def shared_variables(env: Mapping[str, str]) -> dict[str, str]:
    """What a template may know of a container: others will be forked from it, too."""
    return {name: env[name] for name in _SHARED if name in env}


def template_plan(
    key: TemplateKey, env: Mapping[str, str], view: tuple[Root, list[Mount]]
) -> TemplatePlan:
    """How to start one for commands of a key, in a view of the machine."""
    root, mounts = view
    return TemplatePlan(
        program=key.program,
        argv0=key.argv0,
        options=list(key.options),
        env=dict(env),
        namespaces=_NAMESPACES,
        root=root,
        mounts=mounts,
    )


async def _introduce(way: socket.socket, modules: list[str]) -> dict[str, Any]:
    """Tells a template what to import; returns what it says of itself."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(way, marshal.dumps(modules, 4))
    answer = await loop.sock_recv(way, 1 << 20)
    if not answer:
        raise ConnectionResetError("it ended before it was ready")
    found: dict[str, Any] = marshal.loads(answer)
    return found


def _refusal(plan: TemplatePlan, reason: str, seen: list[str] | None) -> LaunchError:
    """What a template says against itself; with the folders by which that is decided, if it is."""
    return LaunchError(reason) if seen is None else Unfit(reason, look([plan["program"], *seen]))

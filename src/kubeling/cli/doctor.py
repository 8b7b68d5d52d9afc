"""``kubeling doctor``: what this machine offers, and what to do about what it does not."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import click

from kubeling.cli.instance import Instance, data_dir_option

__all__ = ["doctor"]

_ENGINE = "container engine"
_MIN_FREE = 2 * 1024**3


class Check(NamedTuple):
    """One line of the report; ``advice`` says what to do unless all is well."""

    state: Literal["ok", "note", "problem"]
    subject: str
    finding: str
    advice: str = ""


@click.command()
@data_dir_option
def doctor(data_dir: Path) -> int:
    """Check this machine and say what to do. The exit code is 1 if something must be mended."""
    checks = list(_checks(Instance(data_dir)))
    marks = {"ok": ("✓", "green"), "note": ("·", "yellow"), "problem": ("✗", "red")}
    for check in checks:
        mark, colour = marks[check.state]
        click.echo(f"{click.style(mark, fg=colour)} {check.subject}: {check.finding}")
        if check.advice:
            click.echo(f"    {check.advice}")
    return 1 if any(check.state == "problem" for check in checks) else 0


def _checks(instance: Instance) -> Iterator[Check]:
    yield _python()
    yield _space(instance.data_dir)
    yield _isolation()
    yield _tool("uv", "prepares Python environments", "pip install uv")
    yield _tool("kubectl", "the usual client", "optional: kubeling apply|get|logs do without it")
    yield _containers(instance)
    yield _running(instance)


def _python() -> Check:
    return Check("ok", "Python", ".".join(map(str, sys.version_info[:3])))


def _space(data_dir: Path) -> Check:
    existing = next(p for p in (data_dir, *data_dir.parents) if p.exists())
    free = shutil.disk_usage(existing).free
    finding = f"{free / 1024**3:.1f} GiB free at {existing}"
    if free >= _MIN_FREE:
        return Check("ok", "disk", finding)
    return Check("problem", "disk", finding, "Free some space, or choose another --data-dir.")


def _isolation() -> Check:
    if sys.platform != "linux":
        return Check(
            "note",
            "isolation",
            f"{sys.platform} has no namespaces: pods are plain processes on the host's network",
        )
    if os.geteuid() == 0:
        return Check("ok", "isolation", "root on Linux: pods get their own files and network")
    return Check(
        "note",
        "isolation",
        "not root: pods share the host's network",
        "Two pods that listen on one port need root, or a container engine.",
    )


def _tool(name: str, purpose: str, advice: str) -> Check:
    beside = Path(sys.executable).parent / name
    found = shutil.which(name) or (str(beside) if beside.exists() else None)
    if found:
        return Check("ok", name, found)
    return Check("note", name, f"not found ({purpose})", advice)


def _containers(instance: Instance) -> Check:
    """The engine that the settings of this data directory lead to, asked whether it works."""
    from kubeling.cli.settings import effective
    from kubeling.engine.oci.discovery import EngineFinder, NoEngine

    choice = effective(instance, {}, os.environ)["engine.container_engine"].value
    try:
        engine = asyncio.run(EngineFinder(choice).find())
    except NoEngine as none:
        advice = f"Images outside the catalogue need one ({none.remedy}), or an entry in "
        return Check("note", _ENGINE, str(none), f"{advice}{instance.data_dir / 'images.yaml'}.")
    finding = f"{engine.name} {engine.version}{' without root' if engine.rootless else ''}"
    missing = []
    if not engine.joins_namespaces and os.geteuid() == 0:
        missing.append(
            "its containers use the machine's network: only podman as root can do better"
        )
    if not engine.limits:
        missing.append("limits on memory and CPU do not hold: they need control groups version 2")
    return Check("ok", _ENGINE, finding, "; ".join(missing))


def _running(instance: Instance) -> Check:
    running = instance.running()
    if running is None:
        return Check("note", "platform", f"not running from {instance.data_dir}", "kubeling up")
    return Check("ok", "platform", running.dashboard)

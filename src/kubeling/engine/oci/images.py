"""Images of a container engine: what one says about itself, and pulling it.

The rules are the kubelet's (pkg/kubelet/images): ``Always`` asks the registry each time,
``IfNotPresent`` only for what is not there, ``Never`` not at all; names without a registry are
Docker Hub's. Images below ``localhost/`` were made on this machine and are never asked for.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import re
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kubeling.engine.oci.client import ContainerEngine, EngineError
from kubeling.kube.objects import Obj, name

__all__ = ["ContainerImage", "Images", "InvalidImageName", "check_name", "pull_credentials"]

_PART: Final = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_REFERENCE: Final = re.compile(
    rf"(?:[A-Za-z0-9.\-]+(?::\d+)?/)?{_PART}(?:/{_PART})*(?::[\w][\w.\-]{{0,127}})?"
    r"(?:@[a-z0-9]+:[0-9a-f]{32,})?"
)
_LOOPBACK: Final = re.compile(r"(localhost|127\.[0-9.]+)(:\d+)?")
_LOCAL: Final = "localhost/"


class InvalidImageName(Exception):
    """Not a name that an image can have."""


@dataclass(frozen=True, slots=True)
class ContainerImage:
    """An image that is on this machine, and what it says to run."""

    engine: ContainerEngine
    id: str
    reference: str
    """By what content it is known: ``name@sha256:…`` where a registry has it, else its id."""

    size: int
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    user: str = ""
    stop_signal: str = ""


class Images:
    """The images of an engine; one pull of the same image serves all who wait for it."""

    def __init__(self) -> None:
        self._pulling: dict[str, asyncio.Task[None]] = {}

    async def find(self, engine: ContainerEngine, image: str) -> ContainerImage | None:
        """The image, if it is on this machine."""
        try:
            (found,) = await engine.ask("image", "inspect", image)
        except EngineError as error:
            if "no such image" in str(error).lower() or "image not known" in str(error):
                return None
            raise
        return _read(engine, found)

    async def pull(
        self, engine: ContainerEngine, image: str, credentials: Mapping[str, Any]
    ) -> ContainerImage:
        """Gets the image from its registry; raises :class:`EngineError`."""
        known = json.dumps([engine.name, image, credentials], sort_keys=True)
        task = self._pulling.get(known)
        if task is None:
            task = asyncio.create_task(_pull(engine, image, credentials), name=f"pull {image}")
            self._pulling[known] = task
            task.add_done_callback(lambda _: self._pulling.pop(known))
        await asyncio.shield(task)
        found = await self.find(engine, _qualified(image))
        if found is None:
            raise EngineError(f"{image} was pulled and is not there")
        return found

    async def stop(self) -> None:
        """Gives up what is being pulled."""
        tasks = list(self._pulling.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def check_name(image: str) -> None:
    """Raises :class:`InvalidImageName`."""
    if not _REFERENCE.fullmatch(image):
        raise InvalidImageName(f'couldn\'t parse image name "{image}": invalid reference format')


def is_local(image: str) -> bool:
    """Whether no registry can have it."""
    return image.startswith(_LOCAL)


def pull_credentials(secrets: Iterable[Obj]) -> dict[str, Any]:
    """What the pull secrets of a pod say, by registry; raises :class:`ValueError`."""
    found: dict[str, Any] = {}
    for secret in secrets:
        for key, nested in ((".dockerconfigjson", True), (".dockercfg", False)):
            if text := (secret.get("data") or {}).get(key):
                try:
                    content = json.loads(base64.b64decode(text, validate=True))
                    found.update(content.get("auths") or {} if nested else content)
                except (binascii.Error, ValueError, AttributeError) as error:
                    raise ValueError(f'secret "{name(secret)}": {key}: {error}') from None
    return found


async def _pull(engine: ContainerEngine, image: str, credentials: Mapping[str, Any]) -> None:
    full = _qualified(image)
    with tempfile.TemporaryDirectory(prefix="kubeling-pull-") as folder:
        if engine.name == "docker":
            options = _docker_config(Path(folder), credentials) if credentials else []
            await engine.run(*options, "pull", "--quiet", full)
            return
        options = ["--quiet"]
        if credentials:
            file = Path(folder) / "auth.json"
            file.write_text(json.dumps({"auths": dict(credentials)}))
            options += ["--authfile", str(file)]
        if _LOOPBACK.fullmatch(full.partition("/")[0]):
            options.append("--tls-verify=false")
        await engine.run("pull", *options, full)


def _docker_config(folder: Path, credentials: Mapping[str, Any]) -> list[str]:
    """A configuration of its own, because docker takes credentials from nowhere else.

    It goes on talking to the daemon that the user has chosen.
    """
    import os

    own = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    try:
        content = json.loads((own / "config.json").read_text())
    except (OSError, ValueError):
        content = {}
    kept = {key: content[key] for key in ("currentContext", "proxies") if key in content}
    (folder / "config.json").write_text(json.dumps({**kept, "auths": dict(credentials)}))
    if (own / "contexts").is_dir():
        (folder / "contexts").symlink_to(own / "contexts")
    return ["--config", str(folder)]


def _qualified(image: str) -> str:
    """The name with its registry: Docker Hub's where it names none."""
    first, slash, _ = image.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return image
    return f"docker.io/{image}" if slash else f"docker.io/library/{image}"


def _read(engine: ContainerEngine, found: Mapping[str, Any]) -> ContainerImage:
    config = found.get("Config") or {}
    identity = "sha256:" + str(found["Id"]).removeprefix("sha256:")
    digests = found.get("RepoDigests") or ()
    return ContainerImage(
        engine,
        id=identity,
        reference=next((d for d in digests if not d.startswith(_LOCAL)), identity),
        size=int(found.get("Size") or 0),
        entrypoint=tuple(config.get("Entrypoint") or ()),
        cmd=tuple(config.get("Cmd") or ()),
        user=config.get("User") or "",
        stop_signal=config.get("StopSignal") or "",
    )

"""What the demo's stages share: the API, the REST faces, the files."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from kubeling.cli.discovery import Discovery
from kubeling.cli.errors import CliError
from kubeling.cli.instance import Endpoints
from kubeling.cli.lifecycle import exports
from kubeling.kube import yaml
from kubeling.kube.client import Client
from kubeling.kube.diagnosis import trouble
from kubeling.kube.objects import Obj
from kubeling.kube.resources import Resource

__all__ = ["NAMESPACE", "Session", "StageFailed"]

NAMESPACE = "default"


class StageFailed(CliError):
    """A stage did not get where it should; the message says what the platform says."""


@dataclass
class Session:
    """One run of the main job. ``say`` shows a line beside the running stage."""

    endpoints: Endpoints
    workspace: Path
    client: Client
    http: aiohttp.ClientSession
    say: Callable[[str], None] = lambda _: None
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return self.endpoints.dashboard

    def manifest(self, file: str) -> Obj:
        """A manifest of the workspace."""
        found: Obj = yaml.load((self.workspace / file).read_text())
        return found

    async def resource(self, obj: Obj) -> Resource:
        return await Discovery(self.client).of_object(obj)

    async def renew(self, obj: Obj) -> Resource:
        """Creates an object anew; one of that name from an earlier run goes first."""
        resource = await self.resource(obj)
        name = obj["metadata"]["name"]
        old = await self.client.find(resource, name, NAMESPACE)
        if old is not None:
            await self.client.delete(resource, name, NAMESPACE, propagation="Foreground")
            await self.until(resource, name, lambda found: found is None, 60)
        await self.client.create(resource, obj)
        return resource

    async def until(
        self,
        resource: Resource,
        name: str,
        holds: Callable[[Obj | None], bool],
        seconds: float,
    ) -> Obj | None:
        """Watches an object until ``holds`` is true of it (``None``: it is gone)."""
        last = await self.client.find(resource, name, NAMESPACE)
        try:
            async with asyncio.timeout(seconds):
                while not holds(last):
                    stream = self.client.watch(resource, NAMESPACE, fields=f"metadata.name={name}")
                    async for event in stream:
                        last = None if event.type == "DELETED" else event.object
                        if event.type != "BOOKMARK" and holds(last):
                            break
        except TimeoutError:
            raise StageFailed(
                f"{resource.kind} {name} was not done in {seconds:g} s: {_trouble(last)}",
                f"kubeling why {resource.plural}/{name}",
            ) from None
        return last

    async def get(self, path: str, **query: str) -> Any:
        """GETs JSON from the platform's address."""
        async with self.http.get(self.url + path, params=query) as answer:
            await _check(answer)
            return await answer.json()

    async def post(self, path: str, body: Any) -> Any:
        """POSTs JSON to the platform's address."""
        async with self.http.post(self.url + path, json=body) as answer:
            await _check(answer)
            return await answer.json()

    async def script(self, *words: str) -> str:
        """Runs one of the workspace's scripts here, with what ``kubeling env`` exports."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *words,
            cwd=self.workspace,
            env={**os.environ, **exports(self.endpoints)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, wrong = await process.communicate()
        if process.returncode != 0:
            raise StageFailed(f"{words[0]} failed: {wrong.decode().strip()}")
        return out.decode().strip()


async def _check(answer: aiohttp.ClientResponse) -> None:
    if answer.status >= 400:
        raise StageFailed(f"{answer.url.path}: {answer.status} {(await answer.text()).strip()}")


def _trouble(obj: Obj | None) -> str:
    findings = trouble(obj) if obj else []
    return "; ".join(f"{f.reason}: {f.message}" for f in findings) or "nothing is wrong yet"

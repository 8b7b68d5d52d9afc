"""What the demo's stages share: the API, the REST faces, the files."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp

from kubeling.cli.demo_run.link import Link, StageFailed, Unavailable
from kubeling.cli.discovery import Discovery
from kubeling.cli.lifecycle import exports
from kubeling.kube import yaml
from kubeling.kube.client import Client
from kubeling.kube.diagnosis import trouble
from kubeling.kube.errors import Gone
from kubeling.kube.objects import Obj, uid
from kubeling.kube.resources import Resource

__all__ = ["NAMESPACE", "Session", "check"]

NAMESPACE: Final = "default"
_AWAY: Final = (502, 503, 504)


@dataclass
class Session:
    """One run of the main job. ``say`` shows a line beside the running stage."""

    link: Link
    workspace: Path
    http: aiohttp.ClientSession
    say: Callable[[str], None] = lambda _: None
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def client(self) -> Client:
        return self.link.client

    @property
    def url(self) -> str:
        return self.link.endpoints.dashboard

    def manifest(self, file: str) -> Obj:
        """A manifest of the workspace."""
        found: Obj = yaml.load((self.workspace / file).read_text())
        return found

    async def resource(self, obj: Obj) -> Resource:
        return await self.link.lasting(lambda: Discovery(self.client).of_object(obj))

    async def apply(self, obj: Obj) -> Resource:
        """Applies an object; harmless to repeat where the answer was lost."""
        resource = await self.resource(obj)
        await self.link.lasting(lambda: self.client.apply(resource, obj))
        return resource

    async def renew(self, obj: Obj) -> Resource:
        """Creates an object anew; one of that name from an earlier run goes first."""
        resource = await self.resource(obj)
        name = obj["metadata"]["name"]
        old = await self.link.lasting(lambda: self.client.find(resource, name, NAMESPACE))
        if old is not None:
            await self.link.lasting(lambda: self._delete(resource, old))
            await self.until(resource, name, lambda now: now is None or uid(now) != uid(old), 60)
        return await self.apply(obj)

    async def until(
        self,
        resource: Resource,
        name: str,
        holds: Callable[[Obj | None], bool],
        seconds: float,
    ) -> Obj | None:
        """Watches an object until ``holds`` is true of it (``None``: it is gone)."""
        last: Obj | None = None
        try:
            async with asyncio.timeout(seconds):
                async for last in self._states(resource, name):
                    if holds(last):
                        break
        except TimeoutError:
            raise StageFailed(
                f"{resource.kind} {name} was not done in {seconds:g} s: {_trouble(last)}",
                f"kubeling why {resource.plural}/{name}",
            ) from None
        return last

    async def _states(self, resource: Resource, name: str) -> AsyncIterator[Obj | None]:
        """An object's state now and whenever it changes, across the platform's restarts."""
        fields = f"metadata.name={name}"
        while True:
            found = await self.link.lasting(
                lambda: self.client.list(resource, NAMESPACE, fields=fields)
            )
            yield found.items[0] if found.items else None
            since = found.resource_version
            # A watch that breaks off, or whose past is forgotten, begins again from the list.
            with contextlib.suppress(Gone, ConnectionError):
                async for event in self.client.watch(
                    resource, NAMESPACE, resource_version=since, fields=fields
                ):
                    yield None if event.type == "DELETED" else event.object

    async def _delete(self, resource: Resource, old: Obj) -> Obj:
        return await self.client.delete(
            resource,
            old["metadata"]["name"],
            NAMESPACE,
            propagation="Foreground",
            uid=uid(old),
            missing_ok=True,
        )

    async def get(self, path: str, **query: str) -> Any:
        """GETs JSON from the platform's address."""
        async with self.http.get(self.url + path, params=query) as answer:
            await check(answer)
            return await answer.json()

    async def post(self, path: str, body: Any) -> Any:
        """POSTs JSON to the platform's address."""
        async with self.http.post(self.url + path, json=body) as answer:
            await check(answer)
            return await answer.json()

    async def script(self, *words: str) -> str:
        """Runs one of the workspace's scripts here, with what ``kubeling env`` exports.

        A script whose platform ended beneath it runs again, so it must be one that may.
        """
        return await self.link.lasting(lambda: self._script(words))

    async def _script(self, words: Sequence[str]) -> str:
        served_by = self.link.endpoints
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *words,
            cwd=self.workspace,
            env={**os.environ, **exports(served_by)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, wrong = await process.communicate()
        if process.returncode != 0:
            if not self.link.instance.lives(served_by):
                raise Unavailable(f"the platform ended while {words[0]} ran")
            raise StageFailed(f"{words[0]} failed: {wrong.decode().strip()}")
        return out.decode().strip()


async def check(answer: aiohttp.ClientResponse) -> None:
    """Raises what an answer says went wrong."""
    if answer.status < 400:
        return
    said = f"{answer.url.path}: {answer.status} {(await answer.text()).strip()}"
    raise Unavailable(said) if answer.status in _AWAY else StageFailed(said)


def _trouble(obj: Obj | None) -> str:
    findings = trouble(obj) if obj else []
    return "; ".join(f"{f.reason}: {f.message}" for f in findings) or "nothing is wrong yet"

"""People with tokens, and without, who call the API server over the wire."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from tests.support.apiserver import RunningServer

from kubeling.apiserver.settings import ApiSettings
from kubeling.kube import config
from kubeling.kube.objects import Obj
from kubeling.kube.resources import Resource

__all__ = ["MYSELF", "Caller", "calling", "static"]

MYSELF = Resource("authentication.k8s.io", "v1", "SelfSubjectReview", "selfsubjectreviews", False)


@dataclass
class Caller:
    """Someone with a token, or without."""

    running: RunningServer
    session: aiohttp.ClientSession

    async def get(self, path: str, token: str = "", **headers: str) -> tuple[int, Obj]:
        """The code and the body of an answer."""
        given = {"Authorization": f"Bearer {token}"} if token else {}
        url = self.running.server.url + path
        async with self.session.get(url, headers={**given, **headers}) as response:
            text = await response.text()
            return response.status, json.loads(text) if text.startswith("{") else {"text": text}

    async def whoami(self, token: str, headers: list[tuple[str, str]]) -> tuple[int, Obj]:
        """Who the server says this is."""
        given = [("Authorization", f"Bearer {token}"), *headers]
        url = self.running.server.url + MYSELF.path()
        async with self.session.post(url, json={}, headers=given) as response:
            answer = await response.json()
            return response.status, answer.get("status", answer) if response.ok else answer


@contextlib.asynccontextmanager
async def calling(running: RunningServer) -> AsyncIterator[Caller]:
    """Sessions without a client certificate."""
    context = config.ClusterConfig(running.server.url, insecure=True).ssl_context()
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=context or True)
    ) as session:
        yield Caller(running, session)


def static(folder: Path, text: str, **more: Any) -> ApiSettings:
    """Settings with static tokens."""
    file = folder / "tokens.csv"
    file.write_text(text)
    return ApiSettings(token_auth_file=str(file), **more)

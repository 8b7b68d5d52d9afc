"""Reference profiles that are kept with a registered model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from kubeling.artifacts.errors import ArtifactError
from kubeling.component import Context, Settings
from kubeling.registry.api import routes
from kubeling.serving.drift.keeping import keep_profile, profile_in_registry
from kubeling.serving.drift.profile import profile_of

_API = "/api/model_registry/v1alpha3"
PROFILE = profile_of(np.random.default_rng(0).normal(size=(200, 2)), ["a", "b"])


@pytest.fixture
async def registry(tmp_path: Path) -> AsyncIterator[str]:
    """The address of a registry that has one model with two versions, one without files."""
    context = Context(cast(Any, None), cast(Any, None), Settings(tmp_path, tmp_path))
    app = web.Application()
    app.add_routes(routes(context))
    async with TestServer(app) as server, ClientSession(server.make_url("/")) as client:

        async def create(path: str, **body: Any) -> str:
            async with client.post(f"{_API}/{path}", json=body) as answer:
                return str((await answer.json())["id"])

        model = await create("registered_models", name="iris")
        await create("model_versions", name="bare", registeredModelId=model)
        version = await create("model_versions", name="v1", registeredModelId=model)
        note = {"string_value": "mine", "metadataType": "MetadataStringValue"}
        await create(
            f"model_versions/{version}/artifacts",
            artifactType="model-artifact",
            name="files",
            uri="file:///models/iris",
            customProperties={"note": note},
        )
        yield str(server.make_url("/"))
    context.database.close()


async def test_a_profile_is_kept_with_a_version_and_found_there(registry: str) -> None:
    env = {"MODEL_REGISTRY_BASE_URL": registry}
    where = "model-registry://iris/v1"
    assert await asyncio.to_thread(profile_in_registry, where, env) is None
    await asyncio.to_thread(keep_profile, PROFILE, where, env)
    assert await asyncio.to_thread(profile_in_registry, where, env) == PROFILE
    async with (
        ClientSession(registry) as client,
        client.get(f"{_API}/model_artifacts") as answer,
    ):
        kept = (await answer.json())["items"][0]
    assert kept["customProperties"]["note"]["string_value"] == "mine"
    assert kept["uri"] == "file:///models/iris"


@pytest.mark.parametrize("where", ["model-registry://rose/v1", "model-registry://iris/bare"])
async def test_what_is_not_registered_is_named(registry: str, where: str) -> None:
    env = {"MODEL_REGISTRY_BASE_URL": registry}
    with pytest.raises(ArtifactError, match="has no"):
        await asyncio.to_thread(keep_profile, PROFILE, where, env)

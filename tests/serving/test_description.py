"""The server's own description is true: whatever it allows is answered in a form that it names.

Schemathesis draws the requests from the description, the same ones each time; those of the Open
Inference Protocol are among them.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from tests.serving.language_models import gpt2, loaded
from tests.serving.model_server import Doubler, serving

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import schemathesis
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

CHECKS = [
    not_a_server_error,
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
]
EXAMPLES = 8


def ask(client: aiohttp.ClientSession, fuzz: int) -> list[str]:
    """Asks each operation of the description that a server gives; returns their names."""
    base = str(client._base_url).rstrip("/")
    schema = schemathesis.openapi.from_url(f"{base}/openapi.json")
    asked = []
    for found in schema.get_all_operations():
        operation = found.ok()
        asked.append(operation.label)

        @settings(
            max_examples=EXAMPLES * fuzz,
            derandomize=fuzz == 1,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(operation.as_strategy())
        def answered(case: Any) -> None:
            case.call_and_validate(base_url=base, checks=CHECKS, timeout=60)

        answered()
    return asked


async def test_a_server_of_tabular_models_does_what_it_describes(fuzz: int) -> None:
    async with serving(Doubler("one"), Doubler("two")) as client:
        asked = await asyncio.to_thread(ask, client, fuzz)
        fine = await client.post("/v1/models/one:predict", json={"instances": [[1, 2]]})
        assert fine.status in (200, 404), await fine.text()
    assert "POST /v2/models/{model_name}/infer" in asked
    assert "POST /v1/models/{model_name}:predict" in asked
    assert not any("completions" in operation for operation in asked)


async def test_a_server_of_language_models_does_what_it_describes(
    tmp_path: Path, fuzz: int
) -> None:
    gpt2(tmp_path)
    async with serving(loaded(tmp_path)) as client:
        asked = await asyncio.to_thread(ask, client, fuzz)
    assert "POST /v2/models/{model_name}/generate" in asked
    assert "POST /openai/v1/chat/completions" in asked


@pytest.fixture
async def described() -> AsyncIterator[Any]:
    async with serving(Doubler("one")) as client:
        yield await (await client.get("/openapi.json")).json()


async def test_the_description_names_the_models_there_are(described: Any) -> None:
    (named,) = described["paths"]["/v2/models/{model_name}/infer"]["post"]["parameters"]
    assert named["schema"]["enum"] == ["one"]


async def test_a_page_about_the_api_is_there_where_it_is_wanted() -> None:
    async with serving(Doubler("one")) as client:
        assert (await client.get("/docs")).status == 404
    async with serving(Doubler("one"), docs=True) as client:
        page = await client.get("/docs")
        assert page.content_type == "text/html"
        assert "openapi.json" in await page.text()

"""Texts of a form: JSON, one of several texts, calls of tools; asked with the client of OpenAI."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any, Literal

import pytest
from tests.serving.language_models import gpt2
from tests.serving.test_openai import CHAT

openai = pytest.importorskip("openai")
pytest.importorskip("llguidance")
pydantic = pytest.importorskip("pydantic")

CITY = {
    "type": "object",
    "properties": {
        "city": {"enum": ["Paris", "Rome"]},
        "days": {"type": "integer", "minimum": 1, "maximum": 9},
    },
    "required": ["city", "days"],
    "additionalProperties": False,
}
TOOLS = [
    {"type": "function", "function": {"name": "forecast", "parameters": CITY}},
    {"type": "function", "function": {"name": "stop"}},
]


class City(pydantic.BaseModel):  # type: ignore[misc,name-defined]
    city: Literal["Paris", "Rome"]
    days: Literal[1, 2, 3]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("gpt2")
    gpt2(found, context=512)
    return found


async def said(client: Any, **asked: Any) -> Any:
    found = await client.chat.completions.create(model="tiny", messages=CHAT, seed=1, **asked)
    return found.choices[0]


async def test_json_of_a_schema(client: Any) -> None:
    named = {"type": "json_schema", "json_schema": {"name": "city", "schema": CITY}}
    for seed in range(4):
        found = await client.chat.completions.create(
            model="tiny", messages=CHAT, seed=seed, response_format=named
        )
        assert found.choices[0].finish_reason == "stop"
        value = json.loads(found.choices[0].message.content)
        assert value["city"] in ("Paris", "Rome")
        assert 1 <= value["days"] <= 9
    found = await client.completions.create(
        model="tiny", prompt="x", max_tokens=64, extra_body={"response_format": named}
    )
    assert json.loads(found.choices[0].text).keys() == {"city", "days"}


async def test_the_clients_own_helper_reads_an_object(client: Any) -> None:
    found = await client.chat.completions.parse(model="tiny", messages=CHAT, response_format=City)
    assert found.choices[0].message.parsed.city in ("Paris", "Rome")


async def test_any_json(client: Any) -> None:
    found = await said(
        client, response_format={"type": "json_object"}, max_tokens=40, logit_bias={92: 6}
    )
    assert found.message.content.startswith("{")
    if found.finish_reason == "stop":
        assert isinstance(json.loads(found.message.content), dict)


@pytest.mark.parametrize(
    ("form", "matches"),
    [
        ({"choice": ["yes", 'no "or" maybe']}, r'yes|no "or" maybe'),
        ({"regex": "[ab]{3}-[0-9]{2}"}, "[ab]{3}-[0-9]{2}"),
        ({"grammar": 'start: "a" b\nb: "c" | "d"'}, "ac|ad"),
        ({"json": '{"const": 7}'}, "7"),
    ],
)
async def test_vllms_other_forms(client: Any, form: dict[str, Any], matches: str) -> None:
    found = await said(client, extra_body={"structured_outputs": form})
    assert re.fullmatch(matches, found.message.content)


async def test_a_call_that_is_named(client: Any) -> None:
    choice = {"type": "function", "function": {"name": "forecast"}}
    found = await said(client, tools=TOOLS, tool_choice=choice)
    assert (found.finish_reason, found.message.content) == ("stop", None)
    [call] = found.message.tool_calls
    assert (call.type, call.function.name) == ("function", "forecast")
    assert json.loads(call.function.arguments).keys() == {"city", "days"}
    answer = {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
    messages = [*CHAT, found.message.model_dump(exclude_none=True), answer]
    assert await client.chat.completions.create(model="tiny", messages=messages, max_tokens=1)


@pytest.mark.parametrize("name", ["forecast", "required"])
async def test_calls_in_pieces_add_up(client: Any, name: str) -> None:
    choice = name if name == "required" else {"type": "function", "function": {"name": name}}
    asked = {"tools": TOOLS[:1], "tool_choice": choice, "parallel_tool_calls": False}
    whole = await said(client, **asked)
    async with client.chat.completions.stream(
        model="tiny", messages=CHAT, seed=1, **asked
    ) as stream:
        found = (await stream.get_final_completion()).choices[0]
    assert found.finish_reason == whole.finish_reason
    calls = [(c.function.name, c.function.arguments) for c in found.message.tool_calls]
    assert calls == [(c.function.name, c.function.arguments) for c in whole.message.tool_calls]
    assert calls[0][0] == "forecast"


async def test_some_call_must_be_made(client: Any) -> None:
    found = await said(client, tools=TOOLS[:1], tool_choice="required", parallel_tool_calls=False)
    assert found.finish_reason == "tool_calls"
    [call] = found.message.tool_calls
    assert json.loads(call.function.arguments)["city"] in ("Paris", "Rome")


def _defining(title: str, size: dict[str, Any]) -> dict[str, Any]:
    """A tool as pydantic describes one whose argument is an enum."""
    schema = {
        "type": "object",
        "properties": {"size": {"$ref": "#/$defs/Size"}},
        "required": ["size"],
        "additionalProperties": False,
        "$defs": {"Size": size},
    }
    return {"type": "function", "function": {"name": title, "parameters": schema}}


async def test_schemas_of_tools_may_define_what_they_refer_to(client: Any) -> None:
    sizes = {"enum": ["small", "large"]}
    tools = [_defining("shirt", sizes), _defining("shoe", sizes)]
    found = await said(client, tools=tools, tool_choice="required", parallel_tool_calls=False)
    [call] = found.message.tool_calls
    assert json.loads(call.function.arguments)["size"] in sizes["enum"]
    tools = [_defining("shirt", sizes), _defining("shoe", {"type": "integer"})]
    with pytest.raises(openai.BadRequestError, match=r"different \$defs.Size; rename one"):
        await said(client, tools=tools, tool_choice="required")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"response_format": {"type": "xml"}}, '"xml" is not supported'),
        ({"response_format": {"type": "json_schema"}}, "json_schema.schema: is missing"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "x"}}}},
            "response_format: Invalid type: x",
        ),
        ({"structured_outputs": {"regex": "(a"}}, "structured_outputs: .*regex parse error"),
        ({"structured_outputs": {"json": "[" * 100_000}}, "structured_outputs.json: .*recursion"),
        ({"structured_outputs": {}}, "structured_outputs"),
        ({"structured_outputs": {"regex": "a", "choice": ["b"]}}, "takes one of json"),
        ({"structured_outputs": {"choice": []}}, "structured_outputs.choice: takes"),
        (
            {"response_format": {"type": "json_object"}, "structured_outputs": {"regex": "a"}},
            "structured_outputs: the form is said by response_format already",
        ),
        ({"response_format": {"type": "json_object"}, "min_tokens": 2}, "min_tokens"),
        ({"tool_choice": "required"}, "tool_choice: there are no tools"),
        ({"tool_choice": {"function": {"name": "x"}}, "tools": TOOLS}, "tool_choice: takes none"),
        ({"tool_choice": {"function": {"name": []}}, "tools": TOOLS}, "tool_choice: takes none"),
    ],
)
async def test_forms_that_cannot_be_are_refused(
    client: Any, asked: dict[str, Any], message: str
) -> None:
    body = {"model": "tiny", "messages": CHAT, **asked}
    with pytest.raises(openai.BadRequestError, match=message):
        await client.post("/chat/completions", body=body, cast_to=object)


async def test_without_the_package_a_form_is_refused(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(openai.BadRequestError, match="needs the Python package llguidance"):
        await said(client, response_format={"type": "json_object"})
    assert (await said(client, max_tokens=1)).finish_reason == "length"

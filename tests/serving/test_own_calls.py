"""Calls of tools that a model makes of its own accord; asked with the client of OpenAI.

What the tiny model says is given to it word for word, as it would not come to it by itself.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.serving.language_models import CHAT_TEMPLATE, asking, gpt2, loaded
from tests.serving.test_openai import CHAT

from kubeling.serving.server.generation.own_calls import STYLES, style_of

TOOLS = [{"type": "function", "function": {"name": "forecast"}}, {"function": {"name": "stop"}}]
ROME = '{"name": "forecast", "arguments": {"city": "Rome"}}'
STOP = '{"name": "stop", "arguments": {}}'
HERMES = f"Let me see.\n<tool_call>\n{ROME}\n</tool_call>\n<tool_call>{STOP}</tool_call>"
LLAMA = '{"name": "forecast", "parameters": {"city": "Rome"}}; {"name": "stop", "parameters": {}}'
BOTH = [("forecast", {"city": "Rome"}), ("stop", {})]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("gpt2")
    gpt2(found, context=512, template=CHAT_TEMPLATE + "{# a call is in <tool_call> #}")
    return found


async def said(client: Any, text: str, **asked: Any) -> Any:
    asked = {"tools": TOOLS, "extra_body": {"structured_outputs": {"choice": [text]}}, **asked}
    found = await client.chat.completions.create(model="tiny", messages=CHAT, **asked)
    return found.choices[0]


def calls(message: Any) -> list[tuple[str, Any]]:
    found = message.tool_calls or ()
    return [(call.function.name, json.loads(call.function.arguments)) for call in found]


async def test_calls_are_told_apart_from_the_text_before_them(client: Any) -> None:
    found = await said(client, HERMES)
    assert (found.message.content, calls(found.message)) == ("Let me see.\n", BOTH)
    assert found.finish_reason == "tool_calls"
    assert len({call.id for call in found.message.tool_calls}) == 2
    one = await said(client, HERMES, parallel_tool_calls=False)
    assert calls(one.message) == BOTH[:1]


async def test_calls_of_a_stream_are_those_of_the_whole_text(client: Any) -> None:
    forced = {"structured_outputs": {"choice": [HERMES]}}
    async with client.chat.completions.stream(
        model="tiny", messages=CHAT, tools=TOOLS[:1], extra_body=forced
    ) as stream:
        seen = [event.delta async for event in stream if event.type == "content.delta"]
        found = (await stream.get_final_completion()).choices[0]
    assert "".join(seen) == found.message.content == "Let me see.\n"
    assert len(seen) > 1
    assert (calls(found.message), found.finish_reason) == (BOTH, "tool_calls")


@pytest.mark.parametrize(
    "asked", [{"tool_choice": "none"}, {"tools": None}, {"max_tokens": len(HERMES) - 20}]
)
async def test_a_text_that_is_no_call_or_not_a_whole_one_is_a_text(
    client: Any, asked: dict[str, Any]
) -> None:
    found = await said(client, HERMES, **asked)
    assert found.message.tool_calls is None
    assert found.message.content == HERMES[: asked.get("max_tokens")]
    assert found.finish_reason == ("length" if "max_tokens" in asked else "stop")


async def test_a_flag_stands_before_the_template(folder: Path) -> None:
    model = loaded(folder)
    model.generator.calls = style_of("llama3_json", "<tool_call>")
    async with asking(model) as client:
        found = await said(client, LLAMA)
        assert (found.message.content, calls(found.message)) == (None, BOTH)
        answer = await said(client, '{"city": "Rome"}')
        assert (answer.message.content, answer.message.tool_calls) == ('{"city": "Rome"}', None)


def test_a_template_tells_how_calls_are_written() -> None:
    llama = 'Respond in the format {"name": function name, "parameters": dictionary}.'
    assert style_of(None, llama) is STYLES["llama3_json"]
    assert style_of(None, {"default": "…", "tool_use": "<tool_call>"}) is STYLES["hermes"]
    assert style_of(None, CHAT_TEMPLATE) is style_of(None, None) is style_of("other", llama) is None


@given(
    st.sampled_from(sorted(STYLES)),
    st.lists(st.sampled_from([*"<>_tolcal/{ x", "<tool_", "call>", "<|python_tag|>"])).map("".join),
)
def test_what_was_told_of_a_growing_text_is_never_taken_back(name: str, text: str) -> None:
    told = [STYLES[name].before(text[:end]) for end in range(len(text) + 1)]
    for before, after in itertools.pairwise(told):
        assert after.startswith(before)
    assert all(text.startswith(one) for one in told)

"""The form that a request of OpenAI's API gives its texts, and calls of tools among them.

``response_format`` is OpenAI's, ``structured_outputs`` vLLM's. A call that is forced is a text of a
form, too: the arguments of the function that is named, or with ``required`` a list of calls, as
vLLM has it. What a model calls of its own accord is :mod:`.own_calls`'.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from kubeling.serving.server.errors import InvalidInput
from kubeling.serving.server.generation.generator import Generator
from kubeling.serving.server.generation.guides import Guide
from kubeling.serving.server.generation.own_calls import called
from kubeling.serving.server.openai.answers import ToolCall
from kubeling.serving.server.openai.requests import ChatCompletionRequest, GenerationRequest

__all__ = ["calls_of", "forced", "guide_of"]

_ANY: Final[Mapping[str, Any]] = {"type": "object"}
_DEFINITIONS: Final = ("$defs", "definitions")


async def guide_of(generator: Generator, request: GenerationRequest) -> Callable[[], Guide] | None:
    """What keeps the texts of a request to their form; raises :class:`~..errors.InvalidInput`."""
    found = [form for form in _forms(request) if form is not None]
    if not found:
        return None
    if len(found) > 1:
        raise InvalidInput(f"{found[1][0]}: the form is said by {found[0][0]} already")
    if request.min_tokens:
        raise InvalidInput("min_tokens: a text of a given form ends where it is complete")
    return await generator.guide(*found[0])


def forced(request: ChatCompletionRequest) -> str | None:
    """The function that must be called; empty if it is any, ``None`` if none must."""
    choice = request.tool_choice
    if choice in (None, "none", "auto"):
        return None
    names = _tools(request)
    if choice == "required":
        return ""
    named = choice.get("function") if isinstance(choice, dict) else None
    name = named.get("name") if isinstance(named, dict) else None
    if not isinstance(name, str) or name not in names:
        raise InvalidInput(f"tool_choice: takes none, auto, required or one of tools, not {choice}")
    return name


def calls_of(name: str, text: str) -> list[ToolCall]:
    """The calls of a text that was forced; one that broke off is told as it is."""
    if name:
        return [called(name, text)]
    try:
        found = msgspec.json.decode(text, type=list[_Call])
    except msgspec.DecodeError:
        return []
    return [called(one.name, bytes(one.parameters).decode()) for one in found]


class _Call(msgspec.Struct):
    """A call as the model writes it where any may be made."""

    name: str
    parameters: msgspec.Raw


def _forms(request: GenerationRequest) -> list[tuple[str, Mapping[str, Any]] | None]:
    given = request.structured_outputs
    return [
        _of_format(request.response_format),
        None if given is None else ("structured_outputs", msgspec.structs.asdict(given)),
        _of_tools(request) if isinstance(request, ChatCompletionRequest) else None,
    ]


def _of_format(given: Mapping[str, Any] | None) -> tuple[str, Mapping[str, Any]] | None:
    kind = (given or {}).get("type", "text")
    if given is None or kind == "text":
        return None
    if kind == "json_object":
        return "response_format", {"json": _ANY}
    if kind == "json_schema":
        named = given.get("json_schema")
        schema = named.get("schema") if isinstance(named, dict) else None
        if not isinstance(schema, dict):
            raise InvalidInput("response_format.json_schema.schema: is missing")
        return "response_format", {"json": schema}
    raise InvalidInput(
        f'response_format: "{kind}" is not supported; text, json_object and json_schema are'
    )


def _of_tools(request: ChatCompletionRequest) -> tuple[str, Mapping[str, Any]] | None:
    name = forced(request)
    if name is None:
        return None
    tools = _tools(request)
    if name:
        return "tools", {"json": tools[name]}
    calls = [
        {
            "type": "object",
            "properties": {"name": {"const": title}, "parameters": schema},
            "required": ["name", "parameters"],
            "additionalProperties": False,
        }
        for title, schema in tools.items()
    ]
    several: dict[str, Any] = {"type": "array", "minItems": 1, "items": {"anyOf": calls}}
    if request.parallel_tool_calls is False:
        several["maxItems"] = 1
    return "tools", {"json": several | _shared(tools)}


def _shared(tools: Mapping[str, Any]) -> dict[str, Any]:
    """What the schemas define for themselves, at the root of one schema, where they look for it."""
    found: dict[str, dict[str, Any]] = {}
    for title, schema in tools.items():
        for key in _DEFINITIONS:
            given = schema.get(key) if isinstance(schema, dict) else None
            for name, one in given.items() if isinstance(given, dict) else ():
                if found.setdefault(key, {}).setdefault(name, one) != one:
                    raise InvalidInput(
                        f"tools: {title} and another one have different {key}.{name}; rename one"
                    )
    return found


def _tools(request: ChatCompletionRequest) -> dict[str, Mapping[str, Any]]:
    """The schema of each function's arguments."""
    found = {}
    for index, tool in enumerate(request.tools or ()):
        function = tool.get("function")
        name = function.get("name") if isinstance(function, dict) else None
        if not isinstance(function, dict) or not isinstance(name, str) or not name:
            raise InvalidInput(f"tools[{index}].function.name: is missing")
        found[name] = function.get("parameters") or _ANY
    if not found:
        raise InvalidInput("tool_choice: there are no tools")
    return found

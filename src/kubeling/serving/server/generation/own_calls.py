"""Calls of tools that a model makes of its own accord, in the writing of its family.

A chat template tells its model how a call is written, so the template tells how one is read, too;
a flag (vLLM's ``--tool-call-parser``) stands before that. As in vLLM, a text whose calls cannot be
read stays a text. Source: vLLM's tool parsers ``hermes`` and ``llama3_json``.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from typing import Any, Final, Protocol

import msgspec

from kubeling.serving.server.openai.answers import FunctionCall, ToolCall, new_id

__all__ = ["STYLES", "CallStyle", "called", "style_of"]

log = logging.getLogger(__name__)

_BEGIN: Final = "<tool_call>"
_END: Final = "</tool_call>"
_TAG: Final = "<|python_tag|>"
_TAUGHT: Final = '{"name": function name, "parameters": '
"""What Llama's templates say to their models."""


class CallStyle(Protocol):
    """How a family of models writes calls."""

    def before(self, text: str) -> str:
        """What of a text is surely no call, whatever follows it."""

    def calls(self, text: str) -> list[ToolCall]:
        """The calls of a whole text; none if they cannot be read."""


class Hermes:
    """``<tool_call>{"name": …, "arguments": {…}}</tool_call>``, after a text or without one.

    Hermes, Qwen and those that were taught likewise.
    """

    def before(self, text: str) -> str:
        place = text.find(_BEGIN)
        if place >= 0:
            return text[:place]
        begun = next((n for n in range(len(_BEGIN) - 1, 0, -1) if text.endswith(_BEGIN[:n])), 0)
        return text[: len(text) - begun]

    def calls(self, text: str) -> list[ToolCall]:
        pieces = text.split(_BEGIN)[1:]
        return _read(piece.split(_END)[0] for piece in pieces)


class Llama:
    """``{"name": …, "parameters": {…}}`` and nothing else; several with ``;`` between them.

    Llama 3.
    """

    def before(self, text: str) -> str:
        begins = text.lstrip()[:1] in ("", "{") or _TAG.startswith(text[: len(_TAG)])
        return "" if begins else text

    def calls(self, text: str) -> list[ToolCall]:
        return _read(_objects(text.removeprefix(_TAG).strip())) if self.before(text) == "" else []


STYLES: Final[Mapping[str, CallStyle]] = {"hermes": Hermes(), "llama3_json": Llama()}
"""By the names of vLLM's parsers."""


def style_of(name: str | None, template: object) -> CallStyle | None:
    """The style of a name, else of a tokenizer's chat template; none if neither tells."""
    if name:
        if name not in STYLES:
            log.warning("--tool_call_parser=%s is not known; known: %s", name, ", ".join(STYLES))
        return STYLES.get(name)
    text = str(template)
    if _BEGIN in text:
        return STYLES["hermes"]
    return STYLES["llama3_json"] if _TAUGHT in text else None


def called(name: str, arguments: str) -> ToolCall:
    """A call, as OpenAI's API tells it."""
    function = FunctionCall(name=name, arguments=arguments)
    return ToolCall(id=new_id("chatcmpl-tool"), type="function", function=function)


class _Call(msgspec.Struct):
    name: str
    arguments: dict[str, Any] | None = None
    parameters: dict[str, Any] | None = None


def _read(texts: Iterator[str]) -> list[ToolCall]:
    try:
        found = [msgspec.json.decode(text.strip(), type=_Call) for text in texts]
    except (msgspec.DecodeError, ValueError, RecursionError):
        return []
    return [called(c.name, _encoded(c.arguments or c.parameters or {})) for c in found]


def _encoded(arguments: Mapping[str, Any]) -> str:
    return json.dumps(arguments, ensure_ascii=False)


def _objects(text: str) -> Iterator[str]:
    """The JSON values of a text, one after the other; raises :class:`ValueError`."""
    decoder, place = json.JSONDecoder(), 0
    while place < len(text):
        _, end = decoder.raw_decode(text, place)
        yield text[place:end]
        rest = text[end:].lstrip("; \n")
        place = len(text) - len(rest)

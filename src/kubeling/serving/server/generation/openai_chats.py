"""The chat-completion page of OpenAI's API by a generator and its tokenizer's template."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from typing import Any, Final, NamedTuple

from kubeling.serving.server.errors import InvalidInput
from kubeling.serving.server.generation.forms import calls_of, forced, guide_of
from kubeling.serving.server.generation.generator import Generator
from kubeling.serving.server.generation.growing import Piece
from kubeling.serving.server.generation.openai_events import events
from kubeling.serving.server.generation.own_calls import CallStyle
from kubeling.serving.server.generation.texts import (
    FINISH,
    Texts,
    grown,
    started,
)
from kubeling.serving.server.openai.answers import (
    ChatCompletion,
    ChatCompletionChoice,
    ChatCompletionChunk,
    ChatCompletionLogProb,
    ChatCompletionLogProbs,
    ChatCompletionLogProbsContent,
    ChatMessage,
    ChoiceDelta,
    ChunkChoice,
    ToolCall,
    UsageInfo,
    new_id,
)
from kubeling.serving.server.openai.requests import ChatCompletionRequest

__all__ = ["create_chat_completion", "prompt_of"]

_ROLE: Final = "assistant"
_OURS: Final = frozenset(
    {
        *("chat_template", "conversation", "tokenize", "tokenizer_kwargs", "return_dict"),
        *("return_tensors", "return_assistant_tokens_mask", "padding", "truncation", "max_length"),
    }
)
"""What transformers takes beside the variables of a template."""


async def create_chat_completion(
    generator: Generator, request: ChatCompletionRequest
) -> ChatCompletion | AsyncGenerator[str, None]:
    """Answers a request; raises :class:`~..errors.ServingError` before anything is made."""
    _refuse(request)
    tool, guide = forced(request), await guide_of(generator, request)
    reader = _Reader(tool, _own_calls(generator, request), request.parallel_tool_calls is False)
    prompt = await prompt_of(generator, request)
    tokens = await generator.tokens(prompt, request.add_special_tokens)
    wanted = request.max_completion_tokens or request.max_tokens
    logprobs = (request.top_logprobs or 0) if request.logprobs else None
    texts = started(generator, request, [tokens], wanted, logprobs, guide=guide)
    if request.stream:
        return _streamed(generator, request, texts, reader)
    choices = []
    for index, one in enumerate(await grown(generator, texts)):
        message = reader.message(one.text)
        choices.append(
            ChatCompletionChoice(
                index=index,
                message=message,
                logprobs=_logprobs(generator, request, one.pieces),
                finish_reason=reader.finish(one.finish, bool(message.tool_calls)),
            )
        )
    return ChatCompletion(model=request.model, choices=choices, usage=texts.usage)


async def prompt_of(generator: Generator, request: ChatCompletionRequest) -> str:
    """The conversation as the tokenizer's template writes it."""
    if not request.messages:
        raise InvalidInput("messages: there is none")
    conversation = [_message(i, message) for i, message in enumerate(request.messages)]
    if generator.tokenizer.chat_template is None:
        raise InvalidInput(
            "messages: the tokenizer has no chat template, so this model takes no conversations; "
            "ask for a completion, or save a chat_template with the tokenizer"
        )

    def write() -> str:
        return str(
            generator.tokenizer.apply_chat_template(
                conversation,
                tokenize=False,
                tools=request.tools,
                documents=request.documents,
                add_generation_prompt=request.add_generation_prompt,
                continue_final_message=request.continue_final_message,
                **(request.chat_template_kwargs or {}),
            )
        )

    try:
        return await generator.locked(write)
    except Exception as error:
        # A template is a program of the model's maker, and says what it wants by raising.
        raise InvalidInput(f"messages: the chat template refuses them: {error}") from error


def _own_calls(generator: Generator, request: ChatCompletionRequest) -> CallStyle | None:
    """How calls would be written that the model may make, and need not."""
    may = request.tools and request.tool_choice in (None, "auto")
    return generator.calls if may else None


class _Reader(NamedTuple):
    """Tells the calls of a text from what else it says."""

    forced: str | None
    """The tool; empty if it is any."""
    own: CallStyle | None
    only_one: bool

    def calls(self, text: str) -> list[ToolCall]:
        """The calls of a whole text; none where they broke off."""
        if self.forced is not None:
            return calls_of(self.forced, text)
        found = self.own.calls(text) if self.own is not None else []
        return found[:1] if self.only_one else found

    def before(self, text: str) -> str:
        """What of a text is surely no call."""
        if self.forced is not None:
            return ""
        return text if self.own is None else self.own.before(text)

    def message(self, text: str) -> ChatMessage:
        if calls := self.calls(text):
            return ChatMessage(role=_ROLE, content=self.before(text) or None, tool_calls=calls)
        return ChatMessage(role=_ROLE, content=text)

    def finish(self, reason: str | None, called: bool) -> str | None:
        """Why a message ends; as OpenAI's API, a call says so unless it was named."""
        chosen = self.forced == "" or (self.forced is None and called)
        return "tool_calls" if reason == "stop" and chosen else reason


def _refuse(request: ChatCompletionRequest) -> None:
    taken = _OURS & (request.chat_template_kwargs or {}).keys()
    if request.chat_template is not None or "chat_template" in taken:
        raise InvalidInput("chat_template: is not taken from requests; the tokenizer's is used")
    if taken:
        raise InvalidInput(f"chat_template_kwargs: {sorted(taken)[0]} is no variable of a template")
    if request.top_logprobs and not request.logprobs:
        raise InvalidInput("top_logprobs: needs logprobs to be true")
    if request.add_generation_prompt and request.continue_final_message:
        raise InvalidInput("continue_final_message: needs add_generation_prompt to be false")


def _message(index: int, given: dict[str, Any]) -> dict[str, Any]:
    """A message as templates know it: its text in one piece, arguments of calls as objects."""
    path = f"messages[{index}]"
    if not isinstance(given.get("role"), str):
        raise InvalidInput(f"{path}.role: is missing")
    message = dict(given)
    content = message.get("content")
    if isinstance(content, list):
        message["content"] = "\n".join(_part(path, i, part) for i, part in enumerate(content))
    elif content is None:
        message["content"] = ""
    elif not isinstance(content, str):
        raise InvalidInput(f"{path}.content: takes a text, or a list of parts")
    if calls := message.get("tool_calls"):
        if not isinstance(calls, list):
            raise InvalidInput(f"{path}.tool_calls: takes a list of calls")
        message["tool_calls"] = [_call(path, call) for call in calls]
    return message


def _call(path: str, given: Any) -> Any:
    function = given.get("function") if isinstance(given, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("arguments"), str):
        return given
    try:
        arguments = json.loads(function["arguments"] or "{}")
    except (ValueError, RecursionError):
        raise InvalidInput(f"{path}.tool_calls: arguments are not JSON") from None
    return {**given, "function": {**function, "arguments": arguments}}


def _part(path: str, index: int, part: Any) -> str:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind != "text" or not isinstance(part.get("text"), str):
        raise InvalidInput(
            f'{path}.content[{index}]: only parts of type "text" are supported, not "{kind}"'
        )
    return str(part["text"])


def _streamed(
    generator: Generator, request: ChatCompletionRequest, texts: Texts, reader: _Reader
) -> AsyncGenerator[str, None]:
    identity = new_id("chatcmpl")
    telling = [_Telling(reader) for _ in texts.prompts]

    def grew(pieces: Sequence[Piece]) -> ChunkChoice:
        last = pieces[-1]
        delta = telling[last.index].delta(last)
        reason = FINISH[last.finish] if last.finish else None
        return ChunkChoice(
            index=last.index,
            delta=delta,
            logprobs=_logprobs(generator, request, pieces),
            finish_reason=reader.finish(reason, bool(delta.tool_calls)),
        )

    def chunk(choices: list[ChunkChoice], usage: UsageInfo | None) -> ChatCompletionChunk:
        return ChatCompletionChunk(id=identity, model=request.model, choices=choices, usage=usage)

    begin = (
        ChunkChoice(index=index, delta=ChoiceDelta(role=_ROLE, content=""))
        for index in range(len(texts.prompts))
    )
    return events(generator, request, texts, begin, grew, chunk)


class _Telling:
    """A message as it grows: text, the arguments of one call, or calls once they are whole."""

    def __init__(self, reader: _Reader) -> None:
        self._reader = reader
        self._text = ""
        self._told = 0

    def delta(self, piece: Piece) -> ChoiceDelta:
        """What the message grew by."""
        first = not self._text
        self._text += piece.text
        if self._reader.forced:
            call = self._reader.calls(piece.text)[0]
            call.index = 0
            if not first:
                call.id = call.type = call.function.name = None
            return ChoiceDelta(tool_calls=[call])
        calls = self._reader.calls(self._text) if piece.finish else []
        for index, call in enumerate(calls):
            call.index = index
        whole = piece.finish and not calls
        said = self._text if whole else self._reader.before(self._text)
        new, self._told = said[self._told :], len(said)
        return ChoiceDelta(content=new or None, tool_calls=calls or None)


def _logprobs(
    generator: Generator, request: ChatCompletionRequest, pieces: Sequence[Piece]
) -> ChatCompletionLogProbs | None:
    if not request.logprobs:
        return None

    def shown(token: int, logprob: float | None) -> dict[str, Any]:
        text = generator.text_of(token)
        return {"token": text, "logprob": logprob or 0.0, "bytes": list(text.encode())}

    return ChatCompletionLogProbs(
        content=[
            ChatCompletionLogProbsContent(
                **shown(piece.chosen.token, piece.chosen.logprob),
                top_logprobs=[
                    ChatCompletionLogProb(**shown(token, logprob))
                    for token, logprob in piece.chosen.likeliest
                ],
            )
            for piece in pieces
        ]
    )

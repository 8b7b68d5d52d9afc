"""Models of one's own with OpenAI's pages, written for ``kserve``."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.serving.model_server import serving

from kubeling.serving.kserve.protocol.rest.openai import (
    ChatCompletionRequest,
    ChatPrompt,
    CompletionRequest,
    OpenAIChatAdapterModel,
    OpenAIEncoderModel,
    OpenAIGenerativeModel,
)
from kubeling.serving.kserve.protocol.rest.openai.errors import OpenAIError, create_error_response
from kubeling.serving.kserve.protocol.rest.openai.openai_model import AsyncMappingIterator
from kubeling.serving.kserve.protocol.rest.openai.types import (
    ChatCompletion,
    Completion,
    CompletionChoice,
    CompletionChunk,
    CompletionChunkChoice,
    CompletionLogProbs,
    Embedding,
    EmbeddingRequest,
    EmbeddingResponseData,
    ErrorResponse,
    UsageInfo,
)
from kubeling.serving.requestlog.folder import read_folder
from kubeling.serving.requestlog.opening import open_log
from kubeling.serving.requestlog.record import Counts, LogSettings


class Parrot(OpenAIChatAdapterModel):
    """Says every word of the prompt again, in capitals."""

    async def create_completion(
        self, request: CompletionRequest, raw_request: Any = None, context: Any = None
    ) -> AsyncGenerator[str, None] | Completion | ErrorResponse:
        words = str(request.prompt).upper().split()
        if "NO" in words:
            return create_error_response("not that", status_code=HTTPStatus.FORBIDDEN)
        if "BAD" in words:
            raise OpenAIError("cannot say it")
        if context is not None:
            context["response"].headers["x-words"] = str(len(words))
        if not request.stream:
            choice = CompletionChoice(index=0, text=" ".join(words), finish_reason="stop")
            usage = UsageInfo(completion_tokens=len(words), total_tokens=len(words))
            return Completion(id="1", created=7, model=request.model, choices=[choice], usage=usage)

        async def stream() -> AsyncGenerator[str, None]:
            for word in words:
                if word == "BREAK":
                    raise ValueError("broke")
                piece = CompletionChunkChoice(index=0, text=f"{word} ")
                chunk = CompletionChunk(id="1", created=7, model=request.model, choices=[piece])
                yield f"data: {chunk.model_dump_json()}\n\n"
            yield "data: [DONE]\n\n"

        return stream()

    def apply_chat_template(self, request: ChatCompletionRequest) -> ChatPrompt:
        return ChatPrompt(prompt=" ".join(m["content"] for m in request.messages))


async def posted(
    client: aiohttp.ClientSession, page: str, **body: Any
) -> tuple[int, Any, dict[str, str]]:
    async with client.post(f"/openai/v1/{page}", json=body) as answer:
        text = await answer.text()
        streamed = answer.content_type == "text/event-stream"
        return answer.status, text if streamed else json.loads(text), dict(answer.headers)


async def test_a_completion_and_a_chat_made_of_it() -> None:
    async with serving(Parrot("parrot")) as client:
        status, found, headers = await posted(
            client, "completions", model="parrot", prompt="so be it"
        )
        assert (status, headers["x-words"]) == (200, "3")
        assert found["choices"][0]["text"] == "SO BE IT"
        messages = [{"role": "user", "content": "so be it"}]
        status, found, _ = await posted(
            client, "chat/completions", model="parrot", messages=messages
        )
        assert found["object"] == "chat.completion"
        assert found["choices"][0]["message"] == {"role": "assistant", "content": "SO BE IT"}
        assert found["usage"]["completion_tokens"] == 3
        status, events, _ = await posted(
            client, "chat/completions", model="parrot", messages=messages, stream=True
        )
        lines = [line.removeprefix("data: ") for line in events.split("\n\n") if line]
        assert lines.pop() == "[DONE]"
        chunks = [json.loads(line) for line in lines]
        assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
        assert [c["choices"][0]["delta"]["content"] for c in chunks] == ["SO ", "BE ", "IT "]


@pytest.mark.parametrize(
    ("page", "body", "status", "message", "kind"),
    [
        ("completions", {"prompt": "no"}, 403, "not that", "BadRequestError"),
        ("completions", {"prompt": "bad"}, 500, "cannot say it", "OpenAIError"),
        (
            "chat/completions",
            {"messages": [], "n": 2},
            400,
            "n != 1 is not supported",
            "BadRequestError",
        ),
        (
            "embeddings",
            {"input": "x"},
            400,
            "Model parrot does not support Embeddings API",
            "BadRequestError",
        ),
        ("completions", {"prompt": {}}, 400, "prompt: Expected", "BadRequestError"),
        ("nothing", {}, 404, "there is nothing at /openai/v1/nothing", "NotFoundError"),
    ],
)
async def test_errors_have_openais_form(
    page: str, body: dict[str, Any], status: int, message: str, kind: str
) -> None:
    async with serving(Parrot("parrot")) as client:
        found = await posted(client, page, model="parrot", **body)
    assert (found[0], found[1]["error"]["type"]) == (status, kind)
    assert message in found[1]["error"]["message"]
    assert found[1]["error"]["code"] == str(status)


async def test_a_stream_that_breaks_off_says_why_before_it_ends() -> None:
    async with serving(Parrot("parrot")) as client:
        _, events, _ = await posted(
            client, "completions", model="parrot", prompt="a break", stream=True
        )
    first, error, done = [line.removeprefix("data: ") for line in events.split("\n\n") if line]
    assert json.loads(first)["choices"][0]["text"] == "A "
    assert json.loads(error)["error"]["message"] == "ValueError: broke"
    assert done == "[DONE]"


async def test_wrong_methods_and_bodies_are_refused() -> None:
    async with serving(Parrot("parrot")) as client:
        async with client.get("/openai/v1/completions") as answer:
            assert (answer.status, answer.headers["allow"]) == (405, "POST")
        async with client.post("/openai/v1/models") as answer:
            assert (answer.status, answer.headers["allow"]) == (405, "GET")
        async with client.post("/openai/v1/completions", data=b"{") as answer:
            assert answer.status == 400
            assert "not valid JSON" in (await answer.json())["error"]["message"]


async def test_a_model_that_is_not_ready_or_does_nothing() -> None:
    class Silent(OpenAIGenerativeModel):
        """Has no method of its own."""

    silent, resting = Silent("silent"), Parrot("resting")
    resting.ready = False
    async with serving(silent, resting) as client:
        found = await posted(client, "completions", model="silent", prompt="x")
        assert found[0] == 501
        found = await posted(client, "completions", model="resting", prompt="x")
        assert (found[0], found[1]["error"]["type"]) == (503, "ServiceUnavailableError")


async def test_an_encoder_of_ones_own() -> None:
    class Lengths(OpenAIEncoderModel):
        """A text's only dimension is its length."""

        async def create_embedding(
            self, request: EmbeddingRequest, raw_request: Any = None, context: Any = None
        ) -> Embedding:
            assert isinstance(request.input, list)
            data = [
                EmbeddingResponseData(index=i, embedding=[float(len(text))])
                for i, text in enumerate(request.input)
            ]
            return Embedding(data=data, model=request.model, usage=UsageInfo())

    async with serving(Lengths("lengths")) as client:
        found = await posted(client, "embeddings", model="lengths", input=["a", "bcd"])
        assert [entry["embedding"] for entry in found[1]["data"]] == [[1.0], [3.0]]
        found = await posted(client, "rerank", model="lengths", query="a", documents=["b"])
        assert found[0] == 501


async def test_requests_are_recorded(tmp_path: Path) -> None:
    async with (
        open_log(LogSettings(str(tmp_path)), Counts()) as log,
        serving(Parrot("parrot"), request_log=log) as client,
    ):
        await posted(client, "completions", model="parrot", prompt="so")
        await posted(client, "completions", model="parrot", prompt="so", stream=True)
    records = [json.loads(line) for line in b"".join(read_folder(tmp_path)).splitlines()]
    assert [record["request"]["prompt"] for record in records] == ["so", "so"]
    assert records[0]["response"]["choices"][0]["text"] == "SO"


def test_objects_have_the_methods_that_models_call() -> None:
    choice = CompletionChoice(
        index=0,
        text="ab",
        logprobs=CompletionLogProbs(
            tokens=["a", "b"],
            token_logprobs=[-1.0, -2.0],
            top_logprobs=[{"a": -1.0}, {"b": -2.0}],
            text_offset=[0, 1],
        ),
    )
    completion = Completion(id="x", created=1, model="m", choices=[choice])
    assert Completion.model_validate_json(completion.model_dump_json()) == completion
    assert Completion.model_validate(completion.model_dump()) == completion
    assert "usage" not in completion.model_dump(exclude_none=True)
    assert completion.model_copy(update={"model": "n"}).model == "n"
    chat = Parrot.completion_to_chat_completion(completion, "assistant")
    assert isinstance(chat, ChatCompletion)
    assert chat.choices[0].logprobs is not None
    content = chat.choices[0].logprobs.content or []
    assert [entry.token for entry in content] == ["a", "b"]
    assert content[0].bytes == [97]
    with pytest.raises(ValueError, match="missing required field"):
        Completion.model_validate({"id": "x"})


async def test_the_mapping_iterator_passes_over_nothing_and_closes() -> None:
    closed = []

    async def numbers() -> AsyncGenerator[int, None]:
        for number in range(4):
            yield number

    found = AsyncMappingIterator(
        numbers(), lambda n: n if n % 2 else None, close=lambda: closed.append(True)
    )
    assert [number async for number in found] == [1, 3]
    assert closed == [True]

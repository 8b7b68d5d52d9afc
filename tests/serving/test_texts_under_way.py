"""Requests for texts that wait, leave or fail, and what that does to the others."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.serving.language_models import asking, gpt2, loaded
from tests.serving.model_server import serving, serving_repository

from kubeling.serving.requestlog.folder import read_folder
from kubeling.serving.requestlog.opening import open_log
from kubeling.serving.requestlog.record import Counts, LogSettings
from kubeling.serving.server.errors import ModelNotReady, Overloaded
from kubeling.serving.server.formats import create_model
from kubeling.serving.server.generation.growing import Vocabulary
from kubeling.serving.server.generation.limits import Limits
from kubeling.serving.server.generation.sampling import Sampling
from kubeling.serving.server.repository import FolderRepository

openai = pytest.importorskip("openai")

PROMPT = "Once upon a time"


async def until(holds: Callable[[], bool]) -> None:
    """Returns once it is so."""
    async with asyncio.timeout(60):
        while True:
            if holds():
                return
            await asyncio.sleep(0.001)


async def test_more_than_may_wait_is_refused_and_others_are_answered(tmp_path: Path) -> None:
    gpt2(tmp_path)
    model = loaded(tmp_path)
    model.generator.engine._limits = Limits(growing=1, waiting=2)
    asked = {"model": "tiny", "prompt": PROMPT, "extra_body": {"ignore_eos": True}}
    async with asking(model) as client:
        stream = await client.completions.create(**asked, max_tokens=200, stream=True)
        await anext(aiter(stream))
        waiting = [asyncio.create_task(client.completions.create(**asked)) for _ in range(2)]
        await until(lambda: model.generator.engine.waiting == 2)
        with pytest.raises(openai.RateLimitError, match="1 texts are being made and 2 wait"):
            await client.completions.create(**asked)
        # The reader takes no more, so its text stops; when it leaves, the others' turn comes.
        await stream.close()
        assert [found.usage.completion_tokens for found in await asyncio.gather(*waiting)] == [
            16
        ] * 2


async def test_who_goes_away_while_waiting_makes_room(folder: Path) -> None:
    engine = (model := loaded(folder)).generator.engine
    engine._limits = Limits(growing=1, waiting=1)
    sampling = Sampling(200, ignore_eos=True)
    first = engine.grow([[1]], [sampling])
    second = engine.grow([[1]], [sampling])
    with pytest.raises(Overloaded):
        engine.grow([[1]], [sampling])
    await second.aclose()
    third = engine.grow([[1]], [sampling])
    await first.aclose()
    assert (await anext(third)).chosen.token
    model.stop()


async def test_prompts_that_are_too_many_are_refused_before_they_are_read(folder: Path) -> None:
    model = loaded(folder)
    read: list[str] = []
    tokenizer = model.generator.tokenizer

    def reading(text: str, **options: Any) -> Any:
        read.append(text)
        return tokenizer(text, **options)

    model.generator.tokenizer = reading
    async with asking(model) as client:
        with pytest.raises(openai.BadRequestError, match="at most 80 texts here, not 81"):
            await client.completions.create(model="tiny", prompt=[PROMPT] * 81)
    assert read == []


async def test_a_panic_of_the_tokenizer_is_an_answer(folder: Path) -> None:
    class Panic(BaseException):
        """As Rust's are in Python."""

    def panicking(*_: Any, **__: Any) -> Any:
        raise Panic("index out of bounds")

    model = loaded(folder)
    model.generator.tokenizer = panicking
    async with asking(model) as client, asyncio.timeout(60):
        with pytest.raises(openai.InternalServerError, match="index out of bounds"):
            await client.completions.create(model="tiny", prompt=PROMPT)


async def test_a_request_that_comes_while_the_model_is_unloaded_is_refused(folder: Path) -> None:
    model = loaded(folder)
    model.stop()
    with pytest.raises(ModelNotReady, match="the model was unloaded"):
        model.generator.grow([[1]], [Sampling(1)])


async def test_a_text_under_way_comes_to_its_end_when_its_model_is_unloaded(folder: Path) -> None:
    """And others are answered meanwhile, however long a step takes."""
    model = loaded(folder)
    begun, unloaded = threading.Event(), threading.Event()
    in_time: list[bool] = []

    def long(*_: Any) -> None:
        begun.set()
        in_time.append(unloaded.wait(30))

    model.generator.engine._decoder._model.lm_head.register_forward_hook(long)
    async with serving(model) as client:
        body = {"model": "tiny", "prompt": PROMPT}
        asked = asyncio.create_task(client.post("/v1/completions", json=body))
        await until(begun.is_set)
        assert (await client.post("/v2/repository/models/tiny/unload")).status == 200
        assert (await client.get("/v2/health/live")).status == 200
        unloaded.set()
        answer = await asked
        assert answer.status == 200
        assert (await answer.json())["usage"]["completion_tokens"] == 16
    assert all(in_time)
    await until(lambda: not model.generator.engine._thread.is_alive())


async def test_a_stream_goes_on_while_its_model_is_loaded_again(tmp_path: Path) -> None:
    gpt2(tmp_path / "tiny", context=512)
    asked = {"model": "tiny", "prompt": PROMPT, "max_tokens": 400}
    asked["extra_body"] = {"ignore_eos": True}
    repository = FolderRepository(
        "tiny", tmp_path / "tiny", lambda name, place: create_model("huggingface", name, place)
    )
    await repository.load_all()
    async with serving_repository(repository) as server:
        url = f"{server._base_url}".rstrip("/") + "/openai/v1"
        async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
            chunks = aiter(await client.completions.create(**asked, stream=True))
            await anext(chunks)
            async with server.post("/v2/repository/models/tiny/load") as answer:
                assert answer.status == 200
            before = [chunk async for chunk in chunks]
            whole = await client.completions.create(**asked)
    assert before[-1].choices[0].finish_reason == "length"
    assert whole.usage.completion_tokens == 400
    repository.model("tiny").stop()


async def test_who_goes_away_ends_the_text(tmp_path: Path) -> None:
    gpt2(tmp_path, context=4096)
    model = loaded(tmp_path)
    body = {"model": "tiny", "prompt": PROMPT, "max_tokens": 4000, "ignore_eos": True}
    async with serving(model) as client:
        for streamed in (True, False):
            asking = asyncio.create_task(
                client.post("/v1/completions", json={**body, "stream": streamed})
            )
            await until(lambda: model.generator.engine.growing == 1)
            if streamed:
                (await asking).close()
            else:
                asking.cancel()
            await until(lambda: model.generator.engine.growing == 0)
    model.stop()
    assert model.generator.made_tokens < 4000


async def test_whole_answers_that_nobody_waited_for_are_counted(tmp_path: Path) -> None:
    gpt2(tmp_path, context=4096)
    model = loaded(tmp_path)
    model.generator.engine._vocabulary = Vocabulary(str, frozenset())
    pages = {
        "/v1/completions": {"model": "tiny", "prompt": PROMPT, "max_tokens": 4000},
        "/v2/models/tiny/generate": {"text_input": PROMPT, "parameters": {"max_tokens": 4000}},
    }
    async with (
        open_log(LogSettings(str(tmp_path / "log")), Counts()) as log,
        serving(model, request_log=log) as client,
    ):
        for page, body in pages.items():
            asking = asyncio.create_task(client.post(page, json=body))
            await until(lambda: model.generator.engine.growing == 1)
            asking.cancel()
            await until(lambda: model.generator.engine.growing == 0)
        text = await (await client.get("/metrics")).text()
    model.stop()
    assert 'kubeling_requests_total{model_name="tiny",code="499"} 2' in text
    records = [json.loads(line) for line in read_folder(tmp_path / "log")]
    assert [record["status"] for record in records] == [499, 499]


async def test_short_texts_do_not_wait_for_long_ones(client: Any) -> None:
    stream = await client.completions.create(
        model="tiny", prompt=PROMPT, max_tokens=200, stream=True, extra_body={"ignore_eos": True}
    )
    chunks = aiter(stream)
    await anext(chunks)
    found = await client.completions.create(model="tiny", prompt=PROMPT, max_tokens=2)
    assert found.usage.completion_tokens == 2
    assert len([chunk async for chunk in chunks]) >= 150


async def test_a_model_that_fails_fails_its_own_request(tmp_path: Path) -> None:
    gpt2(tmp_path)
    model = loaded(tmp_path)
    decoder = model.generator.engine._decoder
    begin = decoder.begin

    def begun(prompt: list[int]) -> Any:
        if len(prompt) == 3:
            raise RuntimeError("out of memory")
        return begin(prompt)

    decoder.begin = begun
    async with asking(model) as client:
        with pytest.raises(openai.APIStatusError, match="out of memory") as refused:
            await client.completions.create(model="tiny", prompt="abc")
        assert refused.value.status_code == 424
        stream = await client.completions.create(model="tiny", prompt="abc", stream=True)
        with pytest.raises(openai.APIError, match="out of memory"):
            await anext(aiter(stream))
        assert (await client.completions.create(model="tiny", prompt="abcd")).choices

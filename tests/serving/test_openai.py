"""OpenAI's pages for language models, asked with OpenAI's own client."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from tests.serving.language_models import END, asking, encoder, gpt2, loaded, t5
from tests.serving.model_server import Doubler, serving

openai = pytest.importorskip("openai")

PROMPT = "Once upon a time"
CHAT = [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hello"}]


async def test_a_completion_is_what_the_model_itself_makes(client: Any, folder: Path) -> None:
    import transformers

    model = transformers.GPT2LMHeadModel.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokens = tokenizer(PROMPT, return_tensors="pt")
    made = model.generate(**tokens, max_new_tokens=16, do_sample=False, pad_token_id=END)
    found = await client.completions.create(model="tiny", prompt=PROMPT, temperature=0)
    assert found.choices[0].text == tokenizer.decode(made[0, len(PROMPT) :])
    assert found.choices[0].finish_reason == "length"
    assert (found.usage.prompt_tokens, found.usage.completion_tokens) == (len(PROMPT), 16)


async def test_only_the_logits_of_the_next_token_are_computed(folder: Path) -> None:
    model = loaded(folder)
    shapes: list[Any] = []
    inner = model.generator.engine._decoder._model
    inner.lm_head.register_forward_hook(lambda _, __, found: shapes.append(found.shape[1]))
    async with asking(model) as client:
        await client.completions.create(model="tiny", prompt=PROMPT, max_tokens=3)
    assert shapes == [1, 1, 1]


async def test_a_stream_is_the_same_text_in_pieces(client: Any) -> None:
    asked = {"model": "tiny", "prompt": PROMPT, "temperature": 0, "max_tokens": 12}
    whole = await client.completions.create(**asked)
    pieces = [
        chunk
        async for chunk in await client.completions.create(
            **asked, stream=True, stream_options={"include_usage": True}
        )
    ]
    assert "".join(c.choices[0].text for c in pieces if c.choices) == whole.choices[0].text
    assert len(pieces) == 13
    assert [c.choices[0].finish_reason for c in pieces[-3:-1]] == [None, "length"]
    assert pieces[-1].choices == []
    assert pieces[-1].usage == whole.usage
    assert len({chunk.id for chunk in pieces}) == 1


async def test_a_chat_goes_through_the_tokenizers_template(client: Any) -> None:
    found = await client.chat.completions.create(
        model="tiny", messages=CHAT, temperature=0, max_completion_tokens=8
    )
    prompt = "system: be kind\nuser: hello\nassistant:"
    same = await client.completions.create(model="tiny", prompt=prompt, temperature=0, max_tokens=8)
    assert found.choices[0].message.content == same.choices[0].text
    assert found.choices[0].message.role == "assistant"
    assert found.usage == same.usage
    parts = [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]
    assert await _said(client, parts) == await _said(client, CHAT[1:])


async def _said(client: Any, messages: list[dict[str, Any]]) -> str:
    found = await client.chat.completions.create(
        model="tiny", messages=messages, temperature=0, max_tokens=8
    )
    return str(found.choices[0].message.content)


async def test_a_chat_in_pieces_adds_up_for_the_clients_own_helper(client: Any) -> None:
    said = await _said(client, CHAT)
    async with client.chat.completions.stream(
        model="tiny", messages=CHAT, temperature=0, max_tokens=8, stop=said[5]
    ) as stream:
        async for _ in stream:
            pass
        found = await stream.get_final_completion()
    assert found.choices[0].message.content == said[: said.index(said[5])]
    assert found.choices[0].message.role == "assistant"
    assert found.choices[0].finish_reason == "stop"


async def test_seeds_make_texts_that_can_be_had_again(client: Any) -> None:
    async def texts(seed: int) -> list[str]:
        found = await client.completions.create(
            model="tiny", prompt=[PROMPT, "Never"], n=2, seed=seed, max_tokens=12
        )
        assert [choice.index for choice in found.choices] == [0, 1, 2, 3]
        assert found.usage.prompt_tokens == len(PROMPT) + len("Never")
        return [choice.text for choice in found.choices]

    first, again, other = await asyncio.gather(texts(1), texts(1), texts(2))
    assert first == again
    assert first != other
    assert len(set(first)) == 4


@pytest.mark.parametrize("asked", [{"temperature": 1e-300}, {"repetition_penalty": 1e-300}])
async def test_numbers_near_nothing_make_texts_too(client: Any, asked: dict[str, Any]) -> None:
    body = {"model": "tiny", "prompt": PROMPT, "max_tokens": 4, **asked}
    found = await client.post("/completions", body=body, cast_to=object)
    assert found["choices"][0]["text"]


async def test_a_stop_sequence_ends_a_text_and_is_not_part_of_it(client: Any) -> None:
    whole = await client.completions.create(model="tiny", prompt=PROMPT, temperature=0)
    text = whole.choices[0].text
    stop = text[5:7]
    for streamed in (False, True):
        found = await client.completions.create(
            model="tiny", prompt=PROMPT, temperature=0, stop=["\x00", stop], stream=streamed
        )
        chunks = [chunk async for chunk in found] if streamed else [found]
        made = "".join(chunk.choices[0].text for chunk in chunks)
        assert made == text[: text.index(stop)]
        assert chunks[-1].choices[0].finish_reason == "stop"


async def test_a_text_ends_where_the_model_ends_it(client: Any) -> None:
    asked = {"model": "tiny", "prompt": PROMPT, "logit_bias": {str(END): 100}}
    found = await client.completions.create(**asked)
    assert (found.choices[0].text, found.choices[0].finish_reason) == ("", "stop")
    found = await client.completions.create(**asked, extra_body={"min_tokens": 3})
    assert len(found.choices[0].text) == 3
    found = await client.completions.create(
        **asked, extra_body={"ignore_eos": True}, temperature=0, max_tokens=4
    )
    assert found.choices[0].finish_reason == "length"


async def test_likelihoods_of_tokens_are_told(client: Any) -> None:
    found = await client.completions.create(model="tiny", prompt=PROMPT, temperature=0, logprobs=2)
    told = found.choices[0].logprobs
    assert "".join(told.tokens) == found.choices[0].text
    assert told.text_offset == list(range(16))
    for token, logprob, best in zip(
        told.tokens, told.token_logprobs, told.top_logprobs, strict=True
    ):
        assert len(best) == 2
        assert max(best.values()) == best[token] == logprob < 0
    chat = await client.chat.completions.create(
        model="tiny", messages=CHAT, logprobs=True, top_logprobs=1, max_tokens=3
    )
    content = chat.choices[0].logprobs.content
    assert "".join(entry.token for entry in content) == chat.choices[0].message.content
    assert all(len(entry.top_logprobs) == 1 for entry in content)


async def test_echo_and_prompts_of_tokens(client: Any) -> None:
    found = await client.completions.create(
        model="tiny", prompt=PROMPT, temperature=0, echo=True, max_tokens=4
    )
    assert found.choices[0].text.startswith(PROMPT)
    tokens = [ord(letter) - 33 for letter in "abc"]
    by_text = await client.completions.create(model="tiny", prompt="abc", temperature=0)
    by_token = await client.completions.create(model="tiny", prompt=tokens, temperature=0)
    assert by_token.choices[0].text == by_text.choices[0].text


async def test_offsets_go_on_from_one_piece_of_a_stream_to_the_next(client: Any) -> None:
    asked = {"model": "tiny", "prompt": PROMPT, "temperature": 0, "logprobs": 1, "n": 2}
    for echo in (False, True):
        whole = await client.completions.create(**asked, echo=echo)
        texts: dict[int, list[Any]] = {0: [], 1: []}
        async for chunk in await client.completions.create(**asked, echo=echo, stream=True):
            texts[chunk.choices[0].index].append(chunk.choices[0])
        for choice in whole.choices:
            pieces = texts[choice.index]
            assert "".join(piece.text for piece in pieces) == choice.text
            tokens = [token for piece in pieces for token in piece.logprobs.tokens]
            offsets = [offset for piece in pieces for offset in piece.logprobs.text_offset]
            likely = [value for piece in pieces for value in piece.logprobs.token_logprobs]
            assert tokens == choice.logprobs.tokens
            assert offsets == choice.logprobs.text_offset
            assert likely == pytest.approx(choice.logprobs.token_logprobs, abs=1e-4)
            assert choice.logprobs.text_offset == list(range(len(choice.text)))


@pytest.mark.parametrize("together", [True, False])
async def test_likelihoods_of_a_prompt_are_those_the_model_finds(
    folder: Path, together: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    import transformers

    if not together:
        alone = "kubeling.serving.server.generation.packing.PackedDecoder"
        monkeypatch.setattr(alone, None)
    prompt = PROMPT * 6
    model = transformers.GPT2LMHeadModel.from_pretrained(folder).eval()
    tokens = transformers.AutoTokenizer.from_pretrained(folder)(prompt, return_tensors="pt")
    with torch.inference_mode():
        likely = model(**tokens).logits[0].log_softmax(-1)
    expected = likely[:-1].gather(1, tokens["input_ids"][0, 1:, None])[:, 0].tolist()
    async with asking(served := loaded(folder)) as client:
        assert served.generator.engine.together == together
        asked = {"model": "tiny", "prompt": prompt, "echo": True, "logprobs": 2}
        found = await client.completions.create(**asked, max_tokens=0)
        more = await client.completions.create(**asked, max_tokens=1)
    told = found.choices[0].logprobs
    assert (found.choices[0].text, "".join(told.tokens)) == (prompt, prompt)
    assert found.usage.completion_tokens == 0
    assert (told.token_logprobs[0], told.top_logprobs[0]) == (None, None)
    assert told.token_logprobs[1:] == pytest.approx(expected, abs=1e-3)
    for token, logprob, best in zip(
        told.tokens[1:], told.token_logprobs[1:], told.top_logprobs[1:], strict=True
    ):
        assert best[token] == logprob
        assert len(best) in (2, 3)
    assert len(more.choices[0].logprobs.tokens) == len(prompt) + 1


@pytest.mark.parametrize(
    ("asked", "status", "message"),
    [
        ({"model": "other"}, 404, "Model with name other does not exist."),
        ({"colour": "red"}, 400, "Unrecognized request argument supplied: colour"),
        ({"temperature": 3}, 400, "temperature: Expected `float` <= 2.0"),
        ({"max_tokens": 1000}, 400, "maximum context length is 256 tokens"),
        ({"prompt": "a" * 300_000}, 400, "you sent 300000 characters"),
        ({"prompt": None}, 400, "prompt is required"),
        ({"prompt": [5000]}, 400, "5000 is no token; tokens are 0 to 96"),
        ({"n": 100}, 400, "a request has at most 80 texts here, not 100"),
        ({"max_tokens": 0}, 400, "max_tokens: is 0, so there would be no text"),
        ({"suffix": "x"}, 400, "suffix: is not supported"),
        ({"best_of": 2}, 400, "best_of: is not supported"),
        ({"stop": [""]}, 400, "stop: a stop sequence has at least a character"),
        ({"logit_bias": {"100": 1}}, 400, "logit_bias: 100 is no token"),
        ({"logit_bias": {"1": 1e38}}, 400, "logit_bias[...]: Expected `float` <= 100.0"),
        ({"stream_options": {"include_usage": True}}, 400, "stream_options: is for streams"),
    ],
)
async def test_what_cannot_be_done_is_refused_in_openais_form(
    client: Any, asked: dict[str, Any], status: int, message: str
) -> None:
    body = {"model": "tiny", "prompt": PROMPT, **asked}
    with pytest.raises(openai.APIStatusError) as refused:
        await client.post("/completions", body=body, cast_to=object)
    assert refused.value.status_code == status
    assert message in refused.value.body["message"]
    assert refused.value.body["code"] == str(status)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"messages": []}, "messages: there is none"),
        ({"messages": [{"content": "x"}]}, r"messages\[0\].role: is missing"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            r'messages\[0\].content\[0\]: only parts of type "text"',
        ),
        ({"top_logprobs": 2}, "top_logprobs: needs logprobs"),
        ({"chat_template": "{{ 1 }}"}, "chat_template: is not taken from requests"),
        (
            {"chat_template_kwargs": {"chat_template": "{{ 1 }}"}},
            "chat_template: is not taken from requests",
        ),
        ({"chat_template_kwargs": {"tokenize": True}}, "tokenize is no variable of a template"),
        (
            {"messages": [{"role": "assistant", "tool_calls": 3}]},
            r"messages\[0\].tool_calls: takes a list",
        ),
    ],
)
async def test_chats_that_cannot_be_had_are_refused(
    client: Any, asked: dict[str, Any], message: str
) -> None:
    body = {"model": "tiny", "messages": CHAT, **asked}
    with pytest.raises(openai.BadRequestError, match=message):
        await client.post("/chat/completions", body=body, cast_to=object)


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ({"role": "user", "more": json.loads("[" * 900 + "]" * 900)}, "recursion depth"),
        (
            {
                "role": "assistant",
                "tool_calls": [{"function": {"name": "f", "arguments": "[" * 100_000}}],
            },
            "arguments are not JSON",
        ),
    ],
)
async def test_what_is_nested_too_deeply_is_refused(
    client: Any, message: dict[str, Any], told: str
) -> None:
    body = {"model": "tiny", "messages": [message]}
    with pytest.raises(openai.BadRequestError, match=told):
        await client.post("/chat/completions", body=body, cast_to=object)


async def test_a_model_without_a_template_says_so(tmp_path: Path) -> None:
    gpt2(tmp_path, template=None)
    async with asking(loaded(tmp_path)) as client:
        with pytest.raises(openai.BadRequestError, match="has no chat template"):
            await client.chat.completions.create(model="tiny", messages=CHAT)


async def test_models_are_listed_beside_those_of_v1(folder: Path) -> None:
    async with asking(loaded(folder), Doubler()) as client:
        assert [model.id async for model in client.models.list()] == ["tiny"]
        assert (await client.models.retrieve("tiny")).id == "tiny"
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve("double")
        with pytest.raises(openai.BadRequestError, match="does not support Completions API"):
            await client.completions.create(model="double", prompt="x")


async def test_pages_without_the_prefix_are_vllms(folder: Path) -> None:
    async with asking(loaded(folder), prefix="") as client:
        assert [model.id async for model in client.models.list()] == ["tiny"]
        found = await client.chat.completions.create(
            model="tiny", messages=CHAT, max_tokens=2, seed=1
        )
        assert found.usage.completion_tokens == 2


async def test_the_prefix_can_be_changed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KSERVE_OPENAI_ROUTE_PREFIX", "llm")
    async with asking(loaded(folder), prefix="/llm") as client:
        assert (await client.completions.create(model="tiny", prompt="a")).choices


async def test_a_reader_with_a_decoder_of_its_own(tmp_path: Path) -> None:
    made = t5(tmp_path)
    import torch

    async with asking(loaded(tmp_path)) as client:
        found = await client.completions.create(model="tiny", prompt="abc", temperature=0)
        with pytest.raises(openai.BadRequestError, match="echo"):
            await client.completions.create(model="tiny", prompt="abc", echo=True)
    tokens = torch.tensor([[ord(letter) - 33 for letter in "abc"]])
    expected = made.eval().generate(input_ids=tokens, max_new_tokens=16, do_sample=False)[0, 1:]
    assert found.choices[0].text == "".join(chr(33 + token) for token in expected.tolist())


async def test_vectors_of_texts(tmp_path: Path) -> None:
    encoder(tmp_path)
    async with asking(loaded(tmp_path)) as client:
        # The client asks for base64, and unpacks it.
        found = await client.embeddings.create(model="tiny", input=["abc", "xyz!"])
        plain = await client.embeddings.create(model="tiny", input="abc", encoding_format="float")
        with pytest.raises(openai.APIStatusError, match="token lists"):
            await client.embeddings.create(model="tiny", input=[1, 2])
        ranked = await client.post(
            "/rerank",
            body={"model": "tiny", "query": "abc", "documents": ["xyz!", "abc"]},
            cast_to=object,
        )
    assert found.usage.prompt_tokens == 7
    assert np.linalg.norm(found.data[1].embedding) == pytest.approx(1, abs=1e-5)
    assert plain.data[0].embedding == pytest.approx(found.data[0].embedding, abs=1e-5)
    assert [result["index"] for result in ranked["results"]] == [1, 0]
    assert ranked["results"][0]["relevance_score"] == pytest.approx(1, abs=1e-5)
    assert ranked["results"][0]["document"] == {"text": "abc"}


async def test_a_text_that_is_too_long_is_cut(tmp_path: Path) -> None:
    encoder(tmp_path, max_position_embeddings=32)
    async with asking(loaded(tmp_path)) as client:
        found = await client.embeddings.create(model="tiny", input="x" * 1000)
        assert found.usage.prompt_tokens == 32


async def test_a_classifier_of_pairs_ranks(tmp_path: Path) -> None:
    encoder(tmp_path, "BertForSequenceClassification", num_labels=1)
    async with asking(loaded(tmp_path)) as client:
        asked = {"model": "tiny", "query": "a", "documents": ["b", "cc", "ddd"], "top_n": 2}
        found = await client.post("/rerank", body=asked, cast_to=object)
        with pytest.raises(openai.BadRequestError, match="does not support Embeddings API"):
            await client.embeddings.create(model="tiny", input="a")
    scores = [result["relevance_score"] for result in found["results"]]
    assert len(scores) == 2
    assert 1 > scores[0] >= scores[1] > 0


async def test_tokens_are_counted(folder: Path) -> None:
    model = loaded(folder)
    async with serving(model) as client:
        body = {"model": "tiny", "prompt": "abc", "max_tokens": 5, "ignore_eos": True}
        await (await client.post("/v1/completions", json=body)).read()
        text = await (await client.get("/metrics")).text()
    model.stop()
    assert 'vllm:prompt_tokens_total{model_name="tiny"} 3' in text
    assert 'vllm:generation_tokens_total{model_name="tiny"} 5' in text
    assert 'kubeling_requests_total{model_name="tiny",code="200"} 1' in text


async def generated(client: aiohttp.ClientSession, page: str, **body: Any) -> tuple[int, str]:
    async with client.post(f"/v2/models/tiny/{page}", json=body) as answer:
        return answer.status, await answer.text()


async def test_the_generate_extension(folder: Path) -> None:
    model = loaded(folder)
    greedy = {"temperature": 0, "max_tokens": 4}
    async with serving(model) as client:
        status, body = await generated(
            client, "generate", text_input="abc", parameters={**greedy, "details": True}
        )
        found = json.loads(body)
        assert (status, found["model_name"]) == (200, "tiny")
        assert found["details"]["finish_reason"] == "length"
        tokens = found["details"]["logprobs"]
        assert "".join(token["text"] for token in tokens) == found["text_output"]
        assert {key for token in tokens for key in token} == {"id", "logprob", "special", "text"}
        status, body = await generated(
            client, "generate_stream", text_input="abc", parameters=greedy
        )
        events = [json.loads(line.removeprefix("data: ")) for line in body.split("\n\n") if line]
        assert "".join(event["text_output"] for event in events) == found["text_output"]
        assert events[0] == {"text_output": found["text_output"][0], "model_name": "tiny"}
        stop = {"stop": [found["text_output"][2]], "details": True}
        _, body = await generated(
            client, "generate", text_input="abc", parameters={**greedy, **stop}
        )
        assert json.loads(body)["details"]["finish_reason"] == "stop_sequence"
        for page in ("generate", "generate_stream"):
            status, body = await generated(client, page, text_input=3)
            assert status == 422
            assert "text_input" in json.loads(body)["error"]
            status, body = await generated(client, page, text_input="a" * 300)
            assert (status, "maximum context length" in body) == (422, True)
    model.stop()


async def test_models_without_text_do_not_generate() -> None:
    async with (
        serving(Doubler()) as client,
        client.post("/v2/models/double/generate", json={"text_input": "a"}) as answer,
    ):
        assert answer.status == 501
        assert await answer.json() == {"error": "model double does not implement generate"}

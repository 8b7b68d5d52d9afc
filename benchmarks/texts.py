"""How many tokens language models make for a second of CPU: in turns, and in shared steps.

Usage: python -m benchmarks.texts

A Llama with random weights and 7 million parameters (four layers of 256) goes on with prompts of 20
to 65 tokens, by 64 tokens each, for 1, 4 and 16 clients at once; the likeliest token every time,
and tokens by chance. The two take turns in one process, the best of three counts, and the texts
have to be equal.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import torch
import transformers

from kubeling.serving.server.generation.decoding import CausalDecoder
from kubeling.serving.server.generation.engine import Engine
from kubeling.serving.server.generation.growing import Vocabulary
from kubeling.serving.server.generation.packing import fastest_decoder
from kubeling.serving.server.generation.sampling import Sampling

TOKENS = 64
ROUNDS = 3
CLIENTS = (1, 4, 16)


def model() -> Any:
    """The same weights every time."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=8000,
        hidden_size=256,
        intermediate_size=688,
        num_hidden_layers=4,
        num_attention_heads=8,
        num_key_value_heads=4,
    )
    return transformers.AutoModelForCausalLM.from_config(config).eval()


def prompts() -> list[list[int]]:
    """One for each client."""
    random = torch.Generator().manual_seed(1)
    return [
        torch.randint(7000, (20 + 3 * index,), generator=random).tolist()
        for index in range(max(CLIENTS))
    ]


async def texts(engine: Engine, clients: int, temperature: float) -> tuple[list[list[int]], float]:
    """What the clients are answered, and the tokens for a second of CPU."""

    async def one(index: int, prompt: list[int]) -> list[int]:
        sampling = Sampling(TOKENS, temperature=temperature, seed=index)
        return [piece.chosen.token async for piece in engine.grow([prompt], [sampling])]

    before = time.process_time()
    asked = (one(index, prompt) for index, prompt in enumerate(prompts()[:clients]))
    found = await asyncio.gather(*asked)
    return found, clients * TOKENS / (time.process_time() - before)


async def measure() -> None:
    """Prints a line for each number of clients."""
    known = Vocabulary(str, frozenset())
    in_turns = Engine(torch, CausalDecoder(torch, model()), known)
    together = Engine(torch, fastest_decoder(torch, transformers, model()), known)
    for engine in (in_turns, together):
        await texts(engine, 1, 0.0)
    print("| temperature | clients | in turns | together | equal texts |\n|---|---|---|---|---|")
    for temperature in (0.0, 0.8):
        for clients in CLIENTS:
            best, equal = [0.0, 0.0], 0
            for _ in range(ROUNDS):
                first, slow = await texts(in_turns, clients, temperature)
                second, fast = await texts(together, clients, temperature)
                best = [max(best[0], slow), max(best[1], fast)]
                equal += sum(a == b for a, b in zip(first, second, strict=True))
            told = f"{equal} of {ROUNDS * clients}"
            print(f"| {temperature} | {clients} | {best[0]:.0f} | {best[1]:.0f} | {told} |")
    in_turns.close()
    together.close()


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    asyncio.run(measure())

"""The command line of torchtune follows from nodes, processes and the modules wished for."""

from __future__ import annotations

from typing import Any

import pytest
from tests.training.trainjobs import container, environment, jobset, train_job

LORA = "model.lora_attn_modules=[q_proj]"
QLORA = "model.quantize_base=True"
DORA = "model.use_dora=True"
ONE_GPU = {"limits": {"nvidia.com/gpu": 1}}


def command(on: str = "torchtune-llama3.2-1b", *args: str, **trainer: Any) -> list[str]:
    trainer = {"command": ["tune", "run"], "args": list(args), **trainer}
    found: list[str] = container(jobset(train_job(on, trainer=trainer)))["command"]
    return found


@pytest.mark.parametrize(
    ("args", "trainer", "recipe", "config"),
    [
        ((), {"numProcPerNode": 1}, "full_finetune_single_device", "_full_single_device"),
        ((), {}, "full_finetune_distributed", "_full"),
        ((LORA,), {"numProcPerNode": 1}, "lora_finetune_single_device", "_lora_single_device"),
        ((LORA,), {}, "lora_finetune_distributed", "_lora"),
        (
            (LORA, QLORA),
            {"numProcPerNode": 1},
            "lora_finetune_single_device",
            "_qlora_single_device",
        ),
        ((LORA, QLORA), {}, "lora_finetune_distributed", "_qlora"),
        ((LORA, QLORA, DORA), {}, "lora_finetune_distributed", "_lora"),
        ((LORA,), {"resourcesPerNode": ONE_GPU}, "lora_finetune_single_device", None),
    ],
)
def test_recipes(args: tuple[str, ...], trainer: Any, recipe: str, config: str | None) -> None:
    words = command("torchtune-llama3.2-1b", *args, **trainer)
    assert recipe in words
    if config:
        assert words[words.index("--config") + 1] == f"llama3_2/1B{config}"


def test_files_lie_where_the_runtime_says() -> None:
    words = command("torchtune-qwen2.5-1.5b")
    assert "output_dir=/workspace/output" in words
    assert "tokenizer.merges_file=/workspace/model/merges.txt" in words
    assert "checkpointer.checkpoint_dir=/workspace/model" in words
    assert "dataset.source=parquet" not in words


def test_many_processes_meet_at_node_0() -> None:
    assert "--rdzv_endpoint=mnist-node-0-0.mnist:29500" in command()
    assert not any("rdzv" in word for word in command(numProcPerNode=1))
    trainer = {"command": ["tune", "run"]}
    told = environment(jobset(train_job("torchtune-llama3.2-1b", trainer=trainer)))
    assert "PET_NNODES" in told
    assert "PET_MASTER_ADDR" not in told


def test_without_a_command_the_runtimes_own_runs() -> None:
    made = container(jobset(train_job("torchtune-llama3.2-1b")))
    assert made["command"][:2] == ["tune", "run"]
    assert "dataset.source=parquet" in made["command"]

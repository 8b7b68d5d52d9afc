"""The command line of torchtune, from how many nodes and processes there are.

``spec.trainer.command`` is ``tune run``; recipe, configuration, where the nodes meet and where
files lie are added, as upstream's torch plugin does. Users say in ``args`` what else they want,
such as LoRA's modules.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj
from kubeling.training.trainer.environment import Nodes, accelerators

__all__ = ["ENTRYPOINT", "command", "violations"]

ENTRYPOINT: Final = ["tune", "run"]
_MODELS: Final = ("llama3_2/1B", "llama3_2/3B", "llama3_3/70B", "qwen2_5/1.5B")
_MULTI_NODE_MODEL: Final = "llama3_3/70B"
_NO_QLORA: Final = "qwen2_5/1.5B"
_ONE_DEVICE_QLORA: Final = ("llama3_2/1B", "llama3_2/3B")
_OWN: Final = (
    "output_dir",
    "tokenizer.path",
    "checkpointer.checkpoint_dir",
    "tokenizer.merges_file",
)
"""What the runtime says, and users may not."""
_NAME_PARTS: Final = 3


def command(
    runtime_name: str, args: Sequence[str], nodes: Nodes, template: Sequence[str]
) -> list[str]:
    """The whole command; ``template`` is the runtime's own, which says where files lie."""
    recipe, config = _recipe(runtime_name, args, nodes)
    many = nodes.count > 1 or (nodes.processes or accelerators(nodes.resources)) > 1
    meeting = [f"--rdzv_endpoint={nodes.host}:{nodes.port}"] if many else []
    files = [word for word in template if word.split("=")[0] in _OWN]
    return [*ENTRYPOINT, *meeting, recipe, "--config", config, *files]


def violations(runtime_name: str, trainer: Obj, nodes: Nodes) -> Iterator[FieldError]:
    """What torchtune, or its model, cannot do."""
    args = trainer.get("args") or []
    model = _model(runtime_name)
    if model not in _MODELS:
        message = f"must have a supported pretrained model: {', '.join(_MODELS)}"
        yield FieldError("spec.runtimeRef.name", "Invalid value", message, runtime_name)
    if nodes.count > 1 and model != _MULTI_NODE_MODEL:
        message = f"must be 1 for {model} model"
        yield FieldError("spec.trainer.numNodes", "Invalid value", message, nodes.count)
    if nodes.count > 1 and (_lora(args) or _qlora(args)):
        message = "LoRA fine-tuning is not supported for multi-node training in TorchTune"
        yield FieldError("spec.trainer.numNodes", "Invalid value", message, nodes.count)
    if nodes.count == 1 and _qlora(args):
        if model == _NO_QLORA:
            message = f"QLoRA is not supported for {model} model"
            yield FieldError("spec.runtimeRef.name", "Invalid value", message, runtime_name)
        elif model in _ONE_DEVICE_QLORA and not _one_device(nodes):
            message = f"must be auto or 1 for {model} model when using QLoRA"
            value = nodes.processes or "auto"
            yield FieldError("spec.trainer.numProcPerNode", "Invalid value", message, value)
    for index, argument in enumerate(args):
        if argument.split("=")[0] in _OWN:
            message = "must not set what the runtime says; leave it out"
            yield FieldError(f"spec.trainer.args[{index}]", "Invalid value", message, argument)


def _recipe(runtime_name: str, args: Sequence[str], nodes: Nodes) -> tuple[str, str]:
    """The recipe and the name of its configuration."""
    recipe, suffix = "full_finetune_distributed", "_full"
    if nodes.count > 1:
        suffix = "_full_multinode"
    elif _one_device(nodes):
        recipe, suffix = "full_finetune_single_device", "_full_single_device"
        if _qlora(args):
            recipe, suffix = "lora_finetune_single_device", "_qlora_single_device"
        elif _lora(args):
            recipe, suffix = "lora_finetune_single_device", "_lora_single_device"
    elif _qlora(args):
        recipe, suffix = "lora_finetune_distributed", "_qlora"
    elif _lora(args):
        recipe, suffix = "lora_finetune_distributed", "_lora"
    return recipe, f"{_model(runtime_name)}{suffix}"


def _one_device(nodes: Nodes) -> bool:
    return nodes.processes == 1 or accelerators(nodes.resources) == 1


def _model(runtime_name: str) -> str:
    """``torchtune-llama3.2-1b`` is about ``llama3_2/1B``."""
    parts = runtime_name.split("-")
    if len(parts) != _NAME_PARTS:
        return ""
    return f"{parts[1].replace('.', '_')}/{parts[2].upper()}"


def _lora(args: Sequence[str]) -> bool:
    return any("model.lora_attn_modules" in argument for argument in args)


def _qlora(args: Sequence[str]) -> bool:
    return not _enabled(args, "model.use_dora") and _enabled(args, "model.quantize_base")


def _enabled(args: Sequence[str], item: str) -> bool:
    for argument in args:
        key, equals, value = argument.partition("=")
        if equals and item in key and value.strip().lower() == "true":
            return True
    return False

"""``vllm serve`` as manifests call it."""

from __future__ import annotations

from kubeling.serving.server.vllm import arguments


def test_flags_that_mean_something_on_a_cpu_are_translated() -> None:
    found = arguments(
        [
            *("serve", "/mnt/models", "--served-model-name", "a/b", "publishers/x/models/a/b"),
            *("--port", "8001", "--max-model-len", "99", "--enforce-eager"),
        ]
    )
    assert found == [
        "--model_name=a/b",
        "--model_dir=/mnt/models",
        "--format=huggingface",
        "--host=0.0.0.0",
        "--http_port=8001",
        "--enable_grpc=false",
        "--max_model_len=99",
        "--enforce-eager",
    ]
    assert arguments(["serve"])[0] == "--model_name=/mnt/models"

"""``vllm serve`` as manifests call it."""

from __future__ import annotations

import pytest

from kubeling.serving.server.vllm import arguments


def test_flags_that_mean_something_on_a_cpu_are_translated() -> None:
    found = arguments(
        [
            *("serve", "/mnt/models", "--served-model-name", "a/b", "publishers/x/models/a/b"),
            *("--port", "8001", "--max-model-len", "99", "--enforce-eager"),
            *("--max-num-seqs", "4", "--kv-cache-memory-bytes=1000"),
            *("--enable-auto-tool-choice", "--tool-call-parser", "hermes"),
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
        "--max-num-seqs=4",
        "--kv-cache-memory-bytes=1000",
        "--tool-call-parser=hermes",
        "--enforce-eager",
        "--enable-auto-tool-choice",
    ]
    assert arguments(["serve"])[0] == "--model_name=/mnt/models"


@pytest.mark.parametrize(
    "given",
    [
        "serve /m",
        "serve /m --dtype float32",
        "serve --dtype float32 /m",
        "serve --dtype float32 /m --port 8000",
        "serve --port 8000 /m --dtype float32",
        "serve --enforce-eager /m --dtype=float32",
    ],
)
def test_the_model_comes_first_or_last(given: str) -> None:
    found = arguments(given.split())
    assert "--model_dir=/m" in found
    assert ("float32" in found) == ("--dtype" in found)


def test_names_that_the_model_is_not_served_by_are_told(caplog: pytest.LogCaptureFixture) -> None:
    found = arguments(["serve", "/m", "--served-model-name", "a", "b", "c"])
    assert found[0] == "--model_name=a"
    assert caplog.messages == [f"the model is served as a only, not as {name}" for name in "bc"]


def test_vllms_older_program_has_the_model_in_a_flag() -> None:
    found = arguments(
        [
            *("--port=8080", "--served-model-name=m", "--model=/mnt/models"),
            *("--model", "team/m", "--revision", "v1", "--runner", "pooling", "--convert", "embed"),
        ]
    )
    assert "--model_id=team/m" in found
    assert found[-2:] == ["--model_revision=v1", "--task=text_embedding"]
    assert "--model_dir=/mnt/models" in arguments(["--port=8080", "--tensor-parallel-size", "2"])

"""Models that a flag names on the Hub, and what upstream's Hugging Face server takes besides."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.serving.language_models import encoder
from tests.serving.model_server import serving

from kubeling.serving.server.errors import ModelLoadError
from kubeling.serving.server.formats import create_model
from kubeling.serving.server.formats.huggingface_options import (
    HubOptions,
    add_hub_flags,
    hub_options,
)
from kubeling.serving.server.formats.huggingface_source import fetched

TEXTS = {"name": "input-0", "datatype": "BYTES", "shape": [], "data": ["good film"]}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that a hub serves as repositories, whatever the revision."""
    folder = tmp_path / "hub"

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kind, _, rest = self.path.strip("/").partition("/")
            if kind == "api":
                name = rest.removeprefix("models/").partition("/revision/")[0]
                names = [p.relative_to(folder / name) for p in (folder / name).rglob("*.*")]
                told = {"sha": "abc", "siblings": [{"rfilename": str(n)} for n in names]}
                found = json.dumps(told).encode() if names else None
            else:
                name, _, file = self.path.strip("/").partition("/resolve/abc/")
                found = (folder / name / file).read_bytes()
            self.send_response(404 if found is None else 200)
            self.end_headers()
            self.wfile.write(found or b"")

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
    yield folder
    server.shutdown()
    server.server_close()


def test_a_model_of_the_hub_comes_without_what_is_for_other_libraries(
    hub: Path, tmp_path: Path
) -> None:
    files = ("config.json", "model.safetensors", "pytorch_model.bin", "tf_model.h5", "onnx/m.onnx")
    for name in files:
        (hub / "team/safe" / name).parent.mkdir(parents=True, exist_ok=True)
        (hub / "team/safe" / name).write_text(name)
    found = fetched("team/safe", "v1", tmp_path / "safe")
    names = {str(path.relative_to(found)) for path in found.rglob("*.*")}
    assert names == {"config.json", "model.safetensors"}
    (hub / "old").mkdir()
    (hub / "old" / "pytorch_model.bin").write_text("weights")
    old = fetched("old", "", tmp_path / "old")
    assert (old / "pytorch_model.bin").read_text() == "weights"
    assert fetched(str(hub), "", tmp_path / "none") == hub
    with pytest.raises(ModelLoadError, match="--model_id team/none: the Hub answered HTTP 404"):
        fetched("team/none", "", tmp_path / "none")


def test_what_a_server_fetched_goes_when_it_ends(
    hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (hub / "broken").mkdir(parents=True)
    (hub / "broken" / "config.json").write_text("no JSON")
    (tmp_path / "passing").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "passing"))
    server = [sys.executable, "-m", "kubeling.serving.server", "--format=huggingface"]
    ended = subprocess.run(
        [*server, "--model_id=broken"], capture_output=True, text=True, timeout=120, check=False
    )
    assert "cannot load model model: config.json names no architectures" in ended.stderr
    assert not any((tmp_path / "passing").iterdir())


def _options(*given: str) -> HubOptions:
    parser = argparse.ArgumentParser()
    add_hub_flags(parser)
    return hub_options(parser.parse_args(given))


def test_upstreams_flags_are_taken(caplog: pytest.LogCaptureFixture) -> None:
    assert _options("--backend", "huggingface", "--dtype=auto") == HubOptions()
    assert not caplog.messages
    found = _options("--task=text_embedding", "--return_raw_logits", "--disable_special_tokens")
    assert found == HubOptions("text_embedding", "logits", special_tokens=False)
    assert _options("--return_probabilities", "--backend=vllm").answers == "probabilities"
    assert "--backend=vllm has no effect" in caplog.text
    _options("--model_revision=a", "--tokenizer_revision=b")
    assert "--tokenizer_revision=b has no effect" in caplog.text


def _encoder(folder: Path, kind: str, options: HubOptions, **config: Any) -> Any:
    pytest.importorskip("torch")
    made = encoder(folder, kind, **config)
    if hasattr(made, "classifier"):
        made.classifier.weight.data.zero_()
        made.classifier.bias.data[:] = made.classifier.bias.new_tensor([0.0, 1.0])
        made.save_pretrained(folder)
    model = create_model("huggingface", "m", folder, options=options)
    model.ready = bool(model.load())
    return model


async def _asked(model: Any, path: str, body: Any) -> Any:
    async with serving(model) as client:
        return await (await client.post(path, json=body)).json()


async def _both(model: Any) -> tuple[Any, Any]:
    """What V1 answers, and the tensor of V2."""
    told = await _asked(model, "/v1/models/m:predict", {"instances": ["good film"]})
    tensors = await _asked(model, "/v2/models/m/infer", {"inputs": [TEXTS]})
    return told["predictions"], tensors["outputs"][0]


async def test_all_classes_are_told_where_that_is_wanted(tmp_path: Path) -> None:
    kind = "BertForSequenceClassification"
    for answers, chances in (("probabilities", (0.2689, 0.7311)), ("logits", (0.0, 1.0))):
        model = _encoder(tmp_path, kind, HubOptions(answers=answers), num_labels=2)  # type: ignore[arg-type]
        rows, tensor = await _both(model)
        assert rows == [{"0": chances[0], "1": chances[1]}]
        assert tensor["data"] == [f"{{0: {chances[0]}, 1: {chances[1]}}}"]


async def test_tokens_are_classified(tmp_path: Path) -> None:
    model = _encoder(tmp_path, "BertForTokenClassification", HubOptions(), num_labels=2)
    rows, tensor = await _both(model)
    (labels,) = rows[0]
    assert set(labels) == {1}
    assert (tensor["shape"], tensor["data"]) == ([1, 1, len(labels)], labels)
    several = await _asked(
        model,
        "/v2/models/m/infer",
        {"inputs": [TEXTS | {"shape": [2], "data": ["good film", "a much longer text"]}]},
    )
    assert several["outputs"][0]["data"][len(labels)] == -100
    model = _encoder(tmp_path, "BertForTokenClassification", HubOptions(answers="logits"))
    rows, tensor = await _both(model)
    assert rows[0][0] == {"0": 0.0, "1": 1.0}
    assert tensor["data"][0] == "{0: 0.0, 1: 1.0}"


async def test_a_text_without_any_tokens_is_refused(tmp_path: Path) -> None:
    model = _encoder(tmp_path, "BertModel", HubOptions(special_tokens=False))
    for texts in ([""], ["good film", ""]):
        found = await _asked(model, "/v1/embeddings", {"model": "m", "input": texts})
        assert found["error"]["message"].startswith("a text is empty")
        assert found["error"]["code"] == "400"


async def test_a_task_may_be_set(tmp_path: Path) -> None:
    options = HubOptions(task="text_embedding")
    model = _encoder(tmp_path, "BertForSequenceClassification", options, num_labels=2)
    rows, _ = await _both(model)
    assert len(rows[0]) == 16


async def test_texts_are_classified_as_vllm_does_it(tmp_path: Path) -> None:
    kind = "BertForSequenceClassification"
    model = _encoder(tmp_path, kind, HubOptions(), id2label={0: "bad", 1: "good"})
    found = await _asked(model, "/classify", {"input": ["good film"]})
    assert found["model"] == "m"
    (told,) = found["data"]
    assert (told["label"], told["num_classes"]) == ("good", 2)
    assert told["probs"] == pytest.approx([0.2689, 0.7311], abs=1e-4)
    embedding = _encoder(tmp_path, "BertModel", HubOptions())
    refused = await _asked(embedding, "/classify", {"input": "good", "model": "m"})
    assert refused["error"]["message"] == "Model m does not support Classification API"

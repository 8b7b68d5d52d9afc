"""Language models on the whole platform, asked with OpenAI's own client through the gateway."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.serving.language_models import gpt2
from tests.support.platform import Platform, started

pytestmark = pytest.mark.e2e

openai = pytest.importorskip("openai")

CHAT = [{"role": "user", "content": "hello"}]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("workspace") / "tiny"
    found.mkdir()
    gpt2(found)
    return found


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Iterator[Platform]:
    with started(tmp_path_factory.mktemp("data") / "platform", model.parent) as found:
        yield found


def apply(platform: Platform, kind: str, version: str, name: str, **spec: Any) -> None:
    obj = {
        "apiVersion": f"serving.kserve.io/{version}",
        "kind": kind,
        "metadata": {"name": name, "namespace": "default"},
        "spec": spec,
    }
    platform.run("kubectl", "apply", "-f", "-", stdin=json.dumps(obj))


def said(client: Any, name: str) -> str:
    """What a chat is answered with, whole and in pieces, which have to be the same."""
    asked = {"model": name, "messages": CHAT, "temperature": 0, "max_tokens": 12}
    whole = client.chat.completions.create(**asked).choices[0].message.content
    usage = {"include_usage": True}
    *pieces, last = client.chat.completions.create(**asked, stream=True, stream_options=usage)
    assert "".join(p.choices[0].delta.content or "" for p in pieces) == whole
    assert len(pieces) == 13
    assert last.usage.completion_tokens == 12
    return str(whole)


def test_llm_services_and_inference_services_answer_openais_client(
    platform: Platform, model: Path
) -> None:
    uri = model.as_uri()
    apply(
        platform,
        "LLMInferenceService",
        "v1alpha2",
        "tiny",
        model={"uri": uri, "name": "acme/tiny"},
        router={"route": {}, "gateway": {}, "scheduler": {}},
        # As upstream's samples for CPUs have it: vLLM's image, which is a name for our server.
        template={"containers": [{"name": "main", "image": "docker.io/vllm/vllm-openai-cpu:v1"}]},
    )
    predictor = {"huggingface": {"storageUri": uri}}
    apply(platform, "InferenceService", "v1beta1", "chat", predictor=predictor)
    for kind in ("llmisvc/tiny", "isvc/chat"):
        platform.run("kubectl", "wait", "--for=condition=Ready", kind, "--timeout=180s")
    url = platform.kubectl("get", "llmisvc/tiny", "-o", "jsonpath={.status.url}").strip()
    assert url == f"{platform.url}/default/tiny"
    llm = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
    isvc = openai.OpenAI(
        base_url=f"{platform.url}/serving/default/chat/openai/v1", api_key="none", max_retries=0
    )
    with llm, isvc:
        assert [entry.id for entry in llm.models.list()] == ["acme/tiny"]
        assert said(llm, "acme/tiny") == said(isvc, "chat")
        with pytest.raises(openai.NotFoundError, match="Model with name other does not exist"):
            llm.completions.create(model="other", prompt="x")

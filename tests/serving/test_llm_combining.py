"""LLM services with the configurations they build on."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kubeling.kube.admission import AdmissionRequest
from kubeling.kube.objects import Obj
from kubeling.serving.llm.combining import NotCombined, combined
from kubeling.serving.llm.obstacles import obstacles, warnings_of
from kubeling.serving.llm.resources import LLM_SERVICES
from kubeling.serving.llm.variables import child_name, substituted
from kubeling.serving.strategic import merged

MODEL = {"uri": "hf://acme/tiny", "name": "tiny"}


def llm(**spec: Any) -> Obj:
    return {
        "metadata": {"name": "mine", "namespace": "team", "annotations": {"a": "1"}},
        "spec": {"model": MODEL, **spec},
    }


def config(name: str, namespace: str = "team", **spec: Any) -> Obj:
    return {"metadata": {"name": name, "namespace": namespace}, "spec": spec}


def run(service: Obj, *configs: Obj) -> tuple[Obj, list[tuple[str, str]]]:
    """The combined spec, and what it was made of."""
    known = {(c["metadata"]["namespace"], c["metadata"]["name"]): c for c in configs}
    found = combined(service, lambda where, title: known.get((where, title)))
    return found.spec, [(ref["name"], ref["source"]) for ref in found.applied]


def main(spec: Obj) -> Obj:
    found: Obj = spec["template"]["containers"][0]
    return found


def test_a_service_that_says_nothing_of_its_container_gets_ours() -> None:
    spec, applied = run(llm(template={"containers": [{"name": "side"}]}))
    assert applied == []
    container = main(spec)
    assert container["name"] == "main"
    assert container["image"] == "kubeling/model-server:huggingface"
    assert "--model_name=tiny" in container["args"]
    assert container["readinessProbe"]["httpGet"] == {"path": "/v2/health/ready", "port": 8000}
    assert [c["name"] for c in spec["template"]["containers"]] == ["main", "side"]


def test_tracing_is_told_to_the_server_in_opentelemetrys_variables() -> None:
    env = [{"name": "OTEL_SERVICE_NAME", "value": "my-own"}]
    given = {"containers": [{"name": "main", "env": env}]}
    container = main(run(llm(template=given, tracing={"samplerArg": "1"}))[0])
    told = {variable["name"]: variable.get("value") for variable in container["env"]}
    assert told["OTEL_SERVICE_NAME"] == "my-own"
    assert told["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://otel-collector:4317"
    assert told["OTEL_TRACES_SAMPLER"] == "parentbased_traceidratio"
    assert told["OTEL_TRACES_SAMPLER_ARG"] == "1"
    assert told["OTEL_RESOURCE_ATTRIBUTES"].endswith(",llmisvc.name=mine")
    # A reference to another variable is followed only where that one comes first.
    names = list(told)
    last = names.index("OTEL_RESOURCE_ATTRIBUTES")
    assert last > names.index("OTEL_RESOURCE_ATTRIBUTES_POD_NAME")
    assert not any("otlp" in argument for argument in container["args"])
    given = {
        "containers": [{"name": "main", "image": "vllm", "args": ["--otlp-traces-endpoint=x"]}]
    }
    container = main(run(llm(template=given, tracing={}))[0])
    assert container["args"] == ["--otlp-traces-endpoint=x", "--collect-detailed-traces", "all"]
    assert "env" not in main(run(llm())[0])


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({}, []),
        ({"router": {"route": {}, "gateway": {}, "scheduler": {}}, "replicas": 2}, []),
        ({"prefill": {}}, ["spec.prefill: needs vLLM on nodes with GPUs"]),
        ({"kvCacheOffloading": {"cpu": "1Gi"}}, ["spec.kvCacheOffloading: has no effect: the"]),
        (
            {"model": {**MODEL, "criticality": "Standard", "lora": {"maxRank": 8}}},
            ["spec.model.criticality: has no effect", "spec.model.lora.maxRank: has no effect"],
        ),
        (
            {"router": {"scheduler": {"replicas": 2}}, "parallelism": {"dataRPCPort": 5555}},
            ["spec.parallelism.dataRPCPort: has", "spec.router.scheduler.replicas: has no effect"],
        ),
    ],
)
def test_what_changes_nothing_here_is_told_at_apply(spec: Obj, told: list[str]) -> None:
    request = AdmissionRequest(LLM_SERVICES, "CREATE", dry_run=False)
    found = warnings_of(llm(**spec), request)
    assert len(found) == len(told)
    assert all(one.startswith(wanted) for one, wanted in zip(found, told, strict=True))


def test_what_a_container_adds_for_vllm_goes_to_our_server() -> None:
    env = [{"name": "VLLM_ADDITIONAL_ARGS", "value": "--max-model-len 100"}]
    limits = {"limits": {"cpu": "1500m"}}
    given = {"name": "main", "env": env, "resources": limits, "args": ["--max-num-seqs=2"]}
    container = main(run(llm(template={"containers": [given]}))[0])
    assert container["args"][-3:] == ["--max-model-len", "100", "--max-num-seqs=2"]
    assert {"name": "NTHREAD", "value": "2"} in container["env"]


def test_an_image_of_ones_own_runs_vllm_unless_it_has_a_command() -> None:
    given = {"name": "main", "image": "vllm/vllm-openai-cpu", "livenessProbe": {"periodSeconds": 9}}
    container = main(run(llm(template={"containers": [given]}))[0])
    assert "exec vllm serve /mnt/models --served-model-name tiny" in container["command"][2]
    assert container["livenessProbe"]["httpGet"]["path"] == "/health"
    given["command"] = ["serve"]
    assert main(run(llm(template={"containers": [given]}))[0])["command"] == ["serve"]


def test_base_refs_come_in_order_and_the_service_wins() -> None:
    first = config("first", replicas=1, labels={"a": "1", "b": "1"}, model={"uri": "s3://b/m"})
    second = config("second", replicas=2, labels={"b": "2"})
    service = llm(replicas=3, baseRefs=[{"name": "first"}, {"name": "second"}])
    del service["spec"]["model"]
    spec, applied = run(service, first, second)
    assert (spec["replicas"], spec["labels"]) == (3, {"a": "1", "b": "2"})
    assert spec["model"]["uri"] == "s3://b/m"
    assert applied == [("first", "UserRef"), ("second", "UserRef")]
    assert "baseRefs" not in spec


def test_a_preset_of_upstreams_name_is_used_where_there_is_one() -> None:
    pod = {"containers": [{"name": "main", "image": "acme/server", "command": ["run"]}]}
    preset = config("kserve-config-llm-template", "kserve", template=pod)
    spec, applied = run(llm(), preset)
    assert main(spec)["image"] == "acme/server"
    assert applied == [("kserve-config-llm-template", "Preset")]
    pod = {"containers": [{"name": "main", "image": "team/server"}]}
    own = config("kserve-config-llm-template", "team", template=pod)
    assert main(run(llm(), preset, own)[0])["image"] == "team/server"


def test_variables_are_those_of_the_service() -> None:
    env = [{"name": "A", "value": "{{ .Spec.Model.Name }}/{{ ChildName .ObjectMeta.Name `-x` }}"}]
    spec, _ = run(llm(template={"containers": [{"name": "main", "env": env}]}))
    assert main(spec)["env"][0]["value"] == "tiny/mine-x"
    assert substituted("{{- .Namespace -}}", llm()) == "team"


@pytest.mark.parametrize(
    ("service", "reason", "message"),
    [
        (llm(baseRefs=[{"name": "none"}]), "ConfigNotFound", '"none" in "team" or "kserve"'),
        (llm(labels={"a": "{{ if .X }}"}), "CombineBaseError", "is not understood"),
        (llm(labels={"a": "{{ .Spec.Nothing }}"}), "CombineBaseError", "has no value"),
        (llm(labels={"a": "{{ .Spec.Model }}"}), "CombineBaseError", "is no single value"),
        (llm(worker={}), "InvalidRenderedConfig", "spec.worker: Invalid value"),
    ],
)
def test_what_does_not_combine_is_told(service: Obj, reason: str, message: str) -> None:
    with pytest.raises(NotCombined, match=message.split()[0]) as refused:
        run(service)
    assert refused.value.problem.reason == reason
    assert message in refused.value.problem.message


def test_lists_are_merged_by_name_and_the_rest_is_replaced() -> None:
    base = {
        "containers": [
            {"name": "a", "args": ["1", "2"], "env": [{"name": "X", "value": "1"}]},
            {"name": "b"},
        ]
    }
    override = {
        "containers": [
            {"name": "a", "args": ["3"], "env": [{"name": "Y", "value": "2"}]},
            {"name": "c"},
        ]
    }
    found = merged(base, override)["containers"]
    assert [container["name"] for container in found] == ["c", "a", "b"]
    assert found[1]["args"] == ["3"]
    assert {variable["name"] for variable in found[1]["env"]} == {"X", "Y"}


values = st.recursive(
    st.integers() | st.text(max_size=3),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
specs = st.dictionaries(st.sampled_from("abcd"), values, max_size=4)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(specs, specs, specs)
def test_merging_in_steps_is_merging_at_once(first: Obj, second: Obj, third: Obj) -> None:
    assert merged(first, second, third) == merged(merged(first, second), third)
    assert merged(first, {}) == merged({}, first) == first
    assert merged(first, first) == first


@pytest.mark.parametrize(("size", "length"), [(10, 14), (59, 63), (60, 63), (200, 63)])
def test_names_of_children_fit(size: int, length: int) -> None:
    assert len(child_name("x" * size, "-svc")) == length


@pytest.mark.parametrize(
    ("spec", "condition", "message"),
    [
        ({"prefill": {}}, "PrefillWorkloadReady", "spec.prefill"),
        ({"worker": {}}, "WorkerWorkloadReady", "spec.worker"),
        ({"parallelism": {"tensor": 2}}, "MainWorkloadReady", "tensor 2"),
        ({"model": {"lora": {"adapters": [{}]}}}, "MainWorkloadReady", "lora.adapters"),
        ({"model": {"confidential": {"enabled": True}}}, "MainWorkloadReady", "confidential"),
        ({"scaling": {"maxReplicas": 2}}, "ScalingReady", "neither WVA nor KEDA"),
        ({"router": {"gateway": {"refs": [{}]}}}, "GatewaysReady", "gateway.refs"),
        ({"router": {"route": {"http": {"spec": {}}}}}, "HTTPRoutesReady", "leave http empty"),
        ({"router": {"ingress": {}}}, "HTTPRoutesReady", "no ingresses"),
        ({"router": {"scheduler": {"config": {"a": 1}}}}, "SchedulerWorkloadReady", "config"),
    ],
)
def test_what_needs_other_machines_is_told(spec: Obj, condition: str, message: str) -> None:
    [found] = obstacles(spec)
    assert found.condition == condition
    assert message in found.message


def test_one_device_is_no_parallelism() -> None:
    assert list(obstacles({"parallelism": {"tensor": 1, "pipeline": 1}, "router": {}})) == []

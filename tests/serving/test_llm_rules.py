"""What is filled in and refused in LLMInferenceServices, by upstream's rules."""

from __future__ import annotations

from typing import Any

import pytest

from kubeling.kube.admission import AdmissionRequest
from kubeling.kube.objects import Obj
from kubeling.serving.llm.resources import LLM_CONFIGS, LLM_SERVICES
from kubeling.serving.llm.rules import (
    default_llm_service,
    validate_llm_config,
    validate_llm_service,
)

CREATE = AdmissionRequest(LLM_SERVICES, "CREATE")
MODEL = {"uri": "hf://acme/tiny"}
HPA = {"hpa": {}}
TRIGGERS = {"triggers": [{"type": "cpu"}]}


def llm(**spec: Any) -> Obj:
    return {"metadata": {"name": "tiny"}, "spec": {"model": MODEL, **spec}}


def refused(spec: Obj, old: Obj | None = None) -> list[str]:
    found = validate_llm_service(llm(**spec), None if old is None else llm(**old), CREATE)
    return [f"{error.path}: {error.reason}: {error.message}" for error in found]


def test_names_of_models_containers_and_the_label_of_a_group_are_filled_in() -> None:
    obj = llm(template={}, prefill={"template": {}}, router={"route": {"group": "g", "weight": 1}})
    default_llm_service(obj, CREATE)
    assert obj["spec"]["model"]["name"] == "tiny"
    assert obj["spec"]["template"] == obj["spec"]["prefill"]["template"] == {"containers": []}
    assert obj["metadata"]["labels"] == {"serving.kserve.io/routing-group": "g"}
    del obj["spec"]["router"]
    default_llm_service(obj, CREATE)
    assert obj["metadata"]["labels"] == {}


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"replicas": 0},
        {"router": {"route": {}, "gateway": {}, "scheduler": {}}},
        {"router": {"route": {"http": {"spec": {"parentRefs": [{"name": "g"}]}}}}},
        {"worker": {}, "parallelism": {"data": 4, "dataLocal": 2}},
        {"parallelism": {"tensor": 2, "pipeline": 2}},
        {"scaling": {"maxReplicas": 3, "minReplicas": 1, "wva": HPA}},
        {"scaling": {"maxReplicas": 3, "keda": {**TRIGGERS, "advanced": {"scalingModifiers": {}}}}},
        {"rolloutStrategy": {"maxUnavailable": "25%", "maxSurge": 0}},
        {"kvCacheOffloading": {"cpu": "1Gi", "secondary": [{"fileSystem": {"emptyDir": {}}}]}},
        {"model": {**MODEL, "lora": {"adapters": [{"name": "a", "uri": "hf://a/b"}]}}},
        {"model": {}, "baseRefs": [{"name": "with-a-model"}]},
    ],
)
def test_what_upstream_takes_is_taken(spec: Obj) -> None:
    assert refused(spec) == []


ROUTE = "spec.router.route"


@pytest.mark.parametrize(
    ("spec", "path", "message"),
    [
        ({"model": {}}, "spec.model.uri: Required value", ""),
        (
            {"router": {"route": {"http": {"refs": [{"name": "r"}], "spec": {}}}}},
            f"{ROUTE}.http: Invalid value",
            "cannot use both custom HTTPRoute refs",
        ),
        (
            {"router": {"route": {"http": {"refs": [{"name": "r"}]}}, "gateway": {}}},
            f"{ROUTE}.http.refs: Invalid value",
            "cannot be used with a managed gateway",
        ),
        (
            {
                "router": {
                    "route": {"http": {"spec": {"parentRefs": [{"name": "a"}]}}},
                    "gateway": {"refs": [{"name": "b"}]},
                }
            },
            f"{ROUTE}.http.spec: Invalid value",
            "conflict with custom gateway refs",
        ),
        ({"router": {"route": {"weight": 1}}}, f"{ROUTE}.group: Required value", "requires group"),
        ({"router": {"route": {"group": "g"}}}, f"{ROUTE}.weight: Required value", ""),
        (
            {"router": {"route": {"group": "g", "weight": 1}, "ingress": {}}},
            f"{ROUTE}.group: Invalid value",
            "requires Gateway API routing",
        ),
        (
            {"router": {"scheduler": {"replicas": 0}}},
            "spec.router.scheduler.replicas: Invalid value",
            "greater than zero",
        ),
        (
            {"router": {"scheduler": {"config": {}}}},
            "spec.router.scheduler.config: Invalid value",
            "either inline or ref is required",
        ),
        (
            {"router": {"scheduler": {"config": {"inline": {"a": 1}, "ref": {"name": "c"}}}}},
            "spec.router.scheduler.config: Invalid value",
            "both inline and ref are set",
        ),
        ({"worker": {}}, "spec.worker: Invalid value", "parallelism must be configured"),
        (
            {"worker": {}, "parallelism": {"tensor": 2}},
            "spec.worker: Invalid value",
            "parallelism must be configured",
        ),
        (
            {"parallelism": {"pipeline": 2, "data": 2, "dataLocal": 1}},
            "spec.parallelism: Invalid value",
            "cannot set both pipeline parallelism and data parallelism",
        ),
        (
            {"prefill": {"parallelism": {"data": 2}}},
            "spec.prefill.parallelism.dataLocal: Invalid value",
            "dataLocal must be set when data is set",
        ),
        (
            {"parallelism": {"dataLocal": 2}},
            "spec.parallelism.data: Invalid value",
            "data must be set",
        ),
        (
            {"model": {**MODEL, "lora": {"adapters": [{"uri": "hf://a/b"}]}}},
            "spec.model.lora.adapters[0].name: Required value",
            "adapter name is required",
        ),
        (
            {"model": {**MODEL, "lora": {"adapters": [{"name": "a"}, {"name": "a"}]}}},
            "spec.model.lora.adapters[1].name: Invalid value",
            "duplicate name (same as adapters[0])",
        ),
        (
            {"model": {**MODEL, "lora": {"adapters": [{"name": "tiny"}]}}},
            "spec.model.lora.adapters[0].name: Invalid value",
            'must differ from base model name "tiny"',
        ),
        (
            {"model": {**MODEL, "lora": {"adapters": [{"name": ".."}]}}},
            "spec.model.lora.adapters[0].name: Invalid value",
            "path traversal risk",
        ),
        (
            {"model": {**MODEL, "confidential": {"enabled": True, "resourceId": "key"}}},
            "spec.model.confidential.resourceId: Invalid value",
            "kbs:///",
        ),
        (
            {"replicas": 1, "scaling": {"maxReplicas": 2, "wva": HPA}},
            "spec.scaling: Invalid value",
            "mutually exclusive",
        ),
        (
            {"scaling": {"minReplicas": 3, "maxReplicas": 2, "wva": HPA}},
            "spec.scaling.minReplicas: Invalid value",
            "minReplicas (3) cannot exceed maxReplicas (2)",
        ),
        (
            {"scaling": {"maxReplicas": 2}},
            "spec.scaling: Required value",
            "either wva or keda must be specified",
        ),
        (
            {"scaling": {"maxReplicas": 2, "wva": HPA, "keda": TRIGGERS}},
            "spec.scaling: Invalid value",
            "wva and keda are mutually exclusive",
        ),
        (
            {"scaling": {"maxReplicas": 2, "wva": {}}},
            "spec.scaling.wva: Required value",
            "either hpa or keda",
        ),
        (
            {"scaling": {"maxReplicas": 2, "wva": {**HPA, "keda": {}}}},
            "spec.scaling.wva: Invalid value",
            "hpa and keda are mutually exclusive",
        ),
        (
            {"scaling": {"maxReplicas": 2, "wva": {**HPA, "variantCost": "much"}}},
            "spec.scaling.wva.variantCost: Invalid value",
            "non-negative numeric string",
        ),
        (
            {"scaling": {"maxReplicas": 2, "keda": {}}},
            "spec.scaling.keda.triggers: Required value",
            "at least one trigger",
        ),
        (
            {"scaling": {"maxReplicas": 2, "keda": {**TRIGGERS, "idleReplicaCount": 0}}},
            "spec.scaling.minReplicas: Required value",
            "minReplicas is required when idleReplicaCount is set",
        ),
        (
            {
                "scaling": {
                    "maxReplicas": 2,
                    "minReplicas": 1,
                    "keda": {**TRIGGERS, "idleReplicaCount": 1},
                }
            },
            "spec.scaling.keda.idleReplicaCount: Invalid value",
            "must be less than minReplicas",
        ),
        (
            {
                "scaling": {
                    "maxReplicas": 2,
                    "wva": {"keda": {"advanced": {"scalingModifiers": {"formula": "x"}}}},
                }
            },
            "spec.scaling.wva.keda.advanced.scalingModifiers: Forbidden",
            "WVA controls",
        ),
        (
            {
                "scaling": {"maxReplicas": 2, "wva": HPA},
                "prefill": {"scaling": {"maxReplicas": 2, "keda": TRIGGERS}},
            },
            "spec.prefill.scaling: Invalid value",
            "decode uses wva but prefill uses direct keda",
        ),
        (
            {
                "scaling": {"maxReplicas": 2, "wva": HPA},
                "prefill": {"scaling": {"maxReplicas": 2, "wva": {"keda": {}}}},
            },
            "spec.prefill.scaling.wva: Invalid value",
            "decode uses hpa but prefill uses keda",
        ),
        (
            {"rolloutStrategy": {"maxSurge": "101%"}},
            "spec.rolloutStrategy.maxSurge: Invalid value",
            "not be greater than 100%",
        ),
        (
            {"rolloutStrategy": {"maxUnavailable": 0, "maxSurge": "0%"}},
            "spec.rolloutStrategy: Invalid value",
            "cannot both be zero",
        ),
        (
            {"kvCacheOffloading": {"secondary": [{"fileSystem": {"emptyDir": {}}}]}},
            "spec.kvCacheOffloading.cpu: Required value",
            "cpu must be set",
        ),
        (
            {"kvCacheOffloading": {"cpu": 1, "secondary": [{"fileSystem": {"pvc": {}}}]}},
            "spec.kvCacheOffloading.secondary[0].fileSystem.pvc: Required value",
            "exactly one of spec or ref",
        ),
    ],
)
def test_what_upstream_refuses_is_refused(spec: Obj, path: str, message: str) -> None:
    found = refused(spec)
    assert len(found) == 1
    assert found[0].startswith(path)
    assert message in found[0]


def test_over_how_many_nodes_a_model_is_spread_stays() -> None:
    before = {"parallelism": {"data": 4, "dataLocal": 2}}
    assert refused({"parallelism": {"data": 2, "dataLocal": 1}}, before) == []
    [found] = refused({"parallelism": {"data": 4, "dataLocal": 1}}, before)
    assert "total parallelism size is immutable, previous size 2, curr size 4" in found


def test_a_configuration_refers_to_no_others() -> None:
    request = AdmissionRequest(LLM_CONFIGS, "CREATE")
    config = {"metadata": {"name": "c"}, "spec": {"baseRefs": [{"name": "b"}]}}
    [found] = validate_llm_config(config, None, request)
    assert (found.path, found.reason) == ("spec.baseRefs", "Forbidden")
    config = {"metadata": {"name": "c"}, "spec": {"model": {}, "worker": {}}}
    assert list(validate_llm_config(config, None, request)) == []

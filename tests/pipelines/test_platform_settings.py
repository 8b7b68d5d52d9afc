"""Every field of kfp-kubernetes' settings, as it is on the pod."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from kubeling.kube.objects import Obj
from kubeling.pipelines.ir import ComponentSpec
from kubeling.pipelines.ir_reading import parse_spec
from kubeling.pipelines.kubernetes import apply_settings
from kubeling.pipelines.platform_values import SettingsError
from kubeling.pipelines.task_config import take_task_config

GIVEN: dict[str, Any] = {
    "name": "from-a-parameter",
    "selector": {"disk": "ssd"},
    "toleration": {"key": "gpu", "operator": "Exists"},
    "tolerations": '[{"key": "a"}, {"key": "b", "tolerationSeconds": 5}]',
    "affinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "Exists"}]}]
        }
    },
}


def value(source: Mapping[str, Any]) -> Any:
    return GIVEN.get(source["componentInputParameter"])


def parameter(name: str) -> Obj:
    return {"componentInputParameter": name}


def pod_with(**settings: Any) -> Obj:
    pod: Obj = {"metadata": {"annotations": {"ours": "1"}}, "spec": {"containers": [{}]}}
    apply_settings(pod, settings, value)
    return pod


def spec_with(**settings: Any) -> Obj:
    spec: Obj = pod_with(**settings)["spec"]
    return spec


def test_labels_and_annotations_are_added_to_ours() -> None:
    metadata = pod_with(podMetadata={"labels": {"l": "1"}, "annotations": {"ours": "2"}})
    assert metadata["metadata"] == {"labels": {"l": "1"}, "annotations": {"ours": "1"}}


def test_node_selectors() -> None:
    assert spec_with(nodeSelector={"labels": {"a": "b"}})["nodeSelector"] == {"a": "b"}
    json = {"nodeSelectorJson": parameter("selector"), "labels": {"a": "b"}}
    assert spec_with(nodeSelector=json)["nodeSelector"] == {"disk": "ssd"}
    nothing = {"nodeSelectorJson": parameter("null")}
    assert "nodeSelector" not in spec_with(nodeSelector=nothing)


def test_tolerations() -> None:
    found = spec_with(
        tolerations=[
            {"key": "k", "operator": "Equal", "value": "v", "tolerationSeconds": "10"},
            {"tolerationJson": parameter("toleration")},
            {"tolerationJson": parameter("tolerations")},
            {"tolerationJson": parameter("null")},
        ]
    )["tolerations"]
    assert found == [
        {"key": "k", "operator": "Equal", "value": "v", "tolerationSeconds": 10},
        {"key": "gpu", "operator": "Exists"},
        {"key": "a"},
        {"key": "b", "tolerationSeconds": 5},
    ]


def test_node_affinity_is_a_demand_or_with_a_weight_a_wish() -> None:
    zone = {"key": "zone", "operator": "In", "values": ["a"]}
    found = spec_with(
        nodeAffinity=[
            {"matchExpressions": [zone]},
            {"matchExpressions": [zone], "weight": 7},
            {"nodeAffinityJson": parameter("affinity")},
            {"nodeAffinityJson": parameter("null")},
        ]
    )["affinity"]["nodeAffinity"]
    demanded = found["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert [sorted(term) for term in demanded] == [["matchExpressions"], ["matchFields"]]
    wish = {"weight": 7, "preference": {"matchExpressions": [zone]}}
    assert found["preferredDuringSchedulingIgnoredDuringExecution"] == [wish]


def test_pod_affinity_and_its_contrary() -> None:
    found = spec_with(
        podAffinity=[
            {"matchPodLabels": {"app": "db"}, "topologyKey": "zone", "namespaces": ["n"]},
            {"matchPodLabels": {"app": "web"}, "topologyKey": "host", "weight": 3, "anti": True},
        ]
    )["affinity"]
    assert found["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] == [
        {
            "topologyKey": "zone",
            "labelSelector": {"matchLabels": {"app": "db"}},
            "namespaces": ["n"],
        }
    ]
    [wish] = found["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert wish["podAffinityTerm"]["labelSelector"] == {"matchLabels": {"app": "web"}}


def test_secrets_and_config_maps_as_variables_and_folders() -> None:
    spec = spec_with(
        secretAsEnv=[
            {"secretName": "s", "keyToEnv": [{"secretKey": "k", "envVar": "E"}], "optional": True},
            {"secretNameParameter": parameter("null"), "keyToEnv": [{"secretKey": "k"}]},
        ],
        configMapAsEnv=[
            {
                "configMapNameParameter": parameter("name"),
                "keyToEnv": [{"configMapKey": "k", "envVar": "C"}],
            }
        ],
        fieldPathAsEnv=[{"name": "P", "fieldPath": "metadata.name"}],
        secretAsVolume=[{"secretNameParameter": parameter("name"), "mountPath": "/s"}],
        configMapAsVolume=[{"configMapName": "c.with.dots", "mountPath": "/c", "optional": True}],
    )
    env = {e["name"]: e["valueFrom"] for e in spec["containers"][0]["env"]}
    assert env == {
        "E": {"secretKeyRef": {"name": "s", "key": "k", "optional": True}},
        "C": {"configMapKeyRef": {"name": "from-a-parameter", "key": "k"}},
        "P": {"fieldRef": {"fieldPath": "metadata.name"}},
    }
    assert spec["volumes"] == [
        {
            "name": "from-a-parameter",
            "secret": {"secretName": "from-a-parameter", "optional": False},
        },
        {"name": "kfp-1", "configMap": {"name": "c.with.dots", "optional": True}},
    ]
    paths = [mount["mountPath"] for mount in spec["containers"][0]["volumeMounts"]]
    assert paths == ["/s", "/c"]


def test_claims_scratch_space_and_shared_memory() -> None:
    spec = spec_with(
        pvcMount=[
            {"pvcNameParameter": parameter("name"), "mountPath": "/a", "subPath": "x"},
            {"constant": "from-a-parameter", "mountPath": "/b"},
        ],
        emptyDirMounts=[{"volumeName": "e", "mountPath": "/e", "sizeLimit": "1Gi"}],
        enabledSharedMemory={"volumeName": "shm", "size": "64Mi"},
        genericEphemeralVolume=[
            {
                "volumeName": "g",
                "mountPath": "/g",
                "accessModes": ["RWO"],
                "size": "2Gi",
                "storageClassName": "fast",
                "metadata": {"labels": {"l": "1"}},
            }
        ],
    )
    claim = {"persistentVolumeClaim": {"claimName": "from-a-parameter"}}
    template = {
        "metadata": {"labels": {"l": "1"}},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "2Gi"}},
            "storageClassName": "fast",
        },
    }
    assert spec["volumes"] == [
        {"name": "from-a-parameter", **claim},
        {"name": "e", "emptyDir": {"sizeLimit": "1Gi"}},
        {"name": "g", "ephemeral": {"volumeClaimTemplate": template}},
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
    ]
    mounts = {m["mountPath"]: m for m in spec["containers"][0]["volumeMounts"]}
    assert mounts.keys() == {"/a", "/b", "/e", "/g", "/dev/shm"}
    assert mounts["/a"]["subPath"] == "x"


def test_images_deadlines_and_users() -> None:
    spec = spec_with(
        imagePullSecret=[{"secretName": "a"}, {"secretNameParameter": parameter("null")}],
        imagePullPolicy="Always",
        activeDeadlineSeconds="30",
        securityContext={"runAsUser": "1000", "runAsGroup": "1", "runAsNonRoot": True},
    )
    assert spec["imagePullSecrets"] == [{"name": "a"}]
    assert spec["activeDeadlineSeconds"] == 30
    container = spec["containers"][0]
    assert container["imagePullPolicy"] == "Always"
    user = {"runAsUser": 1000, "runAsGroup": 1, "runAsNonRoot": True}
    assert container["securityContext"] == user


def test_init_containers_and_sidecars() -> None:
    spec = spec_with(
        emptyDirMounts=[{"volumeName": "e", "mountPath": "/e"}],
        initContainers=[
            {
                "name": "first",
                "image": "busybox",
                "command": ["true"],
                "volumeMounts": [{"volumeName": "e", "mountPath": "/there"}],
            },
            {"name": "beside", "image": "busybox", "restartPolicy": "Always"},
        ],
    )
    first, beside = spec["initContainers"]
    assert first["volumeMounts"] == [{"name": "e", "mountPath": "/there"}]
    assert beside["restartPolicy"] == "Always"


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"imagePullPolicy": "Sometimes"}, 'Unsupported value: "Sometimes"'),
        ({"pvcMount": [{"mountPath": "/a"}]}, "pvcMount /a: the claim's name is empty"),
        ({"securityContext": {"privileged": True}}, "securityContext.privileged"),
        ({"nodeSelector": {"nodeSelectorJson": parameter("name")}}, "nodeSelector: Invalid value"),
        ({"initContainers": [{"name": "a", "restartPolicy": "Never"}]}, "restartPolicy"),
        (
            {"initContainers": [{"name": "a", "volumeMounts": [{"volumeName": "v"}]}]},
            'the pod has no "v"',
        ),
    ],
)
def test_what_cannot_be_met_is_refused(settings: Obj, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        pod_with(**settings)


def _component(*passed: Obj) -> ComponentSpec:
    document = {
        "schemaVersion": "2.1.0",
        "pipelineInfo": {"name": "p"},
        "root": {"dag": {}},
        "deploymentSpec": {"executors": {"e": {"container": {"image": "i"}}}},
        "components": {
            "c": {
                "executorLabel": "e",
                "inputDefinitions": {"parameters": {"config": {"parameterType": "TASK_CONFIG"}}},
                "taskConfigPassthroughs": list(passed),
            }
        },
    }
    return parse_spec(document).components["c"]


def test_a_component_is_told_its_settings_instead_of_having_them() -> None:
    spec = spec_with(
        nodeSelector={"labels": {"a": "b"}},
        tolerations=[{"key": "k"}],
        fieldPathAsEnv=[{"name": "P", "fieldPath": "metadata.name"}],
    )
    env = spec["containers"][0]["env"]
    told = take_task_config(
        _component(
            {"field": "KUBERNETES_NODE_SELECTOR"},
            {"field": "ENV", "applyToTask": True},
            {"field": "RESOURCES"},
        ),
        spec,
    )
    assert told == {"config": {"nodeSelector": {"a": "b"}, "env": env}}
    assert "nodeSelector" not in spec
    assert spec["containers"][0]["env"] == env
    assert spec["tolerations"] == [{"key": "k"}]

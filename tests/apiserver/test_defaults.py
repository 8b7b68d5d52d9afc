"""Built-in kinds read back as any cluster completes them."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeling.apiserver.builtin.resources import BUILTIN_RESOURCES
from kubeling.apiserver.builtin.types import definition_schema
from kubeling.apiserver.defaults import set_defaults
from kubeling.apiserver.schema import compile_schema

Obj = dict[str, Any]


def completed(api_version: str, kind: str, **parts: Any) -> Obj:
    obj: Obj = {"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}, **parts}
    set_defaults(obj)
    return obj


def template(**container: Any) -> Obj:
    return {
        "metadata": {"labels": {"app": "x"}},
        "spec": {"containers": [{"name": "c", "image": "nginx:1", **container}]},
    }


COMPLETED_CONTAINER = {
    "name": "c",
    "image": "nginx:1",
    "imagePullPolicy": "IfNotPresent",
    "resources": {},
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
}
COMPLETED_TEMPLATE = {
    "metadata": {"labels": {"app": "x"}},
    "spec": {
        "containers": [COMPLETED_CONTAINER],
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "securityContext": {},
        "schedulerName": "default-scheduler",
    },
}


class TestPods:
    def pod(self, **spec: Any) -> Obj:
        found: Obj = completed("v1", "Pod", spec=spec)["spec"]
        return found

    def test_a_minimal_pod(self) -> None:
        assert self.pod(containers=[{"name": "c", "image": "nginx:1"}]) == {
            **COMPLETED_TEMPLATE["spec"],
            "enableServiceLinks": True,
            "preemptionPolicy": "PreemptLowerPriority",
            "priority": 0,
        }

    @pytest.mark.parametrize(
        ("image", "policy"),
        [
            ("nginx", "Always"),
            ("nginx:latest", "Always"),
            ("nginx:1.27", "IfNotPresent"),
            ("localhost:5000/nginx", "Always"),
            ("localhost:5000/nginx:1", "IfNotPresent"),
            ("nginx@sha256:abc", "IfNotPresent"),
            ("nginx:latest@sha256:abc", "Always"),
        ],
    )
    def test_only_moving_tags_are_always_pulled(self, image: str, policy: str) -> None:
        pod = self.pod(containers=[{"name": "c", "image": image}])
        assert pod["containers"][0]["imagePullPolicy"] == policy

    def test_who_limits_a_resource_requests_it(self) -> None:
        resources = {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "100m"}}
        (container,) = self.pod(containers=[{"name": "c", "resources": resources}])["containers"]
        assert container["resources"]["requests"] == {"cpu": "100m", "memory": "1Gi"}

    def test_templates_do_not_request_it_yet(self) -> None:
        resources = {"limits": {"cpu": "1"}}
        spec = {"template": template(resources=resources)}
        made = completed("apps/v1", "Deployment", spec=spec)["spec"]["template"]["spec"]
        assert made["containers"][0]["resources"] == {"limits": {"cpu": "1"}}
        assert "enableServiceLinks" not in made

    def test_probes_hooks_and_references(self) -> None:
        (container,) = self.pod(
            initContainers=[
                {
                    "name": "c",
                    "livenessProbe": {"httpGet": {"port": 80}, "periodSeconds": 5},
                    "lifecycle": {"preStop": {"httpGet": {"port": 1}}},
                    "env": [
                        {"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
                    ],
                }
            ]
        )["initContainers"]
        assert container["livenessProbe"] == {
            "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
            "periodSeconds": 5,
            "timeoutSeconds": 1,
            "successThreshold": 1,
            "failureThreshold": 3,
        }
        assert container["lifecycle"]["preStop"]["httpGet"]["scheme"] == "HTTP"
        assert container["env"][0]["valueFrom"]["fieldRef"]["apiVersion"] == "v1"

    def test_volumes(self) -> None:
        volumes = self.pod(
            volumes=[
                {"name": "a"},
                {"name": "b", "secret": {"secretName": "s"}},
                {"name": "c", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}},
            ]
        )["volumes"]
        assert volumes[0] == {"name": "a", "emptyDir": {}}
        assert volumes[1]["secret"]["defaultMode"] == 0o644
        token = volumes[2]["projected"]["sources"][0]["serviceAccountToken"]
        assert token["expirationSeconds"] == 3600

    def test_the_old_name_of_the_account_follows_the_new_one(self) -> None:
        pod = self.pod(serviceAccountName="new", serviceAccount="old")
        assert pod["serviceAccount"] == pod["serviceAccountName"] == "new"
        assert self.pod(serviceAccount="old")["serviceAccountName"] == "old"

    def test_on_the_hosts_network_ports_are_the_hosts(self) -> None:
        containers = [{"name": "c", "ports": [{"containerPort": 80}]}]
        pod = self.pod(hostNetwork=True, containers=containers)
        port = {"containerPort": 80, "hostPort": 80, "protocol": "TCP"}
        assert pod["containers"][0]["ports"] == [port]


class TestWorkloads:
    def test_a_minimal_deployment(self) -> None:
        spec = {"selector": {"matchLabels": {"app": "x"}}, "template": template()}
        assert completed("apps/v1", "Deployment", spec=spec)["spec"] == {
            "selector": {"matchLabels": {"app": "x"}},
            "replicas": 1,
            "revisionHistoryLimit": 10,
            "progressDeadlineSeconds": 600,
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"},
            },
            "template": COMPLETED_TEMPLATE,
        }

    def test_what_does_not_roll_has_no_details_of_rolling(self) -> None:
        spec: Obj = {"strategy": {"type": "Recreate"}, "replicas": 0}
        spec = completed("apps/v1", "Deployment", spec=spec)["spec"]
        assert spec["strategy"] == {"type": "Recreate"}
        assert spec["replicas"] == 0
        strategy = {"updateStrategy": {"type": "OnDelete"}}
        made = completed("apps/v1", "DaemonSet", spec=strategy)["spec"]
        assert made["updateStrategy"] == {"type": "OnDelete"}

    def test_a_stateful_set_with_claims(self) -> None:
        claim = {"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}
        spec = completed("apps/v1", "StatefulSet", spec={"volumeClaimTemplates": [claim]})["spec"]
        assert spec["updateStrategy"]["rollingUpdate"] == {"partition": 0}
        (made,) = spec["volumeClaimTemplates"]
        assert made["kind"] == "PersistentVolumeClaim"
        assert made["spec"]["volumeMode"] == "Filesystem"

    @pytest.mark.parametrize(
        ("stated", "made"),
        [
            ({}, (1, 1)),
            ({"parallelism": 3}, (3, None)),
            ({"completions": 4}, (1, 4)),
        ],
    )
    def test_how_often_a_job_runs(self, stated: Obj, made: tuple[int, int | None]) -> None:
        spec = completed("batch/v1", "Job", spec=stated)["spec"]
        assert (spec["parallelism"], spec.get("completions")) == made

    def test_a_minimal_job(self) -> None:
        job = completed("batch/v1", "Job", spec={"template": template()})
        assert job["metadata"]["labels"] == {"app": "x"}
        del job["spec"]["template"]
        assert job["spec"] == {
            "backoffLimit": 6,
            "completionMode": "NonIndexed",
            "completions": 1,
            "manualSelector": False,
            "parallelism": 1,
            "podReplacementPolicy": "TerminatingOrFailed",
            "suspend": False,
        }

    def test_a_cron_job_leaves_its_jobs_to_their_own_defaults(self) -> None:
        spec = {"schedule": "@daily", "jobTemplate": {"spec": {"template": template()}}}
        made = completed("batch/v1", "CronJob", spec=spec)["spec"]
        assert made["concurrencyPolicy"] == "Allow"
        assert made["jobTemplate"]["spec"] == {"template": COMPLETED_TEMPLATE}

    def test_an_autoscaler_watches_the_processor_unless_told_otherwise(self) -> None:
        spec = completed("autoscaling/v2", "HorizontalPodAutoscaler", spec={"maxReplicas": 3})
        target = {"type": "Utilization", "averageUtilization": 80}
        assert spec["spec"] == {
            "minReplicas": 1,
            "maxReplicas": 3,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
        }
        spec = completed(
            "autoscaling/v2", "HorizontalPodAutoscaler", spec={"behavior": {"scaleDown": {}}}
        )
        behavior = spec["spec"]["behavior"]
        assert behavior["scaleUp"]["policies"][0] == {
            "type": "Pods",
            "value": 4,
            "periodSeconds": 15,
        }


class TestTheRest:
    def test_a_service(self) -> None:
        spec = {"ports": [{"port": 80}, {"port": 81, "targetPort": "web"}], "type": "NodePort"}
        made = completed("v1", "Service", spec=spec)["spec"]
        assert made["ports"][0] == {"port": 80, "targetPort": 80, "protocol": "TCP"}
        assert made["ports"][1]["targetPort"] == "web"
        assert made["externalTrafficPolicy"] == made["internalTrafficPolicy"] == "Cluster"
        assert made["sessionAffinity"] == "None"

    def test_an_external_name_has_no_addresses(self) -> None:
        spec = {"type": "ExternalName", "externalName": "example.com"}
        made = completed("v1", "Service", spec=spec)["spec"]
        assert made.keys() == {"type", "externalName", "sessionAffinity"}

    def test_the_plain_text_of_a_secret_is_kept_encoded(self) -> None:
        secret = completed("v1", "Secret", stringData={"a": "b"}, data={"c": "ZA=="})
        assert secret["data"] == {"a": "Yg==", "c": "ZA=="}
        assert secret["type"] == "Opaque"
        assert "stringData" not in secret

    def test_a_containers_limits(self) -> None:
        limits = [
            {"type": "Container", "max": {"cpu": "2"}, "min": {"memory": "1Mi"}},
            {"type": "Pod", "max": {"cpu": "2"}},
        ]
        container, pod = completed("v1", "LimitRange", spec={"limits": limits})["spec"]["limits"]
        assert container["default"] == {"cpu": "2"}
        assert container["defaultRequest"] == {"cpu": "2", "memory": "1Mi"}
        assert "default" not in pod

    def test_a_network_policy_rules_what_it_speaks_of(self) -> None:
        made = completed("networking.k8s.io/v1", "NetworkPolicy", spec={"egress": [{}]})
        assert made["spec"]["policyTypes"] == ["Ingress", "Egress"]

    def test_a_webhook(self) -> None:
        service = {"name": "s", "namespace": "n"}
        made = completed(
            "admissionregistration.k8s.io/v1",
            "MutatingWebhookConfiguration",
            webhooks=[{"name": "w", "clientConfig": {"service": service}}],
        )
        (webhook,) = made["webhooks"]
        assert webhook["failurePolicy"] == "Fail"
        assert webhook["timeoutSeconds"] == 10
        assert webhook["clientConfig"]["service"]["port"] == 443

    def test_subjects_of_a_binding(self) -> None:
        subjects = [{"kind": "User", "name": "a"}, {"kind": "ServiceAccount", "name": "b"}]
        made = completed("rbac.authorization.k8s.io/v1", "RoleBinding", subjects=subjects)
        assert made["subjects"][0]["apiGroup"] == "rbac.authorization.k8s.io"
        assert "apiGroup" not in made["subjects"][1]


KINDS = st.sampled_from([(e.resource.api_version, e.resource.kind) for e in BUILTIN_RESOURCES])
NAMES = ("spec", "template", "containers", "ports", "volumes", "type", "metrics", "subjects",
         "behavior", "labels", "metadata", "resources", "limits", "webhooks", "updateStrategy",
         "strategy", "env", "image", "stringData", "data", "podFailurePolicy")  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(NAMES), inner, min_size=1, max_size=4)
    ),
    max_leaves=16,
)
PARTS = st.dictionaries(st.sampled_from([n for n in NAMES if n != "metadata"]), JSON, max_size=4)


@given(KINDS, PARTS)
def test_whatever_is_sent_can_be_completed_and_is_complete_then(
    kind: tuple[str, str], parts: Obj
) -> None:
    obj = completed(*kind, **parts)
    again = copy.deepcopy(obj)
    set_defaults(again)
    assert again == obj


@pytest.mark.parametrize("entry", BUILTIN_RESOURCES, ids=lambda e: e.definition)
def test_defaults_are_fields_of_their_kinds_and_of_the_right_types(entry: Any) -> None:
    spec: Obj = {
        "template": template(),
        "jobTemplate": {"spec": {"template": template()}},
        "ports": [{"port": 80}],
        "behavior": {},
    }
    schema = compile_schema({"x-kubeling-ref": entry.definition}, definition_schema, root=True)
    obj: Obj = {"metadata": {"name": "x"}, "spec": spec, "stringData": {"a": "b"}}
    obj |= {"apiVersion": entry.resource.api_version, "kind": entry.resource.kind}
    schema.prune(obj)
    set_defaults(obj)
    assert schema.prune(obj) == []
    assert [error for error in schema.validate(obj) if error.reason != "Required value"] == []


def test_a_minimal_driver_of_volumes() -> None:
    assert completed("storage.k8s.io/v1", "CSIDriver", spec={})["spec"] == {
        "attachRequired": True,
        "podInfoOnMount": False,
        "storageCapacity": False,
        "fsGroupPolicy": "ReadWriteOnceWithFSType",
        "volumeLifecycleModes": ["Persistent"],
        "requiresRepublish": False,
        "seLinuxMount": False,
    }

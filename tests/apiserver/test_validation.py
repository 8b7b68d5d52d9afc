"""What cannot work is refused, in the words people find when they search for them."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeling.apiserver.builtin.resources import BUILTIN_RESOURCES
from kubeling.apiserver.defaults import set_defaults
from kubeling.apiserver.validation import validate_builtin

Obj = dict[str, Any]


def obj(api_version: str, kind: str, **parts: Any) -> Obj:
    made: Obj = {"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}, **parts}
    made = copy.deepcopy(made)
    set_defaults(made)
    return made


def wrong(new: Obj, old: Obj | None = None) -> list[str]:
    return [str(error) for error in validate_builtin(new, old)]


def template(labels: Obj | None = None, **spec: Any) -> Obj:
    containers = [{"name": "c", "image": "nginx"}]
    return {
        "metadata": {"labels": labels or {"app": "x"}},
        "spec": {"containers": containers, **spec},
    }


def pod(**spec: Any) -> Obj:
    return obj("v1", "Pod", **template(**spec))


def container(**fields: Any) -> Obj:
    return pod(containers=[{"name": "c", "image": "nginx", **fields}])


class TestContainers:
    def test_a_plain_pod_is_fine(self) -> None:
        assert wrong(pod()) == []

    def test_a_pod_has_containers_with_images_and_names_of_their_own(self) -> None:
        assert wrong(pod(containers=[])) == ["spec.containers: Required value"]
        assert wrong(pod(containers=[{"name": "a"}])) == [
            "spec.containers[0].image: Required value"
        ]
        twice = pod(containers=[{"name": "a", "image": "x"}, {"name": "a", "image": "x"}])
        assert wrong(twice) == ['spec.containers[1].name: Duplicate value: "a"']

    def test_names_are_labels(self) -> None:
        (error,) = wrong(container(name="My_App"))
        assert error.startswith(
            'spec.containers[0].name: Invalid value: "My_App": a lowercase RFC 1123 label must '
            "consist of lower case alphanumeric characters or '-', and must start and end with an "
            "alphanumeric character"
        )

    @pytest.mark.parametrize(
        ("fields", "error"),
        [
            (
                {"ports": [{"containerPort": 0}]},
                "ports[0].containerPort: Invalid value: 0: must be between 1 and 65535, inclusive",
            ),
            (
                {"ports": [{"containerPort": 1, "name": "a"}, {"containerPort": 2, "name": "a"}]},
                'ports[1].name: Duplicate value: "a"',
            ),
            (
                {"volumeMounts": [{"name": "nope", "mountPath": "/x"}]},
                'volumeMounts[0].name: Not found: "nope"',
            ),
            (
                {"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}},
                'resources.requests: Invalid value: "2": must be less than or equal to cpu limit '
                "of 1",
            ),
            (
                {"resources": {"limits": {"memory": "-1"}}},
                'resources.limits[memory]: Invalid value: "-1": must be greater than or equal to 0',
            ),
            (
                {"resources": {"limits": {"gpu": "1"}}},
                'resources.limits[gpu]: Invalid value: "gpu": must be a standard resource type or '
                "fully qualified",
            ),
            (
                {"resources": {"requests": {"pods": "1"}}},
                'resources.requests[pods]: Invalid value: "pods": must be a standard resource for '
                "containers",
            ),
            (
                {"imagePullPolicy": "Sometimes"},
                'imagePullPolicy: Unsupported value: "Sometimes": supported values: "Always", '
                '"IfNotPresent", "Never"',
            ),
            (
                {"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.x"}}}]},
                "env[0].valueFrom.fieldRef.fieldPath: Invalid value: "
                '"spec.x": error converting fieldPath: field label not supported: spec.x',
            ),
            (
                {"livenessProbe": {"periodSeconds": 1}},
                "livenessProbe: Required value: must specify a handler type",
            ),
            (
                {"livenessProbe": {"tcpSocket": {"port": 1}, "successThreshold": 2}},
                "livenessProbe.successThreshold: Invalid value: 2: must be 1",
            ),
        ],
    )
    def test_details(self, fields: Obj, error: str) -> None:
        assert f"spec.containers[0].{error}" in wrong(container(**fields))

    def test_a_device_cannot_be_shared(self) -> None:
        resources = {"requests": {"nvidia.com/gpu": "1"}}
        (error,) = wrong(container(resources=resources))
        assert error.endswith("Limit must be set for non overcommitable resources")

    def test_only_sidecars_are_probed_while_initializing(self) -> None:
        probe = {"exec": {"command": ["true"]}}
        initial = {"name": "i", "image": "x", "readinessProbe": probe}
        assert wrong(pod(initContainers=[initial])) == [
            "spec.initContainers[0].readinessProbe: Forbidden: may not be set for init containers "
            "without restartPolicy=Always"
        ]
        assert wrong(pod(initContainers=[{**initial, "restartPolicy": "Always"}])) == []


class TestPods:
    def test_volumes_are_of_one_type_each(self) -> None:
        two = {"name": "v", "emptyDir": {}, "secret": {"secretName": "s"}}
        assert wrong(pod(volumes=[two])) == [
            "spec.volumes[0].secret: Forbidden: may not specify more than 1 volume type"
        ]
        assert wrong(pod(volumes=[{"name": "v", "configMap": {}}])) == [
            "spec.volumes[0].configMap.name: Required value"
        ]

    def test_tolerations(self) -> None:
        assert wrong(pod(tolerations=[{"operator": "Exists"}])) == []
        (error,) = wrong(pod(tolerations=[{"value": "x"}]))
        assert "operator must be Exists when `key` is empty" in error

    def test_an_update_may_change_little(self) -> None:
        old = pod()
        new = copy.deepcopy(old)
        new["spec"]["containers"][0]["image"] = "other"
        assert wrong(new, old) == []
        new["spec"]["restartPolicy"] = "Never"
        (error,) = wrong(new, old)
        assert error.startswith(
            "spec: Forbidden: pod updates may not change fields other than "
            "`spec.containers[*].image`"
        )
        new["spec"]["containers"].append({"name": "d", "image": "x"})
        assert wrong(new, old) == [
            "spec.containers: Forbidden: pod updates may not add or remove containers"
        ]


class TestWorkloads:
    def deployment(self, **spec: Any) -> Obj:
        base = {"selector": {"matchLabels": {"app": "x"}}, "template": template()}
        return obj("apps/v1", "Deployment", spec={**base, **spec})

    def test_a_selector_selects_the_template(self) -> None:
        assert wrong(self.deployment()) == []
        (error,) = wrong(self.deployment(selector={"matchLabels": {"app": "y"}}))
        assert error == (
            'spec.template.metadata.labels: Invalid value: {"app":"x"}: `selector` does not match '
            "template `labels`"
        )
        (error,) = wrong(self.deployment(selector={}))
        assert "empty selector is invalid for deployment" in error

    def test_a_selector_is_for_good(self) -> None:
        labels = {"app": "x", "b": "y"}
        new = self.deployment(selector={"matchLabels": labels}, template=template(labels))
        (error,) = wrong(new, self.deployment())
        assert error == (
            'spec.selector: Invalid value: {"matchLabels":{"app":"x","b":"y"}}: field is immutable'
        )

    def test_terms_of_a_selector(self) -> None:
        terms = [{"key": "app", "operator": "In"}, {"key": "app", "operator": "Is"}]
        errors = wrong(self.deployment(selector={"matchExpressions": terms}))
        assert errors == [
            "spec.selector.matchExpressions[0].values: Required value: must be specified when "
            "`operator` is 'In' or 'NotIn'",
            'spec.selector.matchExpressions[1].operator: Invalid value: "Is": not a valid selector '
            "operator",
        ]

    def test_its_pods_always_restart(self) -> None:
        (error,) = wrong(self.deployment(template=template(restartPolicy="Never")))
        assert error == (
            'spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: '
            '"Always"'
        )

    def test_strategies(self) -> None:
        both = {"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}
        (error,) = wrong(self.deployment(strategy=both))
        assert "may not be specified when strategy `type` is 'Recreate'" in error
        rolling = {"maxSurge": 0, "maxUnavailable": "0%"}
        (error,) = wrong(self.deployment(strategy={"rollingUpdate": rolling}))
        assert "may not be 0 when `maxSurge` is 0" in error
        (error,) = wrong(self.deployment(replicas=-1))
        assert error == "spec.replicas: Invalid value: -1: must be greater than or equal to 0"

    def test_a_stateful_set_mounts_its_claims(self) -> None:
        mounting = template()
        mounts = [{"name": "data", "mountPath": "/data"}]
        mounting["spec"]["containers"][0]["volumeMounts"] = mounts
        claim = {"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}
        base = {"selector": {"matchLabels": {"app": "x"}}, "template": mounting}
        spec = {**base, "serviceName": "s", "volumeClaimTemplates": [claim]}
        old = obj("apps/v1", "StatefulSet", spec=spec)
        assert wrong(old) == []
        new = copy.deepcopy(old)
        new["spec"]["replicas"] = 4
        assert wrong(new, old) == []
        new["spec"]["serviceName"] = "other"
        (error,) = wrong(new, old)
        assert error.startswith(
            "spec: Forbidden: updates to statefulset spec for fields other than"
        )

    def test_an_autoscaler_has_room(self) -> None:
        target = {"kind": "Deployment", "name": "web", "apiVersion": "apps/v1"}
        spec = {"scaleTargetRef": target, "minReplicas": 5, "maxReplicas": 2}
        (error,) = wrong(obj("autoscaling/v2", "HorizontalPodAutoscaler", spec=spec))
        assert "must be greater than or equal to `minReplicas`" in error

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"minReplicas": 0}, "spec.metrics: Forbidden: must specify at least one Object or"),
            ({"maxReplicas": 0, "minReplicas": 0}, "spec.maxReplicas: Required value"),
            (
                {"metrics": [{"type": "Pods"}]},
                "spec.metrics[0].pods: Required value: must populate information",
            ),
            (
                {"behavior": {"scaleUp": {"policies": []}}},
                "spec.behavior.scaleUp.policies: Required value: must specify at least one Policy",
            ),
            (
                {"behavior": {"scaleUp": {"policies": [
                    {"type": "Pods", "value": 1, "periodSeconds": 1801}]}}},
                "spec.behavior.scaleUp.policies[0].periodSeconds: Invalid value: 1801: must be "
                "less than or equal to 1800",
            ),
        ],
    )  # fmt: skip
    def test_an_autoscaler_says_what_it_measures_and_how_fast_it_acts(
        self, change: Obj, said: str
    ) -> None:
        target = {"kind": "Deployment", "name": "web", "apiVersion": "apps/v1"}
        spec = {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 2, **change}
        errors = wrong(obj("autoscaling/v2", "HorizontalPodAutoscaler", spec=spec))
        assert any(error.startswith(said) for error in errors), errors

    def test_an_autoscaler_may_go_to_zero_by_an_external_metric(self) -> None:
        target = {"kind": "Deployment", "name": "web", "apiVersion": "apps/v1"}
        goal = {"type": "AverageValue", "averageValue": "30"}
        metric = {"type": "External", "external": {"metric": {"name": "queue"}, "target": goal}}
        spec = {"scaleTargetRef": target, "minReplicas": 0, "maxReplicas": 2, "metrics": [metric]}
        assert wrong(obj("autoscaling/v2", "HorizontalPodAutoscaler", spec=spec)) == []


class TestJobs:
    def job(self, **spec: Any) -> Obj:
        base = {"template": template(restartPolicy="Never")}
        return obj("batch/v1", "Job", spec={**base, **spec})

    @pytest.mark.parametrize(
        ("spec", "said"),
        [
            (
                {"backoffLimitPerIndex": 1},
                "spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode",
            ),
            (
                {"completionMode": "Indexed", "completions": 3, "maxFailedIndexes": 1},
                "spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified",
            ),
            ({"managedBy": "queue"}, "spec.managedBy: Invalid value"),
            (
                {"podFailurePolicy": {"rules": [{"action": "FailIndex", "onExitCodes": {
                    "operator": "In", "values": [1]}}]}},
                'spec.podFailurePolicy.rules[0].action: Invalid value: "FailIndex": requires the',
            ),
            (
                {"podFailurePolicy": {"rules": [{"action": "Count", "onExitCodes": {
                    "operator": "In", "values": [2, 0]}}]}},
                "spec.podFailurePolicy.rules[0].onExitCodes.values[1]: Invalid value: 0",
            ),
            (
                {"podFailurePolicy": {"rules": [{"action": "Count"}]}},
                "spec.podFailurePolicy.rules[0]: Invalid value: specifying one of OnExitCodes",
            ),
            (
                {"completionMode": "Indexed", "completions": 3,
                 "successPolicy": {"rules": [{"succeededIndexes": "0-3"}]}},
                "spec.successPolicy.rules[0].succeededIndexes: Invalid value: \"0-3\": error",
            ),
            (
                {"completionMode": "Indexed", "completions": 3,
                 "successPolicy": {"rules": [{"succeededIndexes": "0,1", "succeededCount": 3}]}},
                "spec.successPolicy.rules[0].succeededCount: Invalid value: 3: must be less than",
            ),
        ],
    )  # fmt: skip
    def test_policies_fit_the_job(self, spec: Obj, said: str) -> None:
        errors = wrong(self.job(**spec))
        assert any(error.startswith(said) for error in errors), errors

    def test_a_job_ends(self) -> None:
        assert wrong(self.job()) == []
        assert wrong(self.job(template=template())) == [
            'spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"'
        ]

    def test_an_indexed_job_has_so_many_indexes_and_may_grow_as_a_whole(self) -> None:
        indexed = {"completionMode": "Indexed", "parallelism": 2}
        assert wrong(self.job(**indexed)) == [
            "spec.completions: Required value: when completion mode is Indexed"
        ]
        old = self.job(**indexed, completions=2)
        assert wrong(self.job(**indexed, completions=3), old) != []
        assert wrong(self.job(completionMode="Indexed", parallelism=3, completions=3), old) == []

    def test_a_template_changes_only_while_the_job_is_suspended(self) -> None:
        new = {"template": template(restartPolicy="OnFailure")}
        assert wrong(self.job(**new), self.job()) == [
            "spec.template: Invalid value: field is immutable"
        ]
        assert wrong(self.job(**new), self.job(suspend=True)) == []

    @pytest.mark.parametrize(
        "schedule", ["*/5 * * * *", "@hourly", "@every 90m", "0 9 * * mon-fri"]
    )
    def test_schedules(self, schedule: str) -> None:
        spec = {"schedule": schedule, "jobTemplate": {"spec": self.job()["spec"]}}
        assert wrong(obj("batch/v1", "CronJob", spec=spec)) == []

    @pytest.mark.parametrize(
        "schedule", ["* * * *", "61 * * * *", "@sometimes", "TZ=UTC * * * * *"]
    )
    def test_what_is_no_schedule(self, schedule: str) -> None:
        spec = {"schedule": schedule, "jobTemplate": {"spec": self.job()["spec"]}}
        (error,) = wrong(obj("batch/v1", "CronJob", spec=spec))
        assert error.startswith("spec.schedule: Invalid value")

    def test_a_cron_job_leaves_room_for_the_names_of_its_jobs(self) -> None:
        spec = {
            "schedule": "@daily",
            "jobTemplate": {"spec": self.job()["spec"]},
            "timeZone": "No/Where",
        }
        made = obj("batch/v1", "CronJob", spec=spec)
        made["metadata"]["name"] = "x" * 53
        assert [error.partition(":")[0] for error in wrong(made)] == [
            "metadata.name",
            "spec.timeZone",
        ]


class TestNetworkPolicies:
    def policy(self, **spec: Any) -> Obj:
        spec = {"podSelector": {}, **spec}
        return obj("networking.k8s.io/v1", "NetworkPolicy", spec=spec)

    def peer(self, **peer: Any) -> list[str]:
        return wrong(self.policy(ingress=[{"from": [peer]}]))

    def port(self, **port: Any) -> list[str]:
        return wrong(self.policy(egress=[{"ports": [port]}]))

    def test_all_that_a_policy_can_say(self) -> None:
        peers = [
            {"podSelector": {"matchLabels": {"a": "b"}}, "namespaceSelector": {}},
            {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}},
            {"ipBlock": {"cidr": "2001:db8::/32"}},
        ]
        ports = [{"port": "web"}, {"port": 80, "endPort": 90}, {"protocol": "SCTP"}]
        rule = {"from": peers, "ports": ports}
        assert wrong(self.policy(ingress=[rule, {}], policyTypes=["Ingress", "Egress"])) == []

    def test_a_peer_is_pods_or_a_block(self) -> None:
        at = "spec.ingress[0].from[0]"
        assert self.peer() == [f"{at}: Required value: must specify a peer"]
        block = {"cidr": "10.0.0.0/8"}
        assert self.peer(ipBlock=block, podSelector={}) == [
            f"{at}: Forbidden: may not specify both ipBlock and another peer"
        ]
        assert self.peer(ipBlock={"cidr": "10.0.0.1"}) == [
            f'{at}.ipBlock.cidr: Invalid value: "10.0.0.1": must be a valid CIDR value, '
            "(e.g. 10.9.8.0/24 or 2001:db8::/64)"
        ]
        assert self.peer(ipBlock={**block, "except": ["10.0.0.0/8"]}) == [
            f'{at}.ipBlock.except[0]: Invalid value: "10.0.0.0/8": must be a strict subset of '
            '`cidr`: "10.0.0.0/8"'
        ]

    def test_a_range_of_ports_begins_with_a_number(self) -> None:
        at = "spec.egress[0].ports[0]"
        assert self.port(port=80, endPort=79) == [
            f"{at}.endPort: Invalid value: 79: must be greater than or equal to `port`"
        ]
        assert self.port(endPort=79) == [
            f"{at}.endPort: Invalid value: 79: may not be specified when `port` is not specified"
        ]
        assert self.port(port="web", endPort=79) == [
            f"{at}.endPort: Invalid value: 79: may not be specified when `port` is non-numeric"
        ]

    def test_types_are_known(self) -> None:
        assert wrong(self.policy(policyTypes=["Both"])) == [
            'spec.policyTypes[0]: Unsupported value: "Both": supported values: "Egress", "Ingress"'
        ]


class TestServices:
    def service(self, **spec: Any) -> Obj:
        return obj("v1", "Service", spec={"ports": [{"port": 80}], **spec})

    def test_ports(self) -> None:
        assert wrong(self.service()) == []
        assert wrong(self.service(ports=[])) == ["spec.ports: Required value"]
        assert wrong(self.service(ports=[], clusterIP="None")) == []
        assert wrong(self.service(ports=[{"port": 1}, {"port": 2, "name": "b"}])) == [
            "spec.ports[0].name: Required value"
        ]
        ports = [{"port": 1, "name": "a"}, {"port": 1, "name": "b"}]
        assert wrong(self.service(ports=ports)) == [
            'spec.ports[1]: Duplicate value: {"protocol":"TCP","port":1}'
        ]

    def test_an_address_is_for_good(self) -> None:
        (error,) = wrong(self.service(clusterIP="10.0.0.2"), self.service(clusterIP="10.0.0.1"))
        assert "may not change once set" in error

    def test_an_ingress_leads_somewhere(self) -> None:
        (error,) = wrong(obj("networking.k8s.io/v1", "Ingress", spec={}))
        assert error == (
            "spec: Invalid value: []: either `defaultBackend` or `rules` must be specified"
        )


class TestData:
    def test_keys(self) -> None:
        (error,) = wrong(obj("v1", "ConfigMap", data={"a b": "x"}))
        assert error.startswith('data[a b]: Invalid value: "a b": a valid config key must consist')

    def test_what_was_declared_immutable_stays(self) -> None:
        old = obj("v1", "ConfigMap", data={"a": "1"}, immutable=True)
        new = obj("v1", "ConfigMap", data={"a": "2"}, immutable=True)
        assert wrong(new, old) == ["data: Forbidden: field is immutable when `immutable` is set"]

    def test_secrets_hold_what_their_type_says(self) -> None:
        assert wrong(obj("v1", "Secret", stringData={"a": "plain"})) == []
        assert wrong(
            obj("v1", "Secret", type="kubernetes.io/tls", stringData={"tls.crt": "c"})
        ) == ["data[tls.key]: Required value"]


class TestStorage:
    def claim(self, size: str = "1Gi", **spec: Any) -> Obj:
        base = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
        return obj("v1", "PersistentVolumeClaim", spec={**base, **spec})

    def test_claims(self) -> None:
        assert wrong(self.claim()) == []
        assert wrong(self.claim(accessModes=[])) == [
            "spec.accessModes: Required value: at least 1 access mode is required"
        ]
        assert wrong(self.claim("0")) == [
            'spec.resources[storage]: Invalid value: "0": must be greater than zero'
        ]

    def test_a_claim_can_be_bound_and_can_grow_and_nothing_else(self) -> None:
        assert wrong(self.claim(volumeName="v", storageClassName="s"), self.claim()) == []
        assert wrong(self.claim("2Gi"), self.claim()) == []
        (error,) = wrong(self.claim(), self.claim("2Gi"))
        assert "field can not be less than previous value" in error
        (error,) = wrong(self.claim(volumeName="w"), self.claim(volumeName="v"))
        assert error.startswith("spec: Forbidden: spec is immutable after creation")

    def test_a_volume_is_somewhere(self) -> None:
        spec = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"]}
        assert wrong(obj("v1", "PersistentVolume", spec=spec)) == [
            "spec: Required value: must specify a volume type"
        ]
        assert wrong(obj("v1", "PersistentVolume", spec={**spec, "hostPath": {"path": "/x"}})) == []

    def test_a_local_volume_says_where_it_is(self) -> None:
        spec = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"]}
        assert wrong(obj("v1", "PersistentVolume", spec={**spec, "local": {"path": "/x"}})) == [
            "spec.nodeAffinity: Required value: Local volume requires node affinity"
        ]

    def test_a_claim_has_one_source(self) -> None:
        source = {"kind": "PersistentVolumeClaim", "name": "a"}
        made = self.claim(dataSource=source)
        assert made["spec"]["dataSourceRef"] == source
        assert wrong(made) == []
        (error,) = wrong(self.claim(dataSource=source, dataSourceRef={**source, "name": "b"}))
        assert "must match dataSourceRef" in error


class TestAccess:
    RBAC = "rbac.authorization.k8s.io/v1"

    def test_a_rule_says_what_may_be_done_to_what(self) -> None:
        rules = [{"verbs": [], "apiGroups": [""], "resources": ["pods"]}]
        assert wrong(obj(self.RBAC, "Role", rules=rules)) == [
            "rules[0].verbs: Required value: verbs must contain at least one value"
        ]
        urls = [{"verbs": ["get"], "nonResourceURLs": ["/metrics"]}]
        assert wrong(obj(self.RBAC, "ClusterRole", rules=urls)) == []
        (error,) = wrong(obj(self.RBAC, "Role", rules=urls))[:1]
        assert "namespaced rules cannot apply to non-resource URLs" in error

    def test_a_binding_names_a_role_and_people(self) -> None:
        reference = {"kind": "Role", "name": "r"}
        subjects = [{"kind": "Person", "name": "ann"}]
        assert wrong(obj(self.RBAC, "RoleBinding", roleRef=reference, subjects=subjects)) == [
            'subjects[0].kind: Unsupported value: "Person": supported values: "Group", '
            '"ServiceAccount", "User"'
        ]
        account = [{"kind": "ServiceAccount", "name": "bob"}]
        (error,) = wrong(
            obj(
                self.RBAC,
                "ClusterRoleBinding",
                roleRef={"kind": "ClusterRole", "name": "r"},
                subjects=account,
            )
        )
        assert error == "subjects[0].namespace: Required value"


def test_a_webhook_can_be_reached_and_says_what_it_does() -> None:
    webhook = {"name": "w", "clientConfig": {}, "sideEffects": "Some", "timeoutSeconds": 60}
    made = obj(
        "admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", webhooks=[webhook]
    )
    assert [error.split(": ")[0] for error in wrong(made)] == [
        "webhooks[0].name",
        "webhooks[0].admissionReviewVersions",
        "webhooks[0].sideEffects",
        "webhooks[0].timeoutSeconds",
        "webhooks[0].clientConfig",
    ]


ABOUT = {"kind": "Pod", "name": "p", "namespace": "default"}
NEW_EVENT = {
    "regarding": ABOUT,
    "reason": "R",
    "type": "Normal",
    "action": "A",
    "eventTime": "2026-01-01T00:00:00.000000Z",
    "reportingController": "example.org/c",
    "reportingInstance": "i",
}


class TestEvents:
    def event(self, api_version: str, **fields: Any) -> Obj:
        made = obj(api_version, "Event", **fields)
        made["metadata"]["namespace"] = "default"
        return made

    def test_an_event_is_where_its_object_is(self) -> None:
        there = {**ABOUT, "namespace": "there"}
        assert wrong(self.event("v1", involvedObject=ABOUT, reason="R")) == []
        assert wrong(self.event("v1", involvedObject={"kind": "Node"}, reason="R")) == []
        assert wrong(self.event("v1", involvedObject=there, reason="R")) == [
            'involvedObject.namespace: Invalid value: "there": does not match event.namespace'
        ]

    def test_a_new_one_is_complete(self) -> None:
        new = self.event("events.k8s.io/v1", **NEW_EVENT)
        assert wrong(new) == []
        for field, value, error in (
            ("reportingController", "", "reportingController: Required value"),
            ("reportingController", "a/b/c", 'reportingController: Invalid value: "a/b/c"'),
            ("type", "Odd", 'type: Invalid value: "": has invalid value: Odd'),
            ("note", "x" * 1025, 'message: Invalid value: "": can have at most 1024 characters'),
            ("deprecatedCount", 1, 'count: Invalid value: "": needs to be unset'),
            ("series", {"count": 1}, 'series.count: Invalid value: "": should be at least 2'),
        ):
            assert wrong({**new, field: value})[0].startswith(error), field

    def test_it_changes_only_by_being_repeated(self) -> None:
        old = self.event("events.k8s.io/v1", **NEW_EVENT)
        series = {"count": 2, "lastObservedTime": "2026-01-01T00:00:00.000000Z"}
        assert wrong({**old, "series": series}, old) == []
        assert wrong({**old, "note": "other"}, old) == [
            'message: Invalid value: "other": field is immutable'
        ]


KINDS = [(e.resource.api_version, e.resource.kind) for e in BUILTIN_RESOURCES]


@pytest.mark.parametrize(("api_version", "kind"), KINDS)
def test_an_empty_object_is_refused_or_accepted_but_never_breaks_the_rules(
    api_version: str, kind: str
) -> None:
    empty = obj(api_version, kind)
    validate_builtin(empty, None)
    validate_builtin(empty, empty)
    validate_builtin({"apiVersion": api_version, "kind": kind, "metadata": {}}, empty)


@given(st.text(max_size=70))
def test_a_valid_container_name_is_a_label_of_at_most_63_characters(name: str) -> None:
    alphanumeric = "abcdefghijklmnopqrstuvwxyz0123456789"
    valid = (
        0 < len(name) <= 63
        and set(name) <= set(alphanumeric + "-")
        and name[0] in alphanumeric
        and name[-1] in alphanumeric
    )
    assert (wrong(container(name=name)) == []) == valid


class TestSecurity:
    def test_what_contradicts_itself(self) -> None:
        escalation = {"privileged": True, "allowPrivilegeEscalation": False}
        assert wrong(container(securityContext=escalation)) == [
            'spec.containers[0].securityContext: Invalid value: "": cannot set '
            "`allowPrivilegeEscalation` to false and `privileged` to true"
        ]
        assert wrong(pod(shareProcessNamespace=True, hostPID=True)) == [
            "spec.shareProcessNamespace: Invalid value: true: ShareProcessNamespace and HostPID "
            "cannot both be enabled"
        ]
        assert wrong(pod(hostUsers=False, hostIPC=True)) == [
            "spec.hostIPC: Forbidden: when `hostUsers` is false, this may not be true"
        ]

    def test_users_are_numbers_of_users(self) -> None:
        assert wrong(container(securityContext={"runAsUser": -1})) == [
            "spec.containers[0].securityContext.runAsUser: Invalid value: -1: must be between 0 "
            "and 2147483647, inclusive"
        ]

    def test_profiles_are_named_where_they_are_files(self) -> None:
        profile = {"seccompProfile": {"type": "Localhost"}}
        assert wrong(pod(securityContext=profile)) == [
            "spec.securityContext.seccompProfile.localhostProfile: Required value: must be set "
            "when type is Localhost"
        ]


class TestRestartsAndProbes:
    def test_rules_need_a_policy_and_codes(self) -> None:
        rules = [{"action": "Restart", "exitCodes": {"operator": "In", "values": [3]}}]
        assert wrong(container(restartPolicy="Never", restartPolicyRules=rules)) == []
        assert wrong(container(restartPolicyRules=rules)) == [
            "spec.containers[0].restartPolicy: Required value: must specify restartPolicy when "
            "restart rules are used"
        ]
        everything = [{**rules[0], "action": "RestartAllContainers"}]
        assert wrong(container(restartPolicy="Never", restartPolicyRules=everything)) == [
            "spec.containers[0].restartPolicyRules[0].action: Unsupported value: "
            '"RestartAllContainers": supported values: "Restart"'
        ]

    def test_a_readiness_probe_ends_nothing(self) -> None:
        probe = {"grpc": {"port": 80}, "terminationGracePeriodSeconds": 3}
        assert wrong(container(livenessProbe=probe)) == []
        assert wrong(container(readinessProbe=probe)) == [
            "spec.containers[0].readinessProbe.terminationGracePeriodSeconds: Invalid value: 3: "
            "must not be set for readinessProbes"
        ]

    def test_stop_signals_are_signals(self) -> None:
        assert wrong(container(lifecycle={"stopSignal": "SIGRTMIN+1"})) == []
        assert wrong(container(lifecycle={"stopSignal": "SIGNAL"})) == [
            'spec.containers[0].lifecycle.stopSignal: Unsupported value: "SIGNAL": no such signal'
        ]

    def test_files_of_variables_lie_in_their_volume(self) -> None:
        reference = {"volumeName": "v", "path": "../x", "key": "K"}
        env = [{"name": "A", "valueFrom": {"fileKeyRef": reference}}]
        assert wrong(container(env=env)) == [
            'spec.containers[0].env[0].valueFrom.fileKeyRef.path: Invalid value: "../x": must '
            "not contain '..'"
        ]

"""What a namespace allows: quotas by scope, limits of pods, containers and claims, priorities."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.support.apiserver import running_server

from kubeling.kube.client import Client
from kubeling.kube.errors import Forbidden, Invalid
from kubeling.kube.objects import Obj, annotations, new_object
from kubeling.kube.resources import (
    LIMIT_RANGES,
    PERSISTENT_VOLUME_CLAIMS,
    PODS,
    RESOURCE_QUOTAS,
    SERVICES,
    Resource,
)

CLASSES = Resource("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", False)


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with running_server() as running:
        yield running.client


def pod(name: str = "p", **spec: Any) -> Obj:
    resources = spec.pop("resources", {})
    container = {"name": "main", "image": "busybox", "resources": resources}
    content = {"containers": [container], **spec}
    return new_object(PODS, name, "default", labels={"app": "x"}, spec=content)


async def quota(client: Client, hard: Obj, **spec: Any) -> None:
    made = new_object(RESOURCE_QUOTAS, "q", "default", spec={"hard": hard, **spec})
    await client.create(RESOURCE_QUOTAS, made)


async def limit(client: Client, **limit: Any) -> None:
    made = new_object(LIMIT_RANGES, "l", "default", spec={"limits": [limit]})
    await client.create(LIMIT_RANGES, made)


async def priority_class(client: Client, name: str, value: int, **more: Any) -> Obj:
    made = new_object(CLASSES, name, value=value, **more)
    return await client.create(CLASSES, made)


class TestQuotas:
    @pytest.mark.parametrize(
        ("scope", "inside", "outside"),
        [
            ("Terminating", {"activeDeadlineSeconds": 60}, {}),
            ("NotTerminating", {}, {"activeDeadlineSeconds": 60}),
            ("BestEffort", {}, {"resources": {"requests": {"cpu": "1m"}}}),
            ("NotBestEffort", {"resources": {"requests": {"cpu": "1m"}}}, {}),
        ],
    )
    async def test_are_about_the_pods_of_their_scope(
        self, client: Client, scope: str, inside: Obj, outside: Obj
    ) -> None:
        await quota(client, {"pods": "1"}, scopes=[scope])
        await client.create(PODS, pod("a", **inside))
        await client.create(PODS, pod("b", **outside))
        with pytest.raises(Forbidden, match="exceeded quota: q, requested: pods=1, used: pods=1"):
            await client.create(PODS, pod("c", **inside))

    @pytest.mark.parametrize(
        ("operator", "values", "counted"),
        [
            ("In", ["high"], {"high"}),
            ("NotIn", ["high"], {"low", ""}),
            ("Exists", None, {"high", "low"}),
            ("DoesNotExist", None, {""}),
        ],
    )
    async def test_may_be_about_some_priorities(
        self, client: Client, operator: str, values: Any, counted: set[str]
    ) -> None:
        await priority_class(client, "high", 100)
        await priority_class(client, "low", 10)
        term = {"scopeName": "PriorityClass", "operator": operator, "values": values}
        selector = {"matchExpressions": [{k: v for k, v in term.items() if v is not None}]}
        await quota(client, {"pods": "0"}, scopeSelector=selector)
        refused = set()
        for name in ("high", "low", ""):
            spec = {"priorityClassName": name} if name else {}
            try:
                await client.create(PODS, pod(f"p-{name or 'none'}", **spec))
            except Forbidden:
                refused.add(name)
        assert refused == counted

    async def test_of_pods_that_look_into_other_namespaces(self, client: Client) -> None:
        term = {"topologyKey": "kubernetes.io/hostname", "namespaces": ["other"],
                "labelSelector": {}}  # fmt: skip
        wanted = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
        await quota(client, {"pods": "0"}, scopes=["CrossNamespacePodAffinity"])
        await client.create(PODS, pod("a"))
        with pytest.raises(Forbidden, match="exceeded quota"):
            await client.create(PODS, pod("b", affinity=wanted))

    async def test_oblige_pods_to_say_all_that_they_limit(self, client: Client) -> None:
        await quota(client, {"limits.cpu": "1", "requests.memory": "1Gi"})
        why = "failed quota: q: must specify limits.cpu for: main; requests.memory for: main"
        with pytest.raises(Forbidden, match=why):
            await client.create(PODS, pod())

    async def test_count_node_ports_extended_resources_and_classes(self, client: Client) -> None:
        hard = {
            "services.nodeports": "1",
            "requests.nvidia.com/gpu": "1",
            "gold.storageclass.storage.k8s.io/requests.storage": "10Gi",
        }
        await quota(client, hard)
        ports = [{"name": "a", "port": 1}, {"name": "b", "port": 2}]
        service = new_object(SERVICES, "s", "default", spec={"type": "NodePort", "ports": ports})
        with pytest.raises(Forbidden, match=r"requested: services\.nodeports=2"):
            await client.create(SERVICES, service)
        gpus = {"limits": {"nvidia.com/gpu": "2"}}
        with pytest.raises(Forbidden, match=r"requested: requests\.nvidia\.com/gpu=2"):
            await client.create(PODS, pod(resources=gpus))
        for storage_class, fits in (("gold", False), ("silver", True)):
            spec = {"accessModes": ["ReadWriteOnce"], "storageClassName": storage_class,
                    "resources": {"requests": {"storage": "11Gi"}}}  # fmt: skip
            made = new_object(PERSISTENT_VOLUME_CLAIMS, storage_class, "default", spec=spec)
            if fits:
                await client.create(PERSISTENT_VOLUME_CLAIMS, made)
            else:
                with pytest.raises(Forbidden, match="limited: gold"):
                    await client.create(PERSISTENT_VOLUME_CLAIMS, made)

    async def test_count_a_deployments_kind_by_name(self, client: Client) -> None:
        await quota(client, {"count/services": "0"})
        ports = [{"port": 80}]
        with pytest.raises(Forbidden, match="requested: count/services=1"):
            await client.create(SERVICES, new_object(SERVICES, "s", "default",
                                                     spec={"ports": ports}))  # fmt: skip

    @pytest.mark.parametrize(
        ("spec", "said"),
        [
            ({"scopes": ["BestEffort", "NotBestEffort"]}, "conflicting scopes"),
            ({"scopes": ["Sometimes"]}, "unsupported scope"),
            ({"hard": {"mystery": "1"}}, "must be a standard resource for quota"),
            (
                {"scopes": ["BestEffort"], "hard": {"requests.cpu": "1"}},
                "unsupported scope applied to resource",
            ),
            ({"hard": {"pods": "1500m"}}, "must be an integer"),
        ],
    )
    async def test_that_make_no_sense_are_refused(
        self, client: Client, spec: Obj, said: str
    ) -> None:
        with pytest.raises(Invalid, match=said):
            await quota(client, **{"hard": {"pods": "1"}, **spec})


class TestLimits:
    async def test_complete_containers_and_say_so(self, client: Client) -> None:
        await limit(client, type="Container", default={"cpu": "1"}, defaultRequest={"cpu": "100m"})
        made = await client.create(PODS, pod())
        resources = made["spec"]["containers"][0]["resources"]
        assert resources == {"limits": {"cpu": "1"}, "requests": {"cpu": "100m"}}
        assert annotations(made)["kubernetes.io/limit-ranger"] == (
            "LimitRanger plugin set: cpu request for container main; cpu limit for container main"
        )

    async def test_leave_a_containers_own_limit_as_its_request(self, client: Client) -> None:
        await limit(client, type="Container", default={"cpu": "1"}, defaultRequest={"cpu": "100m"})
        made = await client.create(PODS, pod(resources={"limits": {"cpu": "500m"}}))
        resources = made["spec"]["containers"][0]["resources"]
        assert resources == {"limits": {"cpu": "500m"}, "requests": {"cpu": "500m"}}

    @pytest.mark.parametrize(
        ("bounds", "resources", "said"),
        [
            (
                {"max": {"cpu": "1"}},
                {"limits": {"cpu": "2"}},
                "maximum cpu usage per Container is 1, but limit is 2",
            ),
            (
                {"min": {"cpu": "500m"}},
                {"requests": {"cpu": "100m"}},
                "minimum cpu usage per Container is 500m, but request is 100m",
            ),
            (
                {"maxLimitRequestRatio": {"cpu": "2"}},
                {"requests": {"cpu": "100m"}, "limits": {"cpu": "300m"}},
                "cpu max limit to request ratio per Container is 2, but provided ratio is 3.000000",
            ),
            (
                {"maxLimitRequestRatio": {"cpu": "2"}},
                {},
                "ratio per Container is 2, but no request is specified or request is 0",
            ),
        ],
    )
    async def test_bound_containers(
        self, client: Client, bounds: Obj, resources: Obj, said: str
    ) -> None:
        await limit(client, type="Container", **bounds)
        with pytest.raises(Forbidden, match=said):
            await client.create(PODS, pod(resources=resources))

    async def test_bound_pods_as_a_whole(self, client: Client) -> None:
        await limit(client, type="Pod", max={"memory": "1Gi"})
        half = {"limits": {"memory": "512Mi"}}
        containers = [{"name": n, "image": "busybox", "resources": half} for n in ("a", "b")]
        await client.create(PODS, pod("fits", containers=containers))
        containers.append({"name": "c", "image": "busybox", "resources": half})
        why = "maximum memory usage per Pod is 1Gi, but limit is 1536Mi"
        with pytest.raises(Forbidden, match=why):
            await client.create(PODS, pod("big", containers=containers))
        with pytest.raises(Forbidden, match=r"per Pod is 1Gi\.  No limit is specified"):
            await client.create(PODS, pod("silent"))

    async def test_bound_claims_also_as_they_grow(self, client: Client) -> None:
        await limit(
            client, type="PersistentVolumeClaim", min={"storage": "1Gi"}, max={"storage": "2Gi"}
        )

        def claim(size: str) -> Obj:
            spec = {"accessModes": ["ReadWriteOnce"],
                    "resources": {"requests": {"storage": size}}}  # fmt: skip
            return new_object(PERSISTENT_VOLUME_CLAIMS, "c", "default", spec=spec)

        for size, said in (("3Gi", "but request is 3Gi"), ("1Mi", "but request is 1Mi")):
            with pytest.raises(Forbidden, match=said):
                await client.create(PERSISTENT_VOLUME_CLAIMS, claim(size))
        await client.create(PERSISTENT_VOLUME_CLAIMS, claim("2Gi"))


class TestPriorities:
    async def test_every_cluster_has_the_systems_classes(self, client: Client) -> None:
        node = await client.get(CLASSES, "system-node-critical")
        cluster = await client.get(CLASSES, "system-cluster-critical")
        assert (node["value"], cluster["value"]) == (2000001000, 2000000000)

    async def test_a_pods_priority_is_that_of_its_class(self, client: Client) -> None:
        await priority_class(client, "polite", 50, preemptionPolicy="Never")
        made = await client.create(PODS, pod(priorityClassName="polite"))
        assert (made["spec"]["priority"], made["spec"]["preemptionPolicy"]) == (50, "Never")

    async def test_without_a_class_it_is_nothing_or_the_default(self, client: Client) -> None:
        made = await client.create(PODS, pod("a"))
        assert made["spec"]["priority"] == 0
        assert made["spec"]["preemptionPolicy"] == "PreemptLowerPriority"
        await priority_class(client, "usual", 7, globalDefault=True)
        made = await client.create(PODS, pod("b"))
        assert (made["spec"]["priorityClassName"], made["spec"]["priority"]) == ("usual", 7)
        with pytest.raises(Forbidden, match="usual is already marked as default"):
            await priority_class(client, "other", 8, globalDefault=True)

    async def test_nobody_chooses_the_number(self, client: Client) -> None:
        with pytest.raises(Forbidden, match=r"the integer value of priority \(9\) must not be"):
            await client.create(PODS, pod(priority=9))
        with pytest.raises(Forbidden, match="no PriorityClass with name missing was found"):
            await client.create(PODS, pod(priorityClassName="missing"))

    async def test_system_names_are_the_systems(self, client: Client) -> None:
        with pytest.raises(Invalid, match="prefix are reserved for system use only"):
            await priority_class(client, "system-mine", 1)

    async def test_pods_tolerate_a_lost_node_for_five_minutes(self, client: Client) -> None:
        own = {"key": "node.kubernetes.io/unreachable", "operator": "Exists"}
        made = await client.create(PODS, pod(tolerations=[own]))
        assert made["spec"]["tolerations"] == [
            own,
            {
                "key": "node.kubernetes.io/not-ready",
                "operator": "Exists",
                "effect": "NoExecute",
                "tolerationSeconds": 300,
            },
        ]

    async def test_a_pod_with_gates_says_that_it_waits(self, client: Client) -> None:
        made = await client.create(PODS, pod(schedulingGates=[{"name": "example.com/wait"}]))
        (told,) = made["status"]["conditions"]
        assert (told["type"], told["reason"]) == ("PodScheduled", "SchedulingGated")

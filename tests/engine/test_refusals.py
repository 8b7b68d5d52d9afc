"""What a pod asks for that this node does not have is said, never left out in silence."""

import pytest
from tests.engine.node import Node, container, pod

from kubeling.engine.cgroups import Bounds, bounds_of
from kubeling.engine.podspec import pod_requests, qos_class
from kubeling.kube.objects import Obj
from kubeling.kube.quantities import parse_quantity

LIMITED: Obj = {"resources": {"limits": {"memory": "1Gi", "cpu": "1"}, "requests": {"cpu": "500m"}}}


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({"resourceClaims": [{"name": "gpu"}]}, "has no dynamic resource allocation"),
        ({"os": {"name": "windows"}}, "the OS field (windows) doesn't match node OS (linux)"),
    ],
)
async def test_what_can_never_start_is_refused(node: Node, spec: Obj, text: str) -> None:
    await node.create(pod("p", container(), **spec))
    await node.seen_event("Failed", text)


@pytest.mark.parametrize(
    ("main", "spec", "text"),
    [
        ({}, {"runtimeClassName": "gvisor"}, "runtimeClassName gvisor is not used"),
        ({"ports": [{"containerPort": 80, "hostPort": 8080}]}, {}, "hostPort 8080 does not lead"),
        ({}, LIMITED, "the pod's own limits hold for each container by itself"),
    ],
)
async def test_what_has_no_effect_is_told(node: Node, main: Obj, spec: Obj, text: str) -> None:
    done = await node.run(pod("p", container(script="true", **main), **spec))
    assert done["status"]["phase"] == "Succeeded"
    await node.seen_event("NotHonoured", text)


def test_resources_of_a_pod_as_a_whole_come_first() -> None:
    greedy = container(resources={"requests": {"cpu": "3", "memory": "1Mi"}})
    obj = pod("p", greedy, container("other"), **LIMITED)
    assert pod_requests(obj)["cpu"] == parse_quantity("500m")
    assert pod_requests(obj)["memory"] == parse_quantity("1Gi")
    assert qos_class(obj) == "Burstable"
    assert bounds_of(container("other"), obj) == Bounds(memory=1 << 30, cpu=1000, cpu_request=1000)

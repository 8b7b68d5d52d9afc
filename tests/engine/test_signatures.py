"""Which waiting pods are alike: where the node takes none of them, one look is enough."""

from typing import Any

import pytest

from kubeling.engine.scheduler import signature
from kubeling.kube.objects import Obj


def pod(name: str = "p", labels: Obj | None = None, **spec: Any) -> Obj:
    containers = [{"name": "m", "image": name, "resources": {"requests": {"cpu": "1"}}}]
    metadata = {"name": name, "uid": name, "namespace": "default", "labels": labels or {}}
    return {"metadata": metadata, "spec": {"containers": containers, **spec}}


def test_pods_that_differ_in_what_they_run_are_alike() -> None:
    assert signature(pod("a", {"step": "1"})) == signature(pod("b", {"step": "2"}))


@pytest.mark.parametrize(
    "other",
    [
        {"priority": 5},
        {"nodeSelector": {"disk": "ssd"}},
        {"tolerations": [{"operator": "Exists"}]},
        {"schedulingGates": [{"name": "wait"}]},
        {"overhead": {"cpu": "1"}},
        {"containers": [{"name": "m", "resources": {"requests": {"cpu": "2"}}}]},
        {"containers": [{"name": "m", "ports": [{"hostPort": 80}]}]},
        {"initContainers": [{"name": "i", "resources": {"requests": {"cpu": "1"}}}]},
    ],
)
def test_what_decides_about_a_pod_tells_it_apart(other: Obj) -> None:
    assert signature(pod(**other)) != signature(pod())


def test_labels_tell_pods_apart_that_care_about_their_neighbours() -> None:
    spread = {"topologySpreadConstraints": [{"topologyKey": "zone"}]}
    assert signature(pod("a", {"app": "x"}, **spread)) != signature(
        pod("a", {"app": "y"}, **spread)
    )

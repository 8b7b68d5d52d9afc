"""What a notebook becomes."""

from __future__ import annotations

from typing import Any

from kubeling.kube.objects import Obj, new_object
from kubeling.notebooks.plan import STOPPED, service, stateful_set, status
from kubeling.notebooks.resources import NOTEBOOKS


def notebook(container: Obj | None = None, **metadata: Any) -> Obj:
    image = {"name": "notebook", "image": "jupyter/tensorflow-notebook"}
    template = {"spec": {"containers": [container or image]}}
    made = new_object(NOTEBOOKS, "ml-notebook", "team", spec={"template": template}, **metadata)
    made["metadata"]["uid"] = "u"
    return made


def test_the_server_is_told_its_prefix_and_its_pod_can_be_found() -> None:
    made = stateful_set(notebook(labels={"access-ml": "true"}))
    template = made["spec"]["template"]
    (container,) = template["spec"]["containers"]
    assert {"name": "NB_PREFIX", "value": "/notebook/team/ml-notebook"} in container["env"]
    assert container["ports"][0]["containerPort"] == 8888
    assert template["metadata"]["labels"] == {
        "access-ml": "true",
        "notebook-name": "ml-notebook",
        "statefulset": "ml-notebook",
    }
    assert template["spec"]["securityContext"]["fsGroup"] == 100
    assert made["spec"]["replicas"] == 1


def test_what_the_user_says_stays() -> None:
    given = {
        "name": "main",
        "image": "x",
        "ports": [{"containerPort": 80}],
        "env": [{"name": "NB_PREFIX", "value": "/mine"}],
    }
    (container,) = stateful_set(notebook(given))["spec"]["template"]["spec"]["containers"]
    assert container["env"] == [{"name": "NB_PREFIX", "value": "/mine"}]
    assert service(notebook(given))["spec"]["ports"][0]["targetPort"] == 80


def test_annotations_for_tools_do_not_reach_the_pod() -> None:
    annotations = {"notebooks.kubeflow.org/creator": "me", "kubectl.kubernetes.io/x": "y", "a": "b"}
    made = stateful_set(notebook(annotations=annotations))
    assert made["spec"]["template"]["metadata"]["annotations"] == {"a": "b"}


def test_a_stopped_notebook_has_no_pod() -> None:
    made = stateful_set(notebook(annotations={STOPPED: "2026-01-01T00:00:00Z"}))
    assert made["spec"]["replicas"] == 0


def test_the_status_shows_the_servers_container() -> None:
    running = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
    pod = {
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [
                {"name": "sidecar", "state": {}},
                {"name": "ml-notebook", "state": running},
            ],
        }
    }
    found = status(notebook(), {"status": {"readyReplicas": 1}}, pod)
    assert found["readyReplicas"] == 1
    assert found["containerState"] == running
    assert found["conditions"][0]["type"] == "Ready"
    assert status(notebook(), None, None)["readyReplicas"] == 0

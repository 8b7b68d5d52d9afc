"""``hera`` writes a Workflow in Python; the Kubernetes API takes it.

Its own ``create`` speaks to an Argo Server, so what it builds is given to the official client.
"""

from typing import Any

from hera.workflows import DAG, Artifact, NoneArchiveStrategy, Parameter, Workflow, script
from hera.workflows.models import ValueFrom
from kubernetes import client, config, watch

GROUP = ("argoproj.io", "v1alpha1")


@script(image="python:3.11", outputs=Parameter(name="sum", value_from=ValueFrom(path="/tmp/sum")))
def add(a: int, b: int) -> None:
    with open("/tmp/sum", "w") as file:
        file.write(str(a + b))


@script(
    image="python:3.11",
    outputs=Artifact(name="table", path="/tmp/table", archive=NoneArchiveStrategy()),
)
def table(upto: int) -> None:
    with open("/tmp/table", "w") as file:
        file.writelines(f"{n} {n * n}\n" for n in range(upto))


@script(image="python:3.11", inputs=Artifact(name="table", path="/tmp/in"))
def show() -> None:
    with open("/tmp/in") as file:
        print(file.read().split()[-1])


def built() -> dict[str, Any]:
    with (
        Workflow(generate_name="hera-", entrypoint="all", namespace="default") as workflow,
        DAG(name="all"),
    ):
        sums = [add(name=f"add-{n}", arguments={"a": n, "b": 1}) for n in (1, 2)]
        made = table(name="table", arguments={"upto": "{{tasks.add-2.outputs.parameters.sum}}"})
        shown = show(
            name="show",
            arguments=made.get_artifact("table"),
            when="{{tasks.add-1.status}} == Succeeded",
        )
        sums >> made >> shown
    manifest: dict[str, Any] = workflow.to_dict()
    return manifest


def test_a_workflow_runs() -> None:
    config.load_kube_config()
    api = client.CustomObjectsApi()
    made = api.create_namespaced_custom_object(*GROUP, "default", "workflows", built())
    name = made["metadata"]["name"]
    for event in watch.Watch().stream(
        api.list_namespaced_custom_object,
        *GROUP,
        "default",
        "workflows",
        field_selector=f"metadata.name={name}",
        timeout_seconds=60,
    ):
        if event["object"].get("status", {}).get("phase") in ("Succeeded", "Failed", "Error"):
            break
    nodes = {node["displayName"]: node for node in event["object"]["status"]["nodes"].values()}
    assert event["object"]["status"]["phase"] == "Succeeded", event["object"]["status"]
    assert nodes["add-2"]["outputs"]["parameters"][0]["value"] == "3"
    core = client.CoreV1Api()
    pods = core.list_namespaced_pod(
        "default", label_selector=f"workflows.argoproj.io/workflow={name}"
    )
    (shown,) = [
        pod.metadata.name
        for pod in pods.items
        if pod.metadata.annotations["workflows.argoproj.io/node-name"] == f"{name}.show"
    ]
    assert core.read_namespaced_pod_log(shown, "default", container="main") == "4\n"

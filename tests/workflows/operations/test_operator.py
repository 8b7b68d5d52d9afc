"""Operations on Workflows of a real server, with real pods."""

from __future__ import annotations

import asyncio

import pytest
from tests.workflows.conftest import Cluster

from kubeling.kube import yaml
from kubeling.kube.errors import NotFound
from kubeling.kube.objects import Obj
from kubeling.kube.resources import PODS
from kubeling.workflows.offload import Offload
from kubeling.workflows.operations.interventions import NodeChange
from kubeling.workflows.operations.operator import WorkflowOperator
from kubeling.workflows.resources import WORKFLOWS

NEEDY = """
apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {name: needy}
spec:
  entrypoint: main
  onExit: note
  templates:
  - name: main
    steps:
    - - {name: first, template: note}
    - - {name: needs, template: needs}
  - name: note
    container: {image: busybox, command: [sh, -c, "echo x >> notes"]}
  - name: needs
    container: {image: busybox, command: [test, -e, there]}
"""
ASKING = """
apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {name: asking}
spec:
  entrypoint: main
  suspend: true
  templates:
  - name: main
    steps:
    - - {name: ask, template: ask}
    - - name: say
        template: say
        arguments: {parameters: [{name: n, value: "{{steps.ask.outputs.parameters.answer}}"}]}
  - name: ask
    suspend: {}
    outputs: {parameters: [{name: answer, valueFrom: {supplied: {}}}]}
  - name: say
    inputs: {parameters: [{name: n}]}
    container: {image: busybox, command: [sh, -c, "echo {{inputs.parameters.n}} > answer"]}
"""


def operator(cluster: Cluster) -> WorkflowOperator:
    return WorkflowOperator(cluster.client, cluster.context.clock, Offload(cluster.context))


def notes(cluster: Cluster) -> int:
    return len((cluster.workspace / "notes").read_text().splitlines())


async def test_a_failed_workflow_is_retried_from_where_it_failed(cluster: Cluster) -> None:
    failed = await cluster.run(yaml.load(NEEDY))
    assert failed["status"]["phase"] == "Failed"
    assert notes(cluster) == 2
    (cluster.workspace / "there").touch()
    written = await operator(cluster).retry("default", "needy")
    assert "phase" not in written["status"]
    done = await cluster.seen("needy", lambda wf: wf["status"].get("phase") == "Succeeded")
    assert {node["phase"] for node in done["status"]["nodes"].values()} == {"Succeeded"}
    assert notes(cluster) == 3
    await cluster.ended("needy")


async def test_resubmitted_memoized_only_what_failed_runs(cluster: Cluster) -> None:
    failed = await cluster.run(yaml.load(NEEDY))
    (cluster.workspace / "there").touch()
    made = await operator(cluster).resubmit(failed, memoized=True)
    assert "suspend" not in made["spec"]
    done = await cluster.ended(made["metadata"]["name"])
    assert done["status"]["phase"] == "Succeeded"
    assert notes(cluster) == 3
    nodes = {node["displayName"]: node for node in done["status"]["nodes"].values()}
    assert nodes["first"]["message"].startswith("original pod: needy-")


async def test_a_workflow_that_is_gone_is_made_again_to_be_retried(cluster: Cluster) -> None:
    failed = await cluster.run(yaml.load(NEEDY))
    await cluster.client.delete(WORKFLOWS, "needy", "default", propagation="Background")
    with pytest.raises(NotFound):
        await cluster.client.get(WORKFLOWS, "needy", "default")
    await cluster.client.delete_collection(PODS, "default")
    await cluster.gone(PODS)
    (cluster.workspace / "there").touch()
    await operator(cluster).retry_gone(failed)
    done = await cluster.ended("needy")
    assert done["status"]["phase"] == "Succeeded"
    assert notes(cluster) == 3


async def test_a_suspended_workflow_goes_on_with_what_is_set(cluster: Cluster) -> None:
    await cluster.client.create(WORKFLOWS, yaml.load(ASKING), "default")

    def asks(workflow: Obj) -> bool:
        nodes = workflow["status"].get("nodes", {}).values()
        return any(node["displayName"] == "ask" for node in nodes)

    await cluster.seen("asking", asks)
    do = operator(cluster)
    resumed = await do.set(
        "default", "asking", "displayName=ask", NodeChange("Succeeded", "", {"answer": "42"})
    )
    assert resumed["spec"]["suspend"] is True
    await do.resume("default", "asking")
    done = await cluster.ended("asking")
    assert done["status"]["phase"] == "Succeeded"
    assert (cluster.workspace / "answer").read_text() == "42\n"


@pytest.mark.parametrize("how", ["stop", "terminate"])
async def test_a_workflow_is_stopped_with_or_without_its_exit_handler(
    cluster: Cluster, how: str
) -> None:
    text = NEEDY.replace("[test, -e, there]", "[sleep, '600']")
    await cluster.client.create(WORKFLOWS, yaml.load(text), "default")

    def sleeps(workflow: Obj) -> bool:
        nodes = workflow["status"].get("nodes", {}).values()
        return any(n["displayName"] == "needs" and n["phase"] == "Running" for n in nodes)

    await cluster.seen("needy", sleeps)
    do = operator(cluster)
    await (do.stop if how == "stop" else do.terminate)("default", "needy")
    done = await cluster.ended("needy")
    assert done["status"]["phase"] == "Failed"
    assert notes(cluster) == (2 if how == "stop" else 1)


async def test_writers_at_the_same_time_do_not_undo_one_another(cluster: Cluster) -> None:
    await cluster.client.create(WORKFLOWS, yaml.load(ASKING), "default")
    await cluster.seen("asking", lambda wf: bool(wf["status"].get("nodes")))
    do = operator(cluster)
    label = {"metadata": {"labels": {"seen": "yes"}}}
    await asyncio.gather(
        do.suspend("default", "asking"),
        do.set("default", "asking", "displayName=ask", NodeChange("", "a message")),
        cluster.client.patch(WORKFLOWS, "asking", label, "default"),
    )
    found = await do.terminate("default", "asking")
    assert found["metadata"]["labels"]["seen"] == "yes"
    messages = {n["displayName"]: n.get("message") for n in found["status"]["nodes"].values()}
    assert messages["ask"] == "a message"

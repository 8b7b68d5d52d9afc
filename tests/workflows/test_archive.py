"""Finished Workflows are kept in the metadata database."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.workflows.conftest import Cluster
from tests.workflows.simulation import START

from kubeling.kube import yaml
from kubeling.kube.objects import Obj, format_time
from kubeling.kube.selectors import parse
from kubeling.metadata.database import Database
from kubeling.workflows.archive import Archive
from kubeling.workflows.archive_store import ArchiveStore
from kubeling.workflows.listing import WorkflowFilter, newest_first, workflow_filter
from kubeling.workflows.offload import Offload
from kubeling.workflows.operations.operator import WorkflowOperator
from kubeling.workflows.resources import WORKFLOWS


def finished(number: int, name: str = "", where: str = "default", **labels: str) -> Obj:
    """A Workflow that started ``number`` minutes after the others' beginning."""
    started = format_time(START + dt.timedelta(minutes=number))
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {
            "name": name or f"wf-{number}",
            "namespace": where,
            "uid": f"uid-{where}-{name}-{number}",
            "creationTimestamp": started,
            "labels": labels,
        },
        "spec": {"entrypoint": "x", "templates": [], "arguments": {"parameters": []}},
        "status": {
            "phase": "Succeeded",
            "startedAt": started,
            "finishedAt": started,
            "nodes": {"n": {"id": "n", "type": "Pod"}},
        },
    }


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ArchiveStore]:
    database = Database(f"sqlite:///{tmp_path / 'metadata.db'}")
    yield ArchiveStore(database)
    database.close()


def names(listed: list[Obj]) -> list[str]:
    return [workflow["metadata"]["name"] for workflow in listed]


async def test_a_workflow_is_found_whole_by_uid_and_name(store: ArchiveStore) -> None:
    await store.put(finished(1, "again"))
    await store.put(finished(2, "again"))
    found = await store.get(namespace="default", name="again")
    assert found == finished(2, "again")
    assert await store.get(uid="uid-default-again-1") == finished(1, "again")
    assert await store.get(uid="uid-default-again-3") is None
    await store.delete("uid-default-again-1")
    assert await store.get(uid="uid-default-again-1") is None


async def test_lists_come_in_pages_the_newest_first_and_without_nodes(store: ArchiveStore) -> None:
    for number in range(5):
        await store.put(finished(number))
    everything = WorkflowFilter()
    assert names(await store.page(everything)) == ["wf-4", "wf-3", "wf-2", "wf-1", "wf-0"]
    assert names(await store.page(everything, 2, 1)) == ["wf-3", "wf-2"]
    assert await store.count(everything) == 5
    some = [f"uid-default--{number}" for number in (2, 4, *range(10, 60_000))]
    assert names(await store.page(everything, 2, without=some)) == ["wf-3", "wf-1"]
    assert await store.count(everything, without=some) == 3
    shown = (await store.page(everything, 1))[0]
    assert "nodes" not in shown["status"]
    assert shown["spec"] == {"arguments": {"parameters": []}}


async def test_what_is_filed_again_takes_the_place_of_what_was(store: ArchiveStore) -> None:
    await store.put(finished(1, old="1"))
    await store.put(finished(1, new="1"))
    assert await store.count(WorkflowFilter()) == 1
    assert await store.label_keys() == ["new"]
    assert await store.label_values("new") == ["1"]


async def test_the_database_selects_what_the_filter_does(store: ArchiveStore) -> None:
    pool = [
        finished(1, "alpha", "a", team="x"),
        finished(2, "alphabet", "a", team="y", tier="1"),
        finished(3, "beta", "b"),
        finished(4, "al%ha", "b", team="x"),
    ]
    for workflow in pool:
        await store.put(workflow)
    at = [format_time(START + dt.timedelta(minutes=m)) for m in range(5)]
    for wanted in (
        workflow_filter(namespace="a"),
        workflow_filter(field_selector="metadata.namespace!=a"),
        workflow_filter(field_selector="metadata.name=alpha"),
        workflow_filter(field_selector="metadata.name=alpha", name_filter="Contains"),
        workflow_filter(field_selector="metadata.name=al%", name_filter="Prefix"),
        workflow_filter(field_selector="metadata.name!=alpha"),
        workflow_filter(name_prefix="al"),
        workflow_filter(label_selector="team=x"),
        workflow_filter(label_selector="team!=x"),
        workflow_filter(label_selector="team in (x,y),tier"),
        workflow_filter(label_selector="!team"),
        workflow_filter(label_selector="tier notin (1)"),
        workflow_filter(field_selector=f"spec.startedAt>{at[2]},spec.startedAt<{at[3]}"),
        workflow_filter(created_after=at[3]),
        workflow_filter(finished_before=at[2]),
    ):
        expected = [workflow for workflow in pool if wanted.matches(workflow)]
        assert 0 < len(expected) < len(pool)
        expected.sort(key=newest_first, reverse=True)
        assert names(await store.page(wanted)) == names(expected)
        assert await store.count(wanted) == len(expected)


async def test_what_is_too_old_goes(store: ArchiveStore) -> None:
    for number in range(3):
        await store.put(finished(number, kept="1"))
    await store.expire(START + dt.timedelta(minutes=2))
    assert names(await store.page(WorkflowFilter())) == ["wf-2"]


@settings(deadline=None)
@given(st.text("abc=!,()", max_size=8))
def test_no_selector_is_silently_misread(text: str) -> None:
    try:
        wanted = workflow_filter(field_selector=f"metadata.{text}")
    except ValueError:
        return
    assert wanted != WorkflowFilter() or not text


FAILING = """
apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {name: needy, labels: {team: x}}
spec:
  entrypoint: main
  ttlStrategy: {secondsAfterSuccess: 0}
  templates:
  - name: main
    container: {image: busybox, command: [test, -e, there]}
"""


async def test_workflows_are_archived_at_their_end_and_before_they_are_deleted(
    cluster: Cluster,
) -> None:
    await cluster.run(yaml.load(FAILING))
    archived = "workflows.argoproj.io/workflow-archiving-status"
    done = await cluster.seen("needy", lambda wf: archived in wf["metadata"].get("labels", {}))
    store = await Archive(cluster.context).store()
    kept = await store.get(uid=done["metadata"]["uid"])
    assert kept is not None
    assert kept["status"] == done["status"]
    assert kept["metadata"]["labels"] == {
        "team": "x",
        "workflows.argoproj.io/completed": "true",
        "workflows.argoproj.io/phase": "Failed",
        archived: "Persisted",
    }
    (cluster.workspace / "there").touch()
    await WorkflowOperator(cluster.client, cluster.context.clock, Offload(cluster.context)).retry(
        "default", "needy"
    )
    await cluster.gone(WORKFLOWS)
    listed = await store.page(WorkflowFilter(labels=parse("team=x")))
    assert [workflow["status"]["phase"] for workflow in listed] == ["Succeeded"]

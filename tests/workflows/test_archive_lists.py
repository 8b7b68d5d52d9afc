"""Lists of the archive hold what is asked for, whichever way the database is led to it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kubeling.kube.objects import Obj, name
from kubeling.metadata.database import Database
from kubeling.workflows import archive_store
from kubeling.workflows.archive_store import ArchiveStore
from kubeling.workflows.listing import workflow_filter


def workflow(number: int) -> Obj:
    moment = f"2026-03-01T00:{number // 2:02}:00Z"
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {
            "name": f"{'train' if number % 3 else 'test'}-{number}",
            "namespace": f"team-{number % 2}",
            "uid": str(uuid.UUID(int=number)),
            "creationTimestamp": moment,
            "labels": {"day": str(number // 5), **({"odd": "yes"} if number % 2 else {})},
        },
        "spec": {},
        "status": {"phase": "Succeeded", "startedAt": moment, "finishedAt": moment},
    }


ALL = [workflow(number) for number in range(24)]


@pytest.fixture(name="store", params=[0, 3, 1000], ids="few are {}".format)
def _store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ArchiveStore]:
    monkeypatch.setattr(archive_store, "_FEW", request.param)
    database = Database(f"sqlite:///{tmp_path / 'metadata.db'}")
    yield ArchiveStore(database)
    database.close()


def named(text: str, kind: str) -> dict[str, str]:
    return {"field_selector": f"metadata.name={text}", "name_filter": kind}


async def test_a_list_is_the_newest_that_match_page_by_page(store: ArchiveStore) -> None:
    for one in ALL:
        await store.put(one)
    questions: list[dict[str, Any]] = [
        {},
        {"namespace": "team-1"},
        {"label_selector": "day=2"},
        {"label_selector": "day in (1, 3), odd=yes"},
        {"label_selector": "odd!=yes", "namespace": "team-0"},
        {"label_selector": "day=9"},
        named("train-1", "Prefix"),
        named("1", "Contains"),
        named("st-1", "Contains") | {"label_selector": "odd"},
        named("test-3", "Exact"),
        {"name_prefix": "test-2", "namespace": "team-1"},
    ]
    for question in questions:
        wanted = workflow_filter(**question)
        matching = [name(one) for one in reversed(ALL) if wanted.matches(one)]
        seen: list[str] = []
        for offset in range(0, len(ALL) + 4, 4):
            seen += [name(one) for one in await store.page(wanted, 4, offset)]
        assert seen == matching, question
        assert await store.count(wanted) == len(matching)
        assert [name(one) for one in await store.page(wanted)] == matching

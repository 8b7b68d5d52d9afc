"""What the options of a request may be, and how a server says that it cannot do what they ask."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.support.apiserver import RunningServer, running_server

from kubeling.apiserver.query import Query
from kubeling.apiserver.requests import Answer, ApiRequest, StoredAnswer, WatchAnswer
from kubeling.apiserver.user import ADMIN
from kubeling.kube.errors import ApiError
from kubeling.kube.objects import Obj
from kubeling.kube.transport import APPLY_PATCH, MERGE_PATCH

MAPS = "/api/v1/namespaces/default/configmaps"


@pytest.fixture
async def running() -> AsyncIterator[RunningServer]:
    async with running_server() as running:
        yield running


async def ask(
    running: RunningServer,
    query: str,
    method: str = "GET",
    name: str = "",
    body: Any = None,
    content_type: str = "",
) -> Answer:
    pairs = [term.partition("=")[::2] for term in query.split("&") if term]
    path = f"{MAPS}/{name}" if name else MAPS
    request = ApiRequest(method, path, ADMIN, Query(pairs), body, content_type=content_type)
    return await running.server.handle(request)


async def told(running: RunningServer, query: str, *more: Any) -> str:
    """What is wrong with the options, after the words that are always the same."""
    with pytest.raises(ApiError) as caught:
        await ask(running, query, *more)
    assert caught.value.status_code == 422
    assert "Options.meta.k8s.io" in caught.value.message
    return caught.value.message.partition(" is invalid: ")[2]


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ("resourceVersionMatch=Exact", "forbidden unless resourceVersion is provided"),
        ("resourceVersionMatch=Exact&resourceVersion=0", 'forbidden for resourceVersion "0"'),
        ("resourceVersionMatch=Some&resourceVersion=1", 'Unsupported value: "Some"'),
        ("sendInitialEvents=true", "sendInitialEvents is forbidden for list"),
        ("resourceVersion=x", 'resourceVersion: Invalid value: "x"'),
    ],
)
async def test_lists_that_cannot_be_made_are_refused(
    running: RunningServer, query: str, wrong: str
) -> None:
    assert wrong in await told(running, query)


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ("sendInitialEvents=true", "sendInitialEvents requires setting resourceVersionMatch"),
        (
            "resourceVersionMatch=NotOlderThan",
            "forbidden for watch unless sendInitialEvents is provided",
        ),
        ("sendInitialEvents=1&resourceVersionMatch=Exact", 'Unsupported value: "Exact"'),
    ],
)
async def test_watches_that_cannot_be_made_are_refused_so_that_clients_fall_back(
    running: RunningServer, query: str, wrong: str
) -> None:
    assert wrong in await told(running, f"watch=1&{query}")


@pytest.mark.parametrize("value", ["1", "true", "yes", ""])
async def test_a_switch_is_on_unless_it_says_no(running: RunningServer, value: str) -> None:
    answer = await ask(running, f"watch={value}")
    assert isinstance(answer, WatchAnswer)
    await answer.changes.aclose()
    assert isinstance(await ask(running, "watch=false"), StoredAnswer)
    assert isinstance(await ask(running, "watch=0"), StoredAnswer)


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ("fieldValidation=Some", 'fieldValidation: Unsupported value: "Some"'),
        ("dryRun=Some", 'dryRun: Unsupported value: ["Some"]: supported values: "All"'),
        ("dryRun=All&dryRun=Some", "dryRun: Unsupported value"),
        ("fieldManager=" + "x" * 129, "fieldManager: Too long"),
        ("fieldManager=a\x07", "fieldManager: Invalid value"),
    ],
)
async def test_writes_say_how_in_words_that_are_known(
    running: RunningServer, query: str, wrong: str
) -> None:
    body = {"metadata": {"name": "a"}}
    assert wrong in await told(running, query, "POST", "", body)
    assert wrong in await told(running, query, "PUT", "a", body)
    assert wrong in await told(running, query, "PATCH", "a", body, MERGE_PATCH)


async def test_only_an_apply_can_be_forced_and_an_apply_names_its_manager(
    running: RunningServer,
) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
    forced = await told(running, "force=true", "PATCH", "a", body, MERGE_PATCH)
    assert forced == "force: Forbidden: may not be specified for non-apply patch"
    nameless = await told(running, "", "PATCH", "a", body, APPLY_PATCH)
    assert nameless == "fieldManager: Required value: is required for apply patch"


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"propagationPolicy": "Some"}, 'propagationPolicy: Unsupported value: "Some"'),
        ({"dryRun": ["Some"]}, "dryRun: Unsupported value"),
        (
            {"propagationPolicy": "Orphan", "orphanDependents": True},
            "orphanDependents and deletionPropagation cannot be both set",
        ),
    ],
)
async def test_deletions_say_how_in_words_that_are_known(
    running: RunningServer, options: Obj, wrong: str
) -> None:
    assert wrong in await told(running, "", "DELETE", "a", options)


async def test_what_is_no_deletion_is_not_read_as_one(running: RunningServer) -> None:
    for options in ({"kind": "Some"}, {"gracePeriodSeconds": "x"}, {"preconditions": []}):
        with pytest.raises(ApiError) as caught:
            await ask(running, "", "DELETE", "kube-root-ca.crt", options)
        assert caught.value.status_code == 400


async def test_a_page_belongs_to_its_list(running: RunningServer) -> None:
    for number in range(3):
        await ask(running, "", "POST", "", {"metadata": {"name": f"m{number}"}})
    first = await ask(running, "limit=2")
    assert isinstance(first, StoredAnswer)
    rest = first.stored.obj["metadata"]["continue"]
    with pytest.raises(ApiError, match="specifying resource version is not allowed"):
        await ask(running, f"limit=2&continue={rest}&resourceVersion=5")
    with pytest.raises(ApiError, match="continue key is not valid"):
        await ask(running, "continue=x")


async def test_a_version_that_is_not_there_yet_is_waited_for_by_the_client(
    running: RunningServer,
) -> None:
    for query in ("resourceVersion=99999", "resourceVersion=99999&resourceVersionMatch=Exact"):
        with pytest.raises(ApiError, match="Too large resource version") as caught:
            await ask(running, query)
        assert caught.value.status_code == 504
        assert caught.value.details["causes"][0]["reason"] == "ResourceVersionTooLarge"

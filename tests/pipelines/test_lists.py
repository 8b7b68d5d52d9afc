"""Lists of the REST API: what can be filtered and sorted by, and that pages hold each row once."""

from __future__ import annotations

import base64
import datetime as dt
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
import sqlalchemy as sa
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.pipelines.conftest import Api
from tests.pipelines.test_api import get, make_runs, post

from kubeling.component import Context
from kubeling.metadata.database import METADATA
from kubeling.pipelines.api.artifacts import ARTIFACT_LISTS
from kubeling.pipelines.api.errors import InvalidArgumentError
from kubeling.pipelines.api.filters import conditions
from kubeling.pipelines.api.runs import RUN_LISTS
from kubeling.pipelines.tables import METRICS, RUNS

EPOCH = dt.datetime(2026, 3, 1)


async def store(context: Context, *statements: sa.Executable) -> None:
    database = await context.open_database()

    def work(connection: sa.Connection) -> None:
        for statement in statements:
            connection.execute(statement)

    await database.run(work)


def ended(run: Any, minutes: int) -> sa.Executable:
    moment = EPOCH + dt.timedelta(minutes=minutes)
    return sa.update(RUNS).where(RUNS.c.run_id == run["run_id"]).values(finished_at=moment)


def measured(run: Any, task: str, value: float, name: str = "accuracy") -> sa.Executable:
    values = {"task_id": task, "artifact_id": 1, "name": name, "value": value}
    return sa.insert(METRICS).values(run_id=run["run_id"], **values)


async def names(api: Api, size: int = 2, **query: Any) -> list[str]:
    """The names of all pages together."""
    seen: list[str] = []
    token = ""
    while True:
        page = await get(api, "/runs", page_size=str(size), page_token=token, **query)
        seen += [run["display_name"] for run in page.get("runs", [])]
        token = page.get("next_page_token", "")
        if not token:
            assert page.get("total_size", 0) == len(seen)
            return seen


@pytest.mark.parametrize("size", [1, 2, 3, 10])
async def test_runs_that_have_not_ended_come_before_the_others(
    api: Api, context: Context, size: int
) -> None:
    runs = await make_runs(api, *"abcde")
    await store(context, ended(runs[0], 3), ended(runs[1], 1), ended(runs[2], 2))
    pending = {"d", "e"}
    upwards = await names(api, size, sort_by="finished_at")
    assert upwards[2:] == ["b", "c", "a"]
    assert set(upwards[:2]) == pending
    assert await names(api, size, sort_by="finished_at desc") == upwards[::-1]


@pytest.mark.parametrize("size", [1, 2, 10])
async def test_runs_are_sorted_by_the_best_value_of_a_metric(
    api: Api, context: Context, size: int
) -> None:
    runs = await make_runs(api, *"abcd")
    await store(
        context,
        *(measured(run, "t", value) for run, value in zip(runs, (0.5, 0.7, 0.6), strict=False)),
        measured(runs[0], "u", 0.9),
        measured(runs[3], "t", 1.0, "loss"),
    )
    assert await names(api, size, sort_by="metric:accuracy desc") == ["a", "b", "c", "d"]
    assert await names(api, size, sort_by="metric:accuracy") == ["c", "b", "a", "d"]


async def test_field_names_may_be_written_in_capitals(api: Api) -> None:
    await make_runs(api, "b", "a")
    assert await names(api, sort_by="DISPLAY_NAME ASC") == ["a", "b"]


async def test_a_page_tells_the_total_that_the_first_one_counted(api: Api) -> None:
    await make_runs(api, "a", "b", "c")
    first = await get(api, "/runs", page_size="1", sort_by="display_name")
    await make_runs(api, "0", "d")
    second = await get(api, "/runs", page_size="10", page_token=first["next_page_token"])
    assert [run["display_name"] for run in second["runs"]] == ["b", "c", "d"]
    assert second["total_size"] == 3


async def test_what_is_excluded_is_not_counted(api: Api) -> None:
    runs = await make_runs(api, "a", "b", "ab", "c")
    await post(api, f"/runs/{runs[2]['run_id']}:archive")
    away = {"operation": "NOT_EQUALS", "key": "storage_state", "string_value": "ARCHIVED"}
    here = {"operation": "NOT_EQUALS", "key": "storage_state", "string_value": "AVAILABLE"}
    with_a = {"operation": "IS_SUBSTRING", "key": "display_name", "string_value": "A"}
    assert await names(api, filter={"predicates": [away]}) == ["a", "b", "c"]
    assert await names(api, filter={"predicates": [away, with_a]}) == ["a"]
    assert await names(api, filter={"predicates": [with_a, here]}) == ["ab"]
    assert await names(api, filter={"predicates": [away, here]}) == []


def one(**predicate: Any) -> dict[str, Any]:
    return {"predicates": [predicate]}


@pytest.mark.parametrize(
    "wanted",
    [
        one(operation="NOT_EQUALS", key="storage_state", string_value="ARCHIVED"),
        one(operation=1, key="state", stringValue="pending"),
        one(operation="IN", key="name", stringValues={"values": ["a", "x"]}),
        one(operation=9, key="display_name", string_value="A"),
        one(operation="LESS_THAN", key="created_at", timestampValue="2999-01-01T00:00:00+02:00"),
        one(operation="GREATER_THAN_EQUALS", key="created_at", longValue="1700000000"),
        one(operation="GREATER_THAN", key="created_at", int_value=1700000000),
        one(operation="IS_SUBSTRING", key="state_history", string_value="PENDING"),
        {},
    ],
)
async def test_every_form_of_a_predicate_is_understood(api: Api, wanted: Any) -> None:
    await make_runs(api, "a")
    assert await names(api, filter=wanted) == ["a"]
    assert await names(api, filter=quote(json.dumps(wanted))) == ["a"]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (one(operation="EQUALS", key="name", stringValues={"values": ["a"]}), "cannot use EQUALS"),
        (one(operation="IN", key="name", string_value="a"), "cannot use IN with string_value"),
        (one(operation="IS_SUBSTRING", key="name", int_value=1), "cannot use IS_SUBSTRING"),
        (one(operation=4, key="name", string_value="a"), 'unknown operation "4"'),
        (one(operation=1, key="name", string_value="a", int_value=1), "needs one value"),
        (one(operation=1, key="name", string_value="a", regex="b"), 'no field "regex"'),
        (one(operation=1, key="created_at", string_value="noon"), "not an RFC 3339 time"),
        ({"predicate": []}, 'unknown field "predicate"'),
    ],
)
async def test_a_filter_that_makes_no_sense_is_refused(api: Api, wanted: Any, message: str) -> None:
    assert message in (await get(api, "/runs", 400, filter=wanted))["message"]


@pytest.mark.parametrize(
    "changes", [{"value": "noon"}, {"value": {}}, {"key": []}, {"key": 2**70}, {"segment": -1}]
)
async def test_a_token_that_was_changed_is_refused(api: Api, changes: Any) -> None:
    await make_runs(api, "a", "b")
    page = await get(api, "/runs", page_size="1")
    token = json.loads(base64.urlsafe_b64decode(page["next_page_token"]))
    changed = base64.urlsafe_b64encode(json.dumps({**token, **changes}).encode()).decode()
    refused = await get(api, "/runs", 400, page_token=changed)
    assert refused["message"].startswith("page_token")


VALUES = st.one_of(
    st.text(max_size=8), st.integers(), st.floats(), st.booleans(), st.none(),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=3), st.none(), max_size=1),
    st.fixed_dictionaries({"values": st.lists(st.one_of(st.integers(), st.text()), max_size=3)}),
)  # fmt: skip
KINDS = (
    "string_value", "intValue", "long_value", "timestampValue", "string_values", "int_values",
    "longValues",
)  # fmt: skip
PREDICATES = st.builds(
    lambda operation, key, kind, value: {"operation": operation, "key": key, kind: value},
    st.one_of(st.integers(-1, 10), st.sampled_from(["EQUALS", "IN", "IS_SUBSTRING", "x"])),
    st.sampled_from([*RUN_LISTS.columns, *ARTIFACT_LISTS.columns, "tags.a", ""]),
    st.sampled_from(KINDS),
    VALUES,
)


@pytest.fixture(scope="module")
def empty() -> Iterator[sa.Engine]:
    """A database without rows."""
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    METADATA.create_all(engine)
    yield engine
    engine.dispose()


@given(st.lists(PREDICATES, max_size=2))
@example([one(operation=1, key="artifact_id", long_value="9" * 30)["predicates"][0]])
@example([one(operation=1, key="artifact_id", string_value="1.5")["predicates"][0]])
@example([one(operation=3, key="created_at", int_value=10**30)["predicates"][0]])
@settings(max_examples=200, deadline=None)
def test_any_filter_is_understood_or_refused(empty: sa.Engine, predicates: list[Any]) -> None:
    with empty.connect() as connection:
        for kind in (RUN_LISTS, ARTIFACT_LISTS):
            try:
                wanted = conditions(kind, json.dumps({"predicates": predicates}))
            except InvalidArgumentError:
                continue
            connection.execute(sa.select(kind.key).where(*wanted)).all()

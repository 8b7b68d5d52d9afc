"""What is drawn of a run: groups, loops and retries of workflows, and folds of what is too much."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.pipelines.specs import dag, document, step, task

from kubeling.gateway.steps.model import Step, StepTree
from kubeling.gateway.steps.pipeline import steps_of_pipeline
from kubeling.gateway.steps.visible import Shown, View, layers, shown
from kubeling.gateway.steps.workflow import attempts_of, steps_of_workflow


def node(key: str, kind: str, name: str, boundary: str = "", *children: str, **more: Any) -> Any:
    display = name.rpartition(".")[2]
    return {
        "id": key,
        "name": name,
        "displayName": display,
        "type": kind,
        "phase": "Succeeded",
        "boundaryID": boundary,
        "children": list(children),
        **more,
    }


def nodes(*listed: Any) -> dict[str, Any]:
    return {entry["id"]: entry for entry in listed}


def tree_of(*listed: Any) -> dict[str, Step]:
    return {step.label: step for step in steps_of_workflow("w", nodes(*listed))}


def boxes(columns: list[list[Shown]]) -> list[str]:
    return [box.step.label for column in columns for box in column]


def test_a_loop_of_a_dag_is_a_group_between_what_comes_before_and_after() -> None:
    found = tree_of(
        node("w", "DAG", "w", "", "p"),
        node("p", "Pod", "w.prepare", "w", "l"),
        node("l", "TaskGroup", "w.each", "w", "l0", "l1"),
        node("l0", "Pod", "w.each(0:a)", "w", "c"),
        node("l1", "Pod", "w.each(1:b)", "w", "c"),
        node("c", "Pod", "w.collect", "w"),
    )
    assert found["each"].kind == "loop"
    assert found["each"].after == ("p",)
    assert {found["each(0:a)"].parent, found["each(1:b)"].parent} == {"l"}
    assert found["collect"].after == ("l",), "it waits for the loop, not for each iteration"


def test_a_loop_without_items_is_passed_through() -> None:
    found = tree_of(
        node("w", "DAG", "w", "", "l"),
        node("l", "TaskGroup", "w.each", "w", "c"),
        node("c", "Pod", "w.collect", "w"),
    )
    assert found["collect"].parent == ""
    assert found["collect"].after == ("l",)


def test_steps_follow_the_steps_of_the_group_before_and_items_of_one_step_are_a_loop() -> None:
    found = tree_of(
        node("w", "Steps", "w", "", "g0"),
        node("g0", "StepGroup", "w[0]", "w", "a"),
        node("a", "Pod", "w[0].load", "w", "g1"),
        node("g1", "StepGroup", "w[1]", "w", "b0", "b1", "d"),
        node("b0", "Pod", "w[1].fit(0:x)", "w"),
        node("b1", "Pod", "w[1].fit(1:y)", "w", "g2"),
        node("d", "Pod", "w[1].look", "w", "g2"),
        node("g2", "StepGroup", "w[2]", "w", "e"),
        node("e", "Pod", "w[2].report", "w"),
    )
    loop = found["fit"]
    assert loop.kind == "loop"
    assert found["fit(0:x)"].parent == found["fit(1:y)"].parent == loop.id
    assert loop.after == ("a",)
    assert set(found["report"].after) == {loop.id, "d"}


def test_a_retried_step_is_one_step_with_its_attempts() -> None:
    listed = (
        node("w", "DAG", "w", "", "r"),
        node("r", "Retry", "w.fit", "w", "r0", "r1"),
        node("r0", "Pod", "w.fit(0)", "w", phase="Failed"),
        node("r1", "Pod", "w.fit(1)", "w", "z"),
        node("z", "Pod", "w.report", "w"),
    )
    found = tree_of(*listed)
    assert set(found) == {"fit", "report"}
    assert found["fit"].attempts == 2
    assert found["report"].after == ("r",)
    assert [a["id"] for a in attempts_of("r", nodes(*listed))] == ["r0", "r1"]


def test_what_waits_for_a_nested_dag_waits_for_the_whole() -> None:
    found = tree_of(
        node("w", "DAG", "w", "", "n"),
        node("n", "DAG", "w.inner", "w", "x"),
        node("x", "Pod", "w.inner.x", "n", "y"),
        node("y", "Pod", "w.inner.y", "n", "z"),
        node("z", "Pod", "w.after", "w"),
    )
    assert found["inner"].kind == "dag"
    assert found["y"].parent == "n"
    assert found["y"].after == ("x",)
    assert found["after"].after == ("n",)


def test_a_pipeline_that_has_not_run_shows_what_may_happen() -> None:
    loop = {"parameterIterator": {"items": {"raw": "[1]"}, "itemInput": "i"}}
    package = document(
        {"load": task(), "each": task("body", "load", **loop)},
        {"step": step(), "body": dag({"fit": task(), "score": task("step", "fit")})},
    )
    found = {s.id: s for s in steps_of_pipeline({"pipeline_spec": package})}
    assert found["each"].kind == "loop"
    assert found["each"].after == ("load",)
    assert found["each/score"].parent == "each"
    assert found["each/score"].after == ("each/fit",)


def wide(count: int, state: str = "succeeded") -> list[Step]:
    return [Step(f"i{i}", f"each({i})", state, parent="loop") for i in range(count)]


def test_a_loop_is_shut_when_it_would_fill_the_screen() -> None:
    small = StepTree([Step("loop", "each", "running", "loop"), *wide(5)])
    large = StepTree([Step("loop", "each", "running", "loop"), *wide(2000)])
    assert shown(small, View())[0][0].is_open
    box = shown(large, View())[0][0]
    assert not box.is_open
    assert box.tally["succeeded"] == 2000


def test_an_opened_loop_shows_its_failures_and_folds_most_of_the_rest() -> None:
    steps = [Step("loop", "each", "failed", "loop"), *wide(2000)]
    steps[1500] = Step("bad", "the bad one", "failed", parent="loop")
    (box,) = shown(StepTree(steps), View(open=frozenset({"loop"})))[0]
    assert box.columns is not None
    labels = boxes(box.columns)
    assert "the bad one" in labels
    assert "1980 more" in labels
    assert len(labels) == 21


def test_a_long_chain_is_folded_into_stretches_that_follow_each_other() -> None:
    chain = [
        Step(f"s{i}", f"step {i}", "succeeded", after=(f"s{i - 1}",) if i else ())
        for i in range(2000)
    ]
    columns = shown(StepTree(chain), View())
    assert len(columns) <= 30
    assert columns[0][0].step.label.startswith("step 0 …")
    assert columns[1][0].step.after == (columns[0][0].step.id,)


def test_a_search_opens_the_groups_around_what_it_finds_and_fades_the_rest() -> None:
    steps = [Step("loop", "each", "running", "loop"), *wide(2000), Step("x", "other", "running")]
    columns = shown(StepTree(steps), View(search="each(1999)"))
    matching = {
        box.step.label: box.matches
        for column in columns
        for top in column
        for box in [top, *(b for inside in top.columns or () for b in inside)]
    }
    assert matching["each"]
    assert matching["each(1999)"], "it is not in the fold"
    assert not matching["other"]
    assert not matching["each(0)"]


def test_a_group_is_found_by_its_name_with_what_is_in_it() -> None:
    steps = [
        Step("l", "each", "failed", "loop"),
        Step("a", "each(33)", "failed", "iteration", "l"),
        Step("a1", "train", "failed", parent="a"),
        Step("a2", "check", "omitted", parent="a"),
        Step("b", "each(4)", "succeeded", "iteration", "l"),
        Step("b1", "train", "succeeded", parent="b"),
    ]
    tree = StepTree(steps)
    assert [s.id for s in View(search="each(33").found(tree)] == ["a1", "a2"]
    assert [s.id for s in View(search="each(33", state="failed").found(tree)] == ["a1"]
    assert [s.id for s in View(search="TRAIN").found(tree)] == ["a1", "b1"]
    assert View(search="nowhere").found(tree) == []


def test_a_search_leaves_groups_without_a_match_shut() -> None:
    steps = [Step("a", "a", "failed", "dag"), Step("a1", "bad", "failed", parent="a")]
    steps += [Step("b", "b", "succeeded", "dag"), Step("b1", "good", "succeeded", parent="b")]
    (column,) = shown(StepTree(steps), View(state="failed"))
    assert [(box.step.label, box.is_open) for box in column] == [("a", True), ("b", False)]


def test_failed_finds_errors_too() -> None:
    tree = StepTree([Step("a", "a", "error"), Step("b", "b", "failed")])
    assert [s.id for s in View(state="failed").found(tree)] == ["a", "b"]
    assert [s.id for s in View(state="error").found(tree)] == ["a"]


def test_the_longest_path_goes_from_the_last_end_back_to_what_it_waited_for_last() -> None:
    tree = StepTree(
        [
            Step("a", "a", "succeeded", started=0, finished=2),
            Step("b", "b", "succeeded", started=0, finished=9),
            Step("c", "c", "succeeded", "dag", after=("a", "b"), started=9, finished=12),
            Step("d", "d", "succeeded", parent="c", started=9, finished=10),
            Step("e", "e", "succeeded", parent="c", started=9, finished=12),
        ]
    )
    assert tree.critical == {"b", "c", "e"}


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=120))
def test_every_step_is_drawn_once_or_folded_whatever_the_edges(
    edges: list[tuple[int, int]],
) -> None:
    steps = [
        Step(str(i), str(i), "", after=tuple({str(a) for a, b in edges if b == i}))
        for i in range(61)
    ]
    assert sorted(s.id for column in layers(steps) for s in column) == sorted(s.id for s in steps)
    columns = shown(StepTree(steps), View())
    drawn = [box for column in columns for box in column]
    assert sum(box.tally.total() or 1 for box in drawn) == 61
    ids = [box.step.id for box in drawn]
    assert len(set(ids)) == len(ids)

"""The dashboard's pictures."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kubeling.gateway.drawing.curves import Curve, draw_curves, thinned
from kubeling.gateway.drawing.graph import draw_graph
from kubeling.gateway.drawing.parallel import Line, axes_of, draw_parallel
from kubeling.gateway.drawing.picture import Picture, differences
from kubeling.gateway.drawing.plane import Scale
from kubeling.gateway.drawing.timeline import draw_timeline
from kubeling.gateway.pages.artifacts.lineage import Lineage
from kubeling.gateway.pages.view import short
from kubeling.gateway.steps.model import Step, StepTree
from kubeling.gateway.steps.visible import View, shown

STEPS = [
    Step("a", "load", "succeeded", started=0.0, finished=4.0),
    Step("loop", "each", "running", "loop", after=("a",), started=4.0),
    Step("0", "each(0)", "succeeded", parent="loop", started=4.0, finished=9.0),
    Step("1", "each(1)", "running", parent="loop", started=4.0),
    Step("b", "report", "waiting", after=("loop",)),
]


def graph(*steps: Step, **view: frozenset[str]) -> Picture:
    tree = StepTree(steps or STEPS)
    columns = shown(tree, View(**view))
    return draw_graph(columns, tree.critical, "/steps/{}".format, "?open={}".format)


def timeline(*steps: Step, now: float = 12.0) -> Picture:
    tree = StepTree(steps or STEPS)
    columns = shown(tree, View())
    return draw_timeline(columns, tree.critical, now, "/steps/{}".format, "?open={}".format)


def test_an_open_group_is_a_frame_around_its_steps_and_a_shut_one_a_box() -> None:
    assert graph().pieces.keys() == {"ba", "floop", "b0", "b1", "bb", "ea>loop", "eloop>b"}
    shut = graph(shut=frozenset({"loop"}))
    assert shut.pieces.keys() == {"ba", "bloop", "bb", "ea>loop", "eloop>b"}
    assert "1/2 done" in shut.pieces["bloop"]


def test_what_changed_is_sent_alone() -> None:
    ended = Step("1", "each(1)", "failed", parent="loop", started=4.0, finished=12.0)
    done = [*STEPS[:3], ended, STEPS[4]]
    changes = differences(graph(), graph(*done))
    assert changes is not None
    assert changes["gone"] == []
    assert sorted(p.partition(":")[0].rpartition(">")[2] for p in changes["put"]) == ["each(1)"]
    assert differences(graph(), graph()) is None


def test_a_group_that_is_opened_replaces_its_box() -> None:
    changes = differences(graph(shut=frozenset({"loop"})), graph())
    assert changes is not None
    assert changes["gone"] == ["bloop"]
    assert any('data-key="floop"' in piece for piece in changes["put"])


def test_a_timeline_has_a_bar_as_long_as_each_step_took() -> None:
    picture = timeline()
    rows = {key for key in picture.pieces if key.startswith("b")}
    assert rows == {"ba", "bloop", "b0", "b1", "bb"}
    assert ">4s<" in picture.pieces["ba"]
    assert ">8s<" in picture.pieces["b1"], "what still runs grows with the clock"


def test_names_from_users_cannot_become_markup() -> None:
    step = Step('"><script>', '<script>"', "running", started=0.0)
    for picture in (graph(step), timeline(step)):
        text = picture.draw("picture", "<script>")
        assert "<script>" not in text
        assert '"">' not in text


def test_numbers_and_categories_get_the_axes_they_need() -> None:
    lines = [
        Line("t1", {"lr": "0.1", "opt": "sgd"}),
        Line("t2", {"lr": "0.01", "opt": "adam"}, best=True),
    ]
    lr, opt = axes_of(lines, ["lr", "opt"])
    assert (lr.scale.low, lr.scale.high) == (0.01, 0.1)
    assert opt.scale.categories == ("adam", "sgd")
    assert draw_parallel(lines, [lr, opt]).count("<polyline") == 2


def test_many_axes_scroll_instead_of_running_into_each_other() -> None:
    names = [f"parameter_number_{i}" for i in range(40)]
    drawn = draw_parallel([Line("t", dict.fromkeys(names, "1"))], axes_of([], names))
    assert 'style="min-width: 3552px"' in drawn
    assert "<title>parameter_number_39</title>param…ber_39" in drawn


def test_a_curve_names_its_run_and_leads_to_it() -> None:
    drawn = draw_curves(
        [Curve("one", [(0, 1.0), (1, 0.5)], link="/runs/1"), Curve("<two>", [(0, 2.0)])],
        "epoch",
        "loss",
    )
    assert 'href="/runs/1"' in drawn
    assert "one: 0.5 last, 2 values" in drawn
    assert "<circle" in drawn, "a single value is a point"
    assert "&lt;two&gt;" in drawn


def test_among_many_curves_only_those_that_stand_out_are_named() -> None:
    many = [Curve(f"t{n}", [(0, n), (1, n)], strong=n == 3) for n in range(30)]
    drawn = draw_curves(many, "step", "loss")
    assert drawn.count("<text") - drawn.count('class="tick') - drawn.count('class="name"') == 1


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=2000))
def test_thinning_keeps_the_ends_and_the_extremes(values: list[float]) -> None:
    points = [(float(place), value) for place, value in enumerate(values)]
    kept = thinned(points)
    assert len(kept) <= 260
    assert (kept[0], kept[-1]) == (points[0], points[-1])
    assert [x for x, _ in kept] == sorted(x for x, _ in kept)
    for extreme in (min, max):
        assert extreme(y for _, y in kept) == extreme(values)


@given(
    st.lists(st.floats(1e-9, 1e9), min_size=1, max_size=20),
    st.booleans(),
)
def test_every_value_has_its_place_on_a_scale_of_them(values: list[float], log: bool) -> None:
    scale = Scale.of(values, log=log)
    for value in values:
        place = scale.place(value)
        assert place is not None
        assert -1e-6 <= place <= 1 + 1e-6
    assert all(-1e-6 <= place <= 1 + 1e-6 for place, _ in scale.marks())
    assert len(scale.marks()) <= 14


def test_a_scale_of_categories_and_what_has_no_place() -> None:
    scale = Scale.of_categories(["adam", "sgd"])
    assert [text for _, text in scale.marks()] == ["adam", "sgd"]
    assert scale.place("rmsprop") is None
    assert Scale(1, 10, log=True).place(0) is None
    assert Scale(0, 1).place("nan") is None


def test_a_lineage_has_one_box_for_a_step_and_its_repeats_from_the_cache() -> None:
    def task(run: str, name: str, state: str = "SUCCEEDED") -> dict[str, Any]:
        return {"run_id": run, "name": name, "state": state}

    def link(task: str, artifact: str, direction: str) -> dict[str, Any]:
        return {"task_id": task, "artifact_id": artifact, "type": direction}

    lineage = Lineage(
        [link(t, "m", "OUTPUT") for t in ("c2", "made", "c1")] + [link("used", "m", "INPUT")],
        {
            "c2": task("r3", "fit", "CACHED"),
            "made": task("r1", "fit"),
            "c1": task("r2", "fit", "CACHED"),
            "used": task("r1", "test"),
        },
        {"m": {"name": "model", "schema_title": "system.Model"}},
    )
    assert lineage.of("m", "OUTPUT")[0]["run_id"] == "r1"
    drawn = lineage.draw("m", {"r1": "the first run"})
    assert drawn.count('data-key="b') == 3
    assert "in 3 runs" in drawn
    assert "the first run" in drawn
    assert "/pipelines/runs/r1#step=made" in drawn


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (0.0, "0.0"),
        (None, ""),
        ("0.123456789", "0.123457"),
        ("a long word", "a long word"),
    ],
)
def test_numbers_are_shown_short_and_zero_is_one(value: object, shown: str) -> None:
    assert short(value) == shown

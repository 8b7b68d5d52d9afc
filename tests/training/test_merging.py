"""Strategic merge, as runtime patches use it."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kubeling.kube.objects import deep_copy
from kubeling.training.trainer.merging import merge

names = st.sampled_from(["a", "b", "c"])
env = st.lists(
    st.fixed_dictionaries({"name": names, "value": st.text(max_size=3)}),
    unique_by=lambda entry: entry["name"],
)


def test_named_entries_are_merged_and_new_ones_appended() -> None:
    base = {"containers": [{"name": "node", "image": "a", "command": ["x", "y"]}]}
    patch = {"containers": [{"name": "node", "command": ["z"]}, {"name": "log", "image": "b"}]}
    assert merge(base, patch) == {
        "containers": [
            {"name": "node", "image": "a", "command": ["z"]},
            {"name": "log", "image": "b"},
        ]
    }


def test_none_removes() -> None:
    assert merge({"a": 1, "b": {"c": 2, "d": 3}}, {"a": None, "b": {"c": None}}) == {"b": {"d": 3}}


@given(env, env)
def test_every_patched_variable_has_its_new_value(base: Any, patch: Any) -> None:
    merged = {e["name"]: e["value"] for e in merge({"env": base}, {"env": patch})["env"]}
    assert merged == {e["name"]: e["value"] for e in [*base, *patch]}


@given(env, env)
def test_merging_twice_is_merging_once_and_changes_neither_side(base: Any, patch: Any) -> None:
    before, wanted = {"env": deep_copy(base)}, {"env": deep_copy(patch)}
    once = merge(before, wanted)
    assert merge(once, wanted) == once
    assert (before, wanted) == ({"env": base}, {"env": patch})

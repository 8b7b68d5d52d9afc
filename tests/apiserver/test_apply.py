"""Server-side apply: what a manager stops stating goes, what another owns is a conflict."""

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeling.apiserver.apply import Applied, apply, record_update
from kubeling.apiserver.builtin.types import definition_schema
from kubeling.apiserver.fieldsets import decode_fields, encode_fields, field_set
from kubeling.apiserver.schema import compile_schema
from kubeling.kube.errors import Conflict

Obj = dict[str, Any]
NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
DEPLOYMENT = compile_schema(
    {"x-kubeling-ref": "io.k8s.api.apps.v1.Deployment"}, definition_schema, root=True
)


def by(manager: str, *, force: bool = False) -> Applied:
    return Applied(manager, "apps/v1", NOW, force=force)


def deployment(**spec: Any) -> Obj:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": spec,
    }


def template(*containers: Obj) -> Obj:
    return {"spec": {"containers": list(containers)}}


def owner_of(obj: Obj, manager: str) -> set[str]:
    for entry in obj["metadata"]["managedFields"]:
        if entry["manager"] == manager:
            return {"/".join(path) for path in decode_fields(entry["fieldsV1"])}
    return set()


def test_an_applier_owns_exactly_what_it_states() -> None:
    obj = apply(None, deployment(replicas=2), DEPLOYMENT, by("a"))
    assert owner_of(obj, "a") == {"f:spec/f:replicas"}


def test_a_field_no_longer_stated_and_owned_by_nobody_else_goes() -> None:
    obj = apply(None, deployment(replicas=2, paused=True), DEPLOYMENT, by("a"))
    obj = apply(obj, deployment(replicas=2), DEPLOYMENT, by("a"))
    assert obj["spec"] == {"replicas": 2}


def test_a_field_that_another_manager_states_too_stays() -> None:
    obj = apply(None, deployment(replicas=2, paused=True), DEPLOYMENT, by("a"))
    obj = apply(obj, deployment(paused=True), DEPLOYMENT, by("b"))
    obj = apply(obj, deployment(replicas=2), DEPLOYMENT, by("a"))
    assert obj["spec"] == {"replicas": 2, "paused": True}


def test_another_managers_value_is_a_conflict_that_names_it_and_the_field() -> None:
    obj = apply(None, deployment(replicas=2), DEPLOYMENT, by("a"))
    with pytest.raises(Conflict, match=r'conflict with "a": \.spec\.replicas') as raised:
        apply(obj, deployment(replicas=3), DEPLOYMENT, by("b"))
    (cause,) = raised.value.details["causes"]
    assert cause["reason"] == "FieldManagerConflict"


def test_force_takes_the_field_over() -> None:
    obj = apply(None, deployment(replicas=2), DEPLOYMENT, by("a"))
    obj = apply(obj, deployment(replicas=3), DEPLOYMENT, by("b", force=True))
    assert obj["spec"]["replicas"] == 3
    assert owner_of(obj, "a") == set()


def test_list_items_are_shared_by_their_keys() -> None:
    one, two = {"name": "one", "image": "x"}, {"name": "two", "image": "y"}
    obj = apply(None, deployment(template=template(one)), DEPLOYMENT, by("a"))
    obj = apply(obj, deployment(template=template(two)), DEPLOYMENT, by("b"))
    names = [c["name"] for c in obj["spec"]["template"]["spec"]["containers"]]
    assert names == ["one", "two"]
    obj = apply(obj, deployment(template=template()), DEPLOYMENT, by("b"))
    names = [c["name"] for c in obj["spec"]["template"]["spec"]["containers"]]
    assert names == ["one"]


def test_ports_are_found_by_number_and_protocol_with_its_default() -> None:
    one = {"name": "c", "ports": [{"containerPort": 80, "name": "a"}]}
    obj = apply(None, deployment(template=template(one)), DEPLOYMENT, by("a"))
    two = {"name": "c", "ports": [{"containerPort": 80, "protocol": "UDP"}]}
    obj = apply(obj, deployment(template=template(two)), DEPLOYMENT, by("b"))
    assert len(obj["spec"]["template"]["spec"]["containers"][0]["ports"]) == 2


def test_applying_the_same_again_changes_nothing() -> None:
    obj = apply(None, deployment(replicas=2), DEPLOYMENT, by("a"))
    assert apply(obj, deployment(replicas=2), DEPLOYMENT, by("a")) == obj


def test_an_update_takes_what_it_changes_from_an_applier() -> None:
    obj = apply(None, deployment(replicas=2), DEPLOYMENT, by("a"))
    changed = {**obj, "spec": {"replicas": 5}, "metadata": dict(obj["metadata"])}
    record_update(obj, changed, DEPLOYMENT, by("scaler"))
    assert owner_of(changed, "scaler") == {"f:spec/f:replicas"}
    with pytest.raises(Conflict):
        apply(changed, deployment(replicas=2), DEPLOYMENT, by("a"))


def test_who_came_before_the_notes_owns_what_was_there() -> None:
    live = deployment(replicas=2)
    with pytest.raises(Conflict, match=r'"before-first-apply" using apps/v1: \.spec\.replicas'):
        apply(live, deployment(replicas=3), DEPLOYMENT, by("a"))
    obj = apply(live, deployment(replicas=2), DEPLOYMENT, by("a"))
    assert owner_of(obj, "a") == owner_of(obj, "before-first-apply") == {"f:spec/f:replicas"}


def test_all_conflicts_are_told_by_their_owners() -> None:
    obj = apply(None, deployment(replicas=2, paused=True), DEPLOYMENT, by("a"))
    changed = {**obj, "spec": {**obj["spec"], "minReadySeconds": 1}}
    changed["metadata"] = dict(obj["metadata"])
    record_update(obj, changed, DEPLOYMENT, by("b"))
    with pytest.raises(Conflict) as raised:
        apply(changed, deployment(replicas=3, paused=False, minReadySeconds=2), DEPLOYMENT, by("c"))
    assert raised.value.message == (
        'Apply failed with 3 conflicts: conflicts with "a":\n'
        "- .spec.paused\n"
        "- .spec.replicas\n"
        'conflicts with "b" using apps/v1:\n'
        "- .spec.minReadySeconds"
    )


def test_an_item_that_someone_else_has_a_part_in_keeps_its_name() -> None:
    item = {"name": "one", "image": "x", "workingDir": "/"}
    obj = apply(None, deployment(template=template(item)), DEPLOYMENT, by("a"))
    changed = deployment(template=template({**item, "image": "y"}))
    changed["metadata"] = dict(obj["metadata"])
    record_update(obj, changed, DEPLOYMENT, by("b"))
    obj = apply(changed, deployment(), DEPLOYMENT, by("a"))
    containers = obj["spec"]["template"]["spec"]["containers"]
    assert containers == [{"name": "one", "image": "y"}]


def test_what_kubectl_applied_on_its_side_it_goes_on_applying_here() -> None:
    note = {"kubectl.kubernetes.io/last-applied-configuration": "{}"}
    live = deployment(replicas=2, paused=True)
    live["metadata"]["annotations"] = note
    record_update(None, live, DEPLOYMENT, by("kubectl-client-side-apply"))
    obj = apply(live, deployment(replicas=3), DEPLOYMENT, by("kubectl"))
    assert obj["spec"] == {"replicas": 3}
    assert [entry["manager"] for entry in obj["metadata"]["managedFields"]] == ["kubectl"]


class TestEntriesThatAnUpdateBrings:
    def updated(self, entries: Any, *, subresource: str = "") -> list[Obj]:
        old = apply(None, deployment(replicas=2), DEPLOYMENT, by("a"))
        new = {**old, "metadata": {**old["metadata"], "managedFields": entries}}
        record_update(old, new, DEPLOYMENT, Applied("b", "apps/v1", NOW, subresource))
        found: list[Obj] = new["metadata"].get("managedFields", [])
        return found

    @pytest.mark.parametrize("entries", [[], [{}]])
    def test_nothing_clears_them(self, entries: list[Obj]) -> None:
        assert self.updated(entries) == []

    def test_others_replace_them(self) -> None:
        other = {
            "manager": "z",
            "operation": "Apply",
            "apiVersion": "apps/v1",
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:spec": {"f:replicas": {}}},
        }
        assert self.updated([other]) == [other]

    @pytest.mark.parametrize(
        "entries",
        [
            None,
            [{"manager": "z"}],
            [{"manager": "z", "operation": "Apply", "apiVersion": "v1", "fieldsV1": {"k:{": {}}}],
        ],
    )
    def test_absent_or_garbled_ones_change_nothing(self, entries: Any) -> None:
        assert [entry["manager"] for entry in self.updated(entries)] == ["a"]

    def test_a_subresource_cannot_bring_any(self) -> None:
        assert [entry["manager"] for entry in self.updated([], subresource="status")] == ["a"]


def test_an_object_without_notes_stays_without_until_the_next_apply() -> None:
    old, new = deployment(replicas=1), deployment(replicas=2)
    record_update(old, new, DEPLOYMENT, by("b"))
    assert "managedFields" not in new["metadata"]


PATHS = st.frozensets(
    st.lists(
        st.sampled_from(["f:a", "f:b", 'k:{"name":"x"}', 'k:{"name":"y"}']),
        min_size=1,
        max_size=4,
    ).map(lambda path: ("f:root", *path)),
    max_size=6,
)


@given(PATHS)
def test_ownership_survives_being_written_and_read(paths: frozenset[tuple[str, ...]]) -> None:
    leaves = frozenset(
        path
        for path in paths
        if path[-1].startswith("k:")
        or not any(len(other) > len(path) and other[: len(path)] == path for other in paths)
    )
    assert decode_fields(encode_fields(leaves)) == leaves


SPECS = st.fixed_dictionaries(
    {},
    optional={
        "replicas": st.integers(0, 3),
        "paused": st.booleans(),
        "minReadySeconds": st.integers(0, 2),
        "template": st.lists(st.sampled_from("abc"), unique=True, max_size=3).map(
            lambda names: template(*({"name": n, "image": n} for n in names))
        ),
    },
)


@given(SPECS, SPECS)
def test_the_result_states_everything_the_applier_states(first: Obj, second: Obj) -> None:
    obj = apply(None, deployment(**first), DEPLOYMENT, by("a"))
    obj = apply(obj, deployment(**second), DEPLOYMENT, by("a"))
    assert field_set(deployment(**second), DEPLOYMENT) <= field_set(obj, DEPLOYMENT)
    for key in ("replicas", "paused", "minReadySeconds"):
        assert obj["spec"].get(key) == second.get(key)


@given(SPECS, SPECS)
def test_what_someone_applies_and_takes_back_leaves_no_trace(first: Obj, second: Obj) -> None:
    before = apply(None, deployment(**first), DEPLOYMENT, by("a"))
    after = apply(before, deployment(**second), DEPLOYMENT, by("b", force=True))
    undone = apply(after, deployment(), DEPLOYMENT, by("b"))
    mine = apply(undone, deployment(**first), DEPLOYMENT, by("a"))
    assert filled(mine["spec"]) == filled(before["spec"])


@given(SPECS, SPECS)
def test_managers_that_agree_can_apply_in_any_order(first: Obj, second: Obj) -> None:
    second = {key: value for key, value in second.items() if key not in first}
    one = apply(None, deployment(**first), DEPLOYMENT, by("a"))
    one = apply(one, deployment(**second), DEPLOYMENT, by("b"))
    other = apply(None, deployment(**second), DEPLOYMENT, by("b"))
    other = apply(other, deployment(**first), DEPLOYMENT, by("a"))
    assert one["spec"] == other["spec"]
    for manager in ("a", "b"):
        assert owner_of(one, manager) == owner_of(other, manager)


@given(SPECS, SPECS)
def test_a_conflict_is_another_value_in_a_field_that_someone_owns(first: Obj, second: Obj) -> None:
    live = apply(None, deployment(**first), DEPLOYMENT, by("a"))
    plain = ("replicas", "paused", "minReadySeconds")
    disputed = {f".spec.{key}" for key in plain if key in first and key in second
                and first[key] != second[key]}  # fmt: skip
    only_plain = {key: second[key] for key in plain if key in second}
    try:
        apply(live, deployment(**only_plain), DEPLOYMENT, by("b"))
        found = set()
    except Conflict as conflict:
        found = {cause["field"] for cause in conflict.details["causes"]}
    assert found == disputed


def filled(value: Any) -> Any:
    """The value without the empty lists and objects that say nothing."""
    if isinstance(value, dict):
        inner = {key: filled(below) for key, below in value.items()}
        return {key: below for key, below in inner.items() if below not in ({}, [])}
    return [filled(item) for item in value] if isinstance(value, list) else value

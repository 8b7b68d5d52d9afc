"""Patches do what RFC 6902, RFC 7386 and Kubernetes' strategic merge say."""

import copy
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeling.apiserver.builtin.types import definition_schema
from kubeling.apiserver.patch import json_patch, merge_patch, strategic_merge_patch
from kubeling.apiserver.schema import compile_schema
from kubeling.kube.errors import BadRequest, Invalid

POD = compile_schema({"x-kubeling-ref": "io.k8s.api.core.v1.Pod"}, definition_schema, root=True)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(max_size=2), JSON, max_size=4)


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: without_nulls(v) for k, v in value.items() if v is not None}
    return value


class TestMergePatch:
    def test_objects_merge_null_deletes_and_lists_are_replaced(self) -> None:
        target = {"a": {"b": 1, "c": 2}, "list": [1, 2]}
        patched = merge_patch(target, {"a": {"b": None, "d": 3}, "list": [9]})
        assert patched == {"a": {"c": 2, "d": 3}, "list": [9]}
        assert target == {"a": {"b": 1, "c": 2}, "list": [1, 2]}

    @given(OBJECTS, OBJECTS)
    def test_applying_a_patch_twice_is_applying_it_once(self, target: Any, patch: Any) -> None:
        once = merge_patch(target, patch)
        assert merge_patch(once, patch) == once

    @given(OBJECTS)
    def test_a_patch_on_nothing_is_the_patch_without_its_nulls(self, patch: Any) -> None:
        assert merge_patch({}, patch) == without_nulls(patch)


class TestJsonPatch:
    def test_all_operations(self) -> None:
        target = {"a": 1, "list": ["x", "y"], "m": {"k/l": 1}}
        patched = json_patch(
            target,
            [
                {"op": "test", "path": "/a", "value": 1},
                {"op": "replace", "path": "/a", "value": 2},
                {"op": "add", "path": "/list/-", "value": "z"},
                {"op": "add", "path": "/list/0", "value": "w"},
                {"op": "remove", "path": "/m/k~1l"},
                {"op": "copy", "from": "/a", "path": "/b"},
                {"op": "move", "from": "/b", "path": "/c"},
            ],
        )
        assert patched == {"a": 2, "list": ["w", "x", "y", "z"], "m": {}, "c": 2}

    @pytest.mark.parametrize(
        "operation",
        [
            {"op": "test", "path": "/a", "value": 2},
            {"op": "remove", "path": "/nope"},
            {"op": "replace", "path": "/nope/deep", "value": 1},
            {"op": "add", "path": "/list/9", "value": 1},
            {"op": "add", "path": "/list/\u00b2", "value": 1},
        ],
    )
    def test_what_does_not_fit_the_object_is_refused(self, operation: dict[str, Any]) -> None:
        with pytest.raises(Invalid):
            json_patch({"a": 1, "list": []}, [operation])

    @pytest.mark.parametrize(
        "patch",
        [{}, [1], [{"op": "add"}], [{"op": "up", "path": "/a"}], [{"op": "move", "path": "/a"}]],
    )
    def test_what_is_no_patch_is_refused(self, patch: Any) -> None:
        with pytest.raises(BadRequest):
            json_patch({}, patch)

    @given(OBJECTS, OBJECTS)
    def test_replacing_the_root_gives_the_value(self, target: Any, value: Any) -> None:
        assert json_patch(target, [{"op": "replace", "path": "", "value": value}]) == value


class TestStrategicMergePatch:
    POD: ClassVar[dict[str, Any]] = {
        "metadata": {"finalizers": ["a", "b"]},
        "spec": {
            "containers": [
                {"name": "one", "image": "x", "env": [{"name": "A", "value": "1"}]},
                {"name": "two", "image": "y"},
            ],
            "nodeSelector": {"disk": "ssd"},
        },
    }

    def patched(self, patch: dict[str, Any]) -> dict[str, Any]:
        return strategic_merge_patch(self.POD, patch, POD)

    def test_containers_merge_by_name_and_variables_within_them(self) -> None:
        env = [{"name": "B", "value": "2"}]
        after = self.patched({"spec": {"containers": [{"name": "one", "env": env}]}})
        one, two = after["spec"]["containers"]
        assert one["image"] == "x"
        assert [e["name"] for e in one["env"]] == ["B", "A"], "new items come first, as upstream"
        assert two == {"name": "two", "image": "y"}

    def test_an_item_can_be_deleted_by_its_key(self) -> None:
        after = self.patched({"spec": {"containers": [{"name": "one", "$patch": "delete"}]}})
        assert [c["name"] for c in after["spec"]["containers"]] == ["two"]

    def test_a_list_or_map_can_be_replaced_as_a_whole(self) -> None:
        after = self.patched(
            {
                "spec": {
                    "containers": [{"$patch": "replace"}, {"name": "new"}],
                    "nodeSelector": {"$patch": "replace", "arch": "arm"},
                }
            }
        )
        assert after["spec"]["containers"] == [{"name": "new"}]
        assert after["spec"]["nodeSelector"] == {"arch": "arm"}

    def test_primitive_lists_merge_and_lose_items_on_request(self) -> None:
        after = self.patched(
            {"metadata": {"finalizers": ["c"], "$deleteFromPrimitiveList/finalizers": ["a"]}}
        )
        assert after["metadata"]["finalizers"] == ["c", "b"]

    def test_the_order_of_items_can_be_set(self) -> None:
        order = [{"name": "two"}, {"name": "one"}]
        after = self.patched({"spec": {"$setElementOrder/containers": order}})
        assert [c["name"] for c in after["spec"]["containers"]] == ["two", "one"]

    def test_an_item_without_its_key_is_refused(self) -> None:
        with pytest.raises(BadRequest, match="merge key: name"):
            self.patched({"spec": {"containers": [{"image": "z"}]}})

    def test_only_the_named_keys_are_retained(self) -> None:
        strategy = {"$retainKeys": ["type"], "type": "Recreate"}
        deployment = compile_schema(
            {"x-kubeling-ref": "io.k8s.api.apps.v1.Deployment"}, definition_schema, root=True
        )
        live = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
        after = strategic_merge_patch(live, {"spec": {"strategy": strategy}}, deployment)
        assert after == {"spec": {"strategy": {"type": "Recreate"}}}

    @pytest.mark.parametrize(
        "patch", [[], {"spec": {"$patch": "maybe"}}, {"spec": {"containers": [1]}}]
    )
    def test_what_is_no_patch_is_refused(self, patch: Any) -> None:
        with pytest.raises(BadRequest):
            strategic_merge_patch(self.POD, patch, POD)


NAMES = st.sampled_from(["a", "b", "c"])
CONTAINERS = st.dictionaries(
    NAMES,
    st.fixed_dictionaries(
        {}, optional={"image": st.sampled_from(["x", "y"]), "args": st.lists(NAMES, max_size=2)}
    ),
    max_size=3,
).map(lambda named: [{"name": name, **fields} for name, fields in named.items()])
PODS = st.fixed_dictionaries(
    {"containers": CONTAINERS},
    optional={
        "nodeSelector": st.dictionaries(NAMES, NAMES),
        "priority": st.integers(0, 3),
        "tolerations": st.lists(st.fixed_dictionaries({"key": NAMES}), max_size=2),
    },
)


class TestStrategicMergeOfAnything:
    @given(PODS, PODS)
    def test_twice_is_once_and_both_sides_are_left_alone(self, live: Any, patch: Any) -> None:
        before = copy.deepcopy((live, patch))
        once = strategic_merge_patch({"spec": live}, {"spec": patch}, POD)
        assert strategic_merge_patch(once, {"spec": patch}, POD) == once
        assert (live, patch) == before

    @given(PODS, PODS)
    def test_what_the_patch_says_holds_and_what_it_is_silent_about_stays(
        self, live: Any, patch: Any
    ) -> None:
        spec = strategic_merge_patch({"spec": live}, {"spec": patch}, POD)["spec"]
        merged = {c["name"]: c for c in spec["containers"]}
        said = {c["name"]: c for c in patch["containers"]}
        was = {c["name"]: c for c in live["containers"]}
        assert merged == {n: {**was.get(n, {}), **said.get(n, {})} for n in was.keys() | said}
        assert [n for n in merged if n in said] == list(said)
        assert [n for n in merged if n not in said] == [n for n in was if n not in said]
        for key in ("priority", "tolerations"):
            assert spec.get(key) == patch.get(key, live.get(key))

    @given(PODS, st.permutations(["a", "b", "c"]))
    def test_a_stated_order_is_kept(self, live: Any, order: list[str]) -> None:
        wanted = [{"name": name} for name in order]
        patch = {"spec": {"$setElementOrder/containers": wanted}}
        spec = strategic_merge_patch({"spec": live}, patch, POD)["spec"]
        present = {c["name"] for c in live["containers"]}
        assert [c["name"] for c in spec["containers"]] == [n for n in order if n in present]

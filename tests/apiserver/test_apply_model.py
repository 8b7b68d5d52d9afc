"""Whoever writes what in whatever order: owners and values are those of a model on one page.

The model knows flat names only: a value, and who owns it. The real thing is asked to keep the same
names as fields of a map and as items of a keyed list, side by side. An item is owned itself, apart
from what is in it, and is there for as long as anyone owns either.
"""

from __future__ import annotations

import copy
import datetime as dt
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubeling.apiserver.apply import Applied, apply, record_update
from kubeling.apiserver.schema import compile_schema
from kubeling.kube.errors import Conflict

Obj = dict[str, Any]
Values = dict[str, str]
Owner = tuple[str, str]

ITEM = {"type": "object", "properties": {"name": {"type": "string"}, "size": {"type": "string"}}}
SCHEMA = compile_schema(
    {
        "type": "object",
        "properties": {
            "fields": {"type": "object", "additionalProperties": {"type": "string"}},
            "items": {
                "type": "array",
                "items": ITEM,
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
            },
        },
    },
    lambda name: {"type": "object"},
    root=True,
)
NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
VALUES = st.dictionaries(st.sampled_from("abcd"), st.sampled_from("12"), max_size=4)
WRITES = st.lists(
    st.tuples(
        st.sampled_from(["ann", "bob", "eve"]),
        st.sampled_from(["apply", "force", "update"]),
        VALUES,
    ),
    max_size=12,
)


class Model:
    """Values, and who owns them."""

    def __init__(self) -> None:
        self.values: Values = {}
        self.owners: dict[str, set[Owner]] = {}

    def disputed(self, me: Owner, wanted: Values) -> set[str]:
        """What cannot be applied without force."""
        return {
            name
            for name, value in wanted.items()
            if self.values.get(name, value) != value and self.owners[name] - {me}
        }

    def apply(self, me: Owner, wanted: Values) -> None:
        for name in self.disputed(me, wanted):
            self.owners[name] = set()
        for name, value in wanted.items():
            self.values[name] = value
            self.owners.setdefault(name, set()).add(me)
        for name in [name for name in self.values if name not in wanted]:
            if me in self.owners[name]:
                self.owners[name].discard(me)
                if not self.owners[name]:
                    del self.values[name], self.owners[name]

    def update(self, me: Owner, values: Values) -> None:
        for name in [name for name in self.values if name not in values]:
            del self.values[name], self.owners[name]
        for name, value in values.items():
            if self.values.get(name) != value:
                self.values[name] = value
                self.owners[name] = {me}


def presence(values: Values, but: Values | None = None) -> Values:
    return dict.fromkeys(values.keys() - (but or {}).keys(), "there")


def shaped(values: Values) -> Obj:
    items = [{"name": name, "size": value} for name, value in values.items()]
    return {
        "apiVersion": "example.org/v1",
        "kind": "Thing",
        "metadata": {"name": "thing"},
        "fields": dict(values),
        "items": items,
    }


def items_of(obj: Obj) -> dict[str, str | None]:
    items = obj.get("items") or []
    assert len({item["name"] for item in items}) == len(items)
    return {item["name"]: item.get("size") for item in items}


def owners(obj: Obj, section: str, element: str = "") -> dict[str, set[Owner]]:
    """Who owns the fields of a section, or an element of its items."""
    found: dict[str, set[Owner]] = {}
    for entry in obj["metadata"].get("managedFields") or ():
        for path, below in (entry["fieldsV1"].get(f"f:{section}") or {}).items():
            if not element or element in below:
                name = json.loads(path[2:])["name"] if element else path[2:]
                found.setdefault(name, set()).add((entry["manager"], entry["operation"]))
    return found


@settings(max_examples=200, deadline=None, derandomize=True)
@given(WRITES)
def test_owners_and_values_are_those_of_the_model(writes: list[tuple[str, str, Values]]) -> None:
    model, there_model = Model(), Model()
    there = shaped({})
    record_update(None, there, SCHEMA, Applied("zero", "example.org/v1", NOW))
    for manager, how, values in writes:
        by = Applied(manager, "example.org/v1", NOW, force=how == "force")
        wanted = shaped(values)
        if how == "update":
            me = (manager, "Update")
            wanted["metadata"] = copy.deepcopy(there["metadata"])
            record_update(there, wanted, SCHEMA, by)
            # What is there already, because someone owns a part of it, is not made once more.
            kept = presence(model.values, there_model.values)
            there_model.update(me, presence(values, kept))
            model.update(me, values)
            there = wanted
        else:
            me = (manager, "Apply")
            if model.disputed(me, values) and not by.force:
                with pytest.raises(Conflict):
                    apply(there, wanted, SCHEMA, by)
                continue
            there = apply(there, wanted, SCHEMA, by)
            assert apply(there, wanted, SCHEMA, by) == there, "once more changes nothing"
            model.apply(me, values)
            there_model.apply(me, presence(values))
        assert (there.get("fields") or {}) == model.values
        assert items_of(there) == dict.fromkeys(there_model.values) | model.values
        assert owners(there, "fields") == model.owners
        assert owners(there, "items", "f:size") == model.owners
        assert owners(there, "items", ".") == there_model.owners

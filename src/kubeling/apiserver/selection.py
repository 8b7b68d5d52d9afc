"""What a list or a watch selects: by labels, by fields, or everything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from kubeling.apiserver.indices import Narrowing, Term
from kubeling.apiserver.options import ListOptions
from kubeling.apiserver.records import Record
from kubeling.apiserver.selectors import FieldTerm, field_selector
from kubeling.apiserver.served import Served
from kubeling.kube.selectors import LabelSelector, Requirement, parse

__all__ = ["Selection"]

_POSITIVE = ("In", "Exists")


@dataclass(frozen=True)
class Selection:
    """All labels and fields asked for must fit."""

    labels: LabelSelector
    fields: tuple[FieldTerm, ...]

    @classmethod
    def of(cls, served: Served, options: ListOptions) -> Selection:
        """Reads the selectors of a request; raises :class:`BadRequest`."""
        return cls(
            parse(options.labels) if options.labels else LabelSelector(),
            field_selector(options.fields, served) if options.fields else (),
        )

    def __bool__(self) -> bool:
        """Whether anything may be left out."""
        return bool(self.labels or self.fields)

    def matches(self, record: Record) -> bool:
        if self.labels and not self.labels.matches(record.labels):
            return False
        if not self.fields:
            return True
        obj = record.glance()
        return all(term.matches(obj) for term in self.fields)

    @cached_property
    def where(self) -> Narrowing:
        """Where to look for what is selected."""
        fields = {term.field: term for term in self.fields if term.same}
        name = fields.pop("metadata.name", None)
        terms = [_by_label(one) for one in self.labels.requirements if one.operator in _POSITIVE]
        terms += [_by_field(term) for term in fields.values()]
        return Narrowing(name.wanted if name else "", tuple(terms))


def _by_label(requirement: Requirement) -> Term:
    values = requirement.values if requirement.operator == "In" else None
    return Term("labels", _labels, requirement.key, values)


def _labels(record: Record) -> Mapping[str, Any]:
    return record.labels


def _by_field(term: FieldTerm) -> Term:
    def value(record: Record) -> Mapping[str, Any]:
        return {term.field: term.shown(record.glance())}

    return Term(f"field {term.field}", value, term.field, frozenset((term.wanted,)))

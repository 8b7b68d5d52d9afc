"""The webhooks there are, followed as their configurations change.

Which rules match depends only on the kind of request, so that is worked out once per kind of
request and remembered until a configuration, or what the server offers, changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from kubeling.apiserver.catalog import Catalog
from kubeling.apiserver.records import Event
from kubeling.apiserver.served import Served
from kubeling.apiserver.storage import Store
from kubeling.apiserver.webhooks.configuration import Webhook, webhooks_of
from kubeling.apiserver.webhooks.matching import matched_version

__all__ = ["Candidate", "Candidates", "WebhookIndex"]

_GROUP: Final = "admissionregistration.k8s.io/"
_MUTATING: Final = f"{_GROUP}mutatingwebhookconfigurations"
_VALIDATING: Final = f"{_GROUP}validatingwebhookconfigurations"


class Candidate(NamedTuple):
    """A webhook whose rules match, and the version in which it wants to see objects."""

    webhook: Webhook
    served: Served


class Candidates(NamedTuple):
    """Whom a kind of request is for, in the order of their configurations' names."""

    mutating: tuple[Candidate, ...]
    validating: tuple[Candidate, ...]


class WebhookIndex:
    """All webhooks by kind of request."""

    def __init__(self, store: Store, catalog: Catalog) -> None:
        self._catalog = catalog
        self._generation = catalog.generation
        self._webhooks: dict[str, dict[str, tuple[Webhook, ...]]] = {_MUTATING: {}, _VALIDATING: {}}
        self._known: dict[tuple[Served, str, str], Candidates | None] = {}
        self._empty = True
        for resource in self._webhooks:
            store.subscribe(resource, self._follow)

    def candidates(self, served: Served, operation: str, subresource: str) -> Candidates | None:
        """Whom such requests are for; ``None`` where for nobody."""
        if self._empty:
            return None
        if self._generation != self._catalog.generation:
            self._generation = self._catalog.generation
            self._known.clear()
        key = (served, operation, subresource)
        if key not in self._known:
            self._known[key] = self._find(served, operation, subresource)
        return self._known[key]

    def _follow(self, event: Event) -> None:
        resource, _, name = event.record.key
        if event.type == "DELETED":
            self._webhooks[resource].pop(name, None)
        else:
            self._webhooks[resource][name] = tuple(webhooks_of(event.record.obj))
        self._known.clear()
        self._empty = not any(any(found.values()) for found in self._webhooks.values())

    def _find(self, served: Served, operation: str, subresource: str) -> Candidates | None:
        if served.storage.startswith(_GROUP):
            # What decides on requests may always be put right.
            return None
        versions = [other for other in self._catalog if other.storage == served.storage]
        found = Candidates(
            *(
                tuple(self._matching(resource, served, operation, subresource, versions))
                for resource in (_MUTATING, _VALIDATING)
            )
        )
        return found if found.mutating or found.validating else None

    def _matching(
        self,
        resource: str,
        served: Served,
        operation: str,
        subresource: str,
        versions: list[Served],
    ) -> Iterator[Candidate]:
        for _, webhooks in sorted(self._webhooks[resource].items()):
            for webhook in webhooks:
                version = matched_version(webhook, served, operation, subresource, versions)
                if version is not None:
                    yield Candidate(webhook, version)

"""What answers for a whole group version, and the list of those that do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from kubeling.apiserver.requests import Answer, ApiRequest, Target
from kubeling.kube.objects import Obj

__all__ = ["Delegate", "Delegates", "GroupVersion"]

GroupVersion = tuple[str, str]


class Delegate(Protocol):
    """Answers requests whose user was found and allowed to make them."""

    @property
    def resources(self) -> Sequence[Obj]:
        """What it serves, as ``APIResource`` entries of plain discovery."""
        ...

    @property
    def stale(self) -> bool:
        """Whether what it serves cannot be told at this moment."""
        ...

    async def handle(self, target: Target, request: ApiRequest) -> Answer:
        """Answers; failures are :class:`~kubeling.kube.errors.ApiError`."""
        ...


class Delegates:
    """The delegates by group and version. ``generation`` counts what discovery has to follow.

    Those of APIServices come before this server's own: whoever installs an adapter wants it used.
    """

    def __init__(self) -> None:
        self.generation = 0
        self._own: dict[GroupVersion, Delegate] = {}
        self._registered: dict[GroupVersion, Delegate] = {}

    def add_own(self, group: str, version: str, delegate: Delegate) -> None:
        """Puts a part of this server in charge of a group version."""
        self._own[group, version] = delegate
        self.generation += 1

    def register(self, group: str, version: str, delegate: Delegate | None) -> None:
        """Puts an APIService's backend in charge, or nobody in its place."""
        if delegate is None:
            self._registered.pop((group, version), None)
        else:
            self._registered[group, version] = delegate
        self.generation += 1

    def changed(self) -> None:
        """Tells discovery to look again at what the delegates serve."""
        self.generation += 1

    def find(self, group: str, version: str) -> Delegate | None:
        """Who is in charge, if not the registry."""
        if not self._registered and not self._own:
            return None
        key = (group, version)
        return self._registered.get(key) or self._own.get(key)

    def own(self) -> Iterator[GroupVersion]:
        """The group versions that parts of this server answer for."""
        return iter(self._own)

    def __iter__(self) -> Iterator[tuple[GroupVersion, Delegate]]:
        return iter({**self._own, **self._registered}.items())

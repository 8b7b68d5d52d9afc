"""Revisions of a service, and how requests are split among them.

A revision is the predictor and the transformer as they were written at one time; it never changes,
and its Deployments are its record. A new one is made when the pods would differ from those of every
revision kept, so setting replicas or the canary's percentage makes none, and going back to what ran
before finds the pods that already run it.

The split follows upstream's ``canaryTrafficPercent``: the newest revision gets the percentage, the
one rolled out before it the rest. Without a percentage (or at 100) the newest is rolled out and
what was there is kept, without pods, to go back to. Setting a percentage after that splits with the
one before again, so 0 is the way back. A revision that is not ready gets nothing while another is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil

from kubeling.kube.objects import Obj

__all__ = ["History", "Revision", "Rollout", "Share", "plan_replicas", "plan_rollout"]


@dataclass(frozen=True, slots=True)
class Revision:
    """One revision as observed."""

    name: str
    number: int
    ready: bool


@dataclass(frozen=True, slots=True)
class History:
    """What the status remembers of earlier roll-outs, by revision name."""

    latest: str = ""
    previous: str = ""

    @classmethod
    def of(cls, component_status: Mapping[str, str]) -> History:
        """The history in ``status.components.predictor``."""
        return cls(
            component_status.get("latestRolledoutRevision", ""),
            component_status.get("previousRolledoutRevision", ""),
        )


@dataclass(frozen=True, slots=True)
class Share:
    """A revision's share of the requests."""

    revision: str
    percent: int
    latest: bool
    tag: str = ""
    on_trial: bool = False
    """Whether it is a canary of ``spec.canary``."""

    def to_status(self) -> Obj:
        """An entry of ``status.components.*.traffic``."""
        entry: Obj = {
            "revisionName": self.revision,
            "latestRevision": self.latest,
            "percent": self.percent,
        }
        if self.tag:
            entry["tag"] = self.tag
        return entry


@dataclass(frozen=True, slots=True)
class Rollout:
    """The split now, what to remember, and which revisions are to be kept or to run."""

    shares: tuple[Share, ...]
    history: History
    running: frozenset[str]
    kept: frozenset[str]
    stable: str
    canary_percent: int = 100
    waiting: bool = field(default=False)

    @property
    def primary(self) -> str:
        """The revision in-cluster names lead to: the one with most of the traffic."""
        settled = [share for share in self.shares if not share.on_trial]
        if not settled:
            return self.stable
        return max(settled, key=lambda share: (share.percent, not share.latest)).revision


def plan_rollout(
    latest: Revision, others: Mapping[str, Revision], history: History, percent: int | None
) -> Rollout:
    """The split between ``latest`` and what was rolled out before it (both observed)."""
    known = {latest.name, *others}
    before = history.latest if history.latest in known else ""
    if before == latest.name and percent is not None and percent < 100:
        before = history.previous if history.previous in known else ""
    if not before or before == latest.name:
        return _alone(latest, history, known)
    wanted = 100 if percent is None else percent
    stable = others[before]
    if not latest.ready:
        return _waiting(latest, stable, history, known, wanted)
    if wanted == 100:
        previous = before if history.latest == before else history.latest
        return _alone(latest, History(latest.name, previous), known)
    split = (
        Share(latest.name, wanted, latest=True),
        Share(before, 100 - wanted, latest=False, tag="prev"),
    )
    return Rollout(
        shares=split if stable.ready else (Share(latest.name, 100, latest=True),),
        history=history,
        running=frozenset({latest.name, before}),
        kept=frozenset({latest.name, before, history.latest, history.previous} & known),
        stable=before,
        canary_percent=wanted,
    )


def _alone(latest: Revision, history: History, known: set[str]) -> Rollout:
    """The newest gets everything; what was rolled out before is kept without pods."""
    if latest.ready and history.latest != latest.name:
        history = History(latest.name, history.latest if history.latest in known else "")
    return Rollout(
        shares=(Share(latest.name, 100, latest=True),) if latest.ready else (),
        history=history,
        running=frozenset({latest.name}),
        kept=frozenset({latest.name, history.latest, history.previous} & known),
        stable=latest.name,
    )


def _waiting(
    latest: Revision, stable: Revision, history: History, known: set[str], wanted: int
) -> Rollout:
    """The newest is not ready: all requests stay where they are."""
    return Rollout(
        shares=(Share(stable.name, 100, latest=False, tag="prev"),),
        history=history,
        running=frozenset({latest.name, stable.name}),
        kept=frozenset({latest.name, stable.name, history.latest, history.previous} & known),
        stable=stable.name,
        canary_percent=wanted,
        waiting=wanted > 0,
    )


def plan_replicas(rollout: Rollout, latest: str, wanted: int) -> dict[str, int]:
    """How many pods each running revision gets; together not fewer than ``wanted``.

    A canary gets its share of the pods, and the stable revision gives them up once it answers.
    """
    wanted = max(1, wanted)
    if latest == rollout.stable:
        return dict.fromkeys(rollout.running, wanted)
    percent = rollout.canary_percent
    canary = wanted if percent == 100 else max(1, ceil(wanted * percent / 100))
    stable = wanted if rollout.waiting or percent == 100 else max(1, wanted - canary)
    return {name: canary if name == latest else stable for name in rollout.running}

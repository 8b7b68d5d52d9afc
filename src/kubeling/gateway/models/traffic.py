"""What each revision of a served model is asked and answers, from the gateway's own counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kubeling.gateway.states import state_of
from kubeling.kube import objects
from kubeling.kube.objects import Obj, condition, labels, name
from kubeling.serving.canaries import canary_names
from kubeling.serving.names import REJECTED, REVISION, VARIANT, deployment_name

__all__ = [
    "RevisionTraffic",
    "Summary",
    "canary_percent",
    "revisions_of",
    "shares_of",
    "summary_of",
]

_RATE_SECONDS: Final = 10


@dataclass(frozen=True, slots=True)
class RevisionTraffic:
    """One revision: its share, its pods, and how it answers; times in milliseconds."""

    revision: str
    percent: int
    latest: bool
    canary: str = ""
    """Its name in ``spec.canary``."""
    wanted: int = 0
    """The share that ``spec.canary`` asks for it."""
    pods: int = 0
    requests: int = 0
    answers: int = 0
    """Of the last minutes, as are its errors."""
    errors: int = 0
    in_flight: int = 0
    p50: float | None = None
    p99: float | None = None
    per_second: tuple[int, ...] = ()
    rejected: str = ""

    @property
    def rate(self) -> float:
        """Requests a second, over the last ten."""
        recent = self.per_second[-_RATE_SECONDS:]
        return sum(recent) / len(recent) if recent else 0.0

    @property
    def error_share(self) -> float:
        """The percentage of its answers of the last minutes that were the server's failures."""
        return 100 * self.errors / self.answers if self.answers else 0.0


def shares_of(isvc: Obj) -> list[RevisionTraffic]:
    """How requests are split among revisions now."""
    components = (isvc.get("status") or {}).get("components") or {}
    canaries = canary_names(isvc)
    return [
        RevisionTraffic(
            entry.get("revisionName", ""),
            int(entry.get("percent") or 0),
            bool(entry.get("latestRevision")),
            entry.get("tag", "") if entry.get("tag") in canaries else "",
        )
        for entry in (components.get("predictor") or {}).get("traffic") or ()
    ]


@dataclass(frozen=True, slots=True)
class Summary:
    """A served model in a line: its revisions' requests together, and what is wrong with it."""

    isvc: Obj
    shares: Sequence[RevisionTraffic]
    revisions: Sequence[RevisionTraffic]
    rest: str = ""
    """``at rest`` or ``waking``, if it has no pods because nobody asks."""

    @property
    def state(self) -> str:
        found = state_of(self.isvc)
        return self.rest if self.rest and found == "ready" else found

    @property
    def rate(self) -> float:
        return sum(one.rate for one in self.revisions)

    @property
    def answers(self) -> int:
        return sum(one.answers for one in self.revisions)

    @property
    def errors(self) -> int:
        return sum(one.errors for one in self.revisions)

    @property
    def error_share(self) -> float:
        return 100 * self.errors / self.answers if self.answers else 0.0

    @property
    def p99(self) -> float | None:
        """Of its slowest revision."""
        return max((one.p99 for one in self.revisions if one.p99 is not None), default=None)

    @property
    def why(self) -> str:
        """Why it is not ready."""
        ready = condition(self.isvc, "Ready")
        return ready.message if ready is not None and ready.status != "True" else ""


def summary_of(isvc: Obj, counted: Mapping[str, Any], rest: str = "") -> Summary:
    """The line; ``counted`` is the gateway's answer."""
    shares = shares_of(isvc)
    return Summary(isvc, shares, revisions_of(isvc, counted, (), ()), rest)


def canary_percent(isvc: Obj) -> int | None:
    """The share that is asked for the newest revision; ``None`` means all."""
    percent = isvc["spec"]["predictor"].get("canaryTrafficPercent")
    return None if percent is None else int(percent)


def revisions_of(
    isvc: Obj, counted: Mapping[str, Any], pods: Sequence[Obj], deployments: Sequence[Obj]
) -> list[RevisionTraffic]:
    """All revisions there are, the newest first; ``counted`` is the gateway's answer."""
    shares = {share.revision: share for share in shares_of(isvc)}
    known = {_revision(isvc, d): d for d in deployments}
    titles = {*shares, *known}
    canaries = canary_names(isvc)
    on_trial = {t: v for t, d in known.items() if (v := labels(d).get(VARIANT, "")) in canaries}
    asked = {
        str((entry.get("predictor") or {}).get("name")): int(entry.get("trafficPercent") or 0)
        for entry in isvc["spec"].get("canary") or ()
    }
    newest = max(titles - on_trial.keys(), default="")
    records, demands = counted.get("revisions") or {}, counted.get("demand") or {}
    found = []
    for title in sorted(titles, reverse=True):
        record, demand = records.get(title) or {}, demands.get(title) or {}
        recent = record.get("recent") or {}
        number = title.rpartition("-")[2]
        found.append(
            RevisionTraffic(
                title,
                shares[title].percent if title in shares else 0,
                title == newest,
                on_trial.get(title, ""),
                asked.get(on_trial.get(title, ""), 0),
                sum(1 for pod in pods if labels(pod).get(REVISION) == number),
                int(record.get("requests") or 0),
                int(recent.get("requests") or 0),
                int(recent.get("errors") or 0),
                int(demand.get("in_flight") or 0),
                record.get("p50_ms"),
                record.get("p99_ms"),
                tuple(demand.get("per_second") or ()),
                objects.annotations(known[title]).get(REJECTED, "") if title in known else "",
            )
        )
    return found


def _revision(isvc: Obj, deployment: Obj) -> str:
    """The name its requests are counted under; a canary's Deployment has another."""
    number = labels(deployment).get(REVISION, "")
    if not number.isdigit():
        return name(deployment)
    return deployment_name(name(isvc), "predictor", int(number))

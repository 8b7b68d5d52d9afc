"""``spec.canary``: predictors on trial beside the stable one, each with a share of the requests.

Upstream (``reconcileCanaryDeployments``, ``applyCanaryWeights``): a canary is the stable predictor
overlaid by the fields that its entry sets, in Deployments and Services named after it. It has a
fixed number of pods, which the stable predictor gives up once they answer, and gets requests only
while it is ready. Naming the stable predictor like the canary and dropping the entry promotes it:
the pods that run go on running.

Two things differ. A canary brings the transformer and the explainer along, as every revision does,
where upstream's requests to a canary pass the transformer by. And a canary of no share (a dark
launch) has a pod, where upstream's arithmetic leaves it none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any, Final

from kubeling.kube import objects
from kubeling.kube.objects import Obj, deep_copy, name
from kubeling.serving.names import (
    COMPONENTS,
    TRIED,
    ComponentName,
    deployment_name,
    variant_name,
)
from kubeling.serving.observation import ObservedRevision
from kubeling.serving.planning import Desired
from kubeling.serving.resources import FRAMEWORKS
from kubeling.serving.revisions import Rollout, Share
from kubeling.serving.scaling import ScalingPolicy

__all__ = [
    "Canary",
    "Problem",
    "are_missing",
    "as_service",
    "canary_names",
    "entries",
    "found_revision",
    "shared_out",
    "stable_policy",
    "stable_revisions",
    "tried",
]

_NOT_OF_CANARIES: Final = (
    "canaryTrafficPercent",
    "minReplicas",
    "maxReplicas",
    "scaleTarget",
    "scaleMetric",
    "scaleMetricType",
    "autoScaling",
)
_KINDS: Final = ("model", "containers", *FRAMEWORKS)
_PLACES: Final = ("storageUri", "storage")
_EMPTY: Final[tuple[Any, ...]] = (None, "", 0, False, [], {})


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a canary cannot be run, in the status's words."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Canary:
    """One entry of ``spec.canary``, what it asks for, and what there is of it."""

    name: str
    percent: int
    service: Obj
    """The service as it would be if the canary were its predictor."""
    number: int
    desired: Desired | None
    observed: ObservedRevision | None
    problem: Problem | None = None

    @property
    def ready(self) -> bool:
        """Whether every component answers."""
        return (
            self.observed is not None
            and self.desired is not None
            and self.observed.answers(self.desired.components)
        )

    @property
    def revision(self) -> str:
        """The name that its requests are counted under."""
        return deployment_name(name(self.service), "predictor", self.number)

    @property
    def rejected(self) -> bool:
        """Whether it has been rolled back."""
        return self.observed is not None and self.observed.rejected

    @property
    def share(self) -> int:
        """The percentage of the requests that it may get."""
        return 0 if self.rejected else self.percent

    def replicas(self, component: ComponentName) -> int:
        """How many pods a component of it gets: those asked for, or its share of the stable's."""
        own = self.service["spec"][component].get("minReplicas")
        return int(own) if own is not None else 1


def entries(isvc: Obj) -> list[Obj]:
    """The canaries as they are written."""
    return list(isvc["spec"].get("canary") or ())


def canary_names(isvc: Obj) -> frozenset[str]:
    """The names of a service's canaries."""
    return frozenset(entry["predictor"]["name"] for entry in entries(isvc))


def as_service(isvc: Obj, entry: Obj) -> Obj:
    """The service whose predictor is the canary's; its ``minReplicas`` are the canary's pods."""
    spec = {key: deep_copy(value) for key, value in isvc["spec"].items() if key != "canary"}
    percent = int(entry.get("trafficPercent") or 0)
    own = entry["predictor"]
    given = own.get("minReplicas")
    for component in spec.keys() & set(COMPONENTS):
        stable = spec[component].get("minReplicas")
        wanted = max(1, ceil((1 if stable is None else int(stable)) * percent / 100))
        for field in _NOT_OF_CANARIES:
            spec[component].pop(field, None)
        spec[component]["minReplicas"] = wanted
    spec["predictor"] = overlaid(_without_alternatives(spec["predictor"], own), own)
    if given is not None:
        spec["predictor"]["minReplicas"] = given
    return {**isvc, "spec": spec}


def _without_alternatives(stable: Obj, own: Obj) -> Obj:
    """The stable predictor without the fields that may not stand beside those of the canary."""
    left = dict(stable)
    if any(kind in own for kind in _KINDS):
        left = {key: value for key, value in left.items() if key in own or key not in _KINDS}
    model = own.get("model") or {}
    if own.get("storageUris") or any(model.get(place) for place in _PLACES):
        left.pop("storageUris", None)
        if isinstance(left.get("model"), dict):
            left["model"] = {k: v for k, v in left["model"].items() if k not in _PLACES}
    return left


def overlaid(base: Any, over: Any) -> Any:
    """``over`` on top of ``base``: objects field by field, lists whole; empty values hide nothing.

    Upstream merges structs of Go, where a field that is not set is empty.
    """
    if isinstance(base, dict) and isinstance(over, dict):
        merged = dict(base)
        for key, value in over.items():
            if key not in base or value not in _EMPTY:
                merged[key] = overlaid(base.get(key), value)
        return merged
    return deep_copy(over)


def found_revision(
    isvc: Obj, canary: str, revisions: Mapping[int, ObservedRevision]
) -> ObservedRevision | None:
    """What there is of a canary: the revision whose Deployment has its name."""
    title = variant_name(name(isvc), "predictor", canary)
    for revision in revisions.values():
        if any(name(deployment) == title for deployment in revision.deployments.values()):
            return revision
    return None


def stable_revisions(
    isvc: Obj, revisions: Mapping[int, ObservedRevision]
) -> dict[int, ObservedRevision]:
    """The revisions that are no canaries."""
    on_trial = [found_revision(isvc, canary, revisions) for canary in canary_names(isvc)]
    return {number: found for number, found in revisions.items() if found not in on_trial}


def are_missing(isvc: Obj, revisions: Mapping[int, ObservedRevision]) -> bool:
    """Whether a canary has no Deployment yet."""
    return any(found_revision(isvc, one, revisions) is None for one in canary_names(isvc))


def tried(deployment: Obj) -> int:
    """The highest number that a canary beside a stable predictor's Deployment had."""
    return int(objects.annotations(deployment).get(TRIED) or 0)


def stable_policy(
    policy: ScalingPolicy, component: ComponentName, canaries: Sequence[Canary]
) -> ScalingPolicy:
    """The stable predictor's policy, less the pods of canaries that take requests from it."""
    ready = sum(c.replicas(component) for c in canaries if c.ready and c.share)
    return replace(policy, low=max(1, policy.low - ready)) if policy.low else policy


def shared_out(rollout: Rollout, canaries: Sequence[Canary]) -> Rollout:
    """The stable predictor's rollout with the shares of canaries that are ready taken from it.

    They get nothing before the stable predictor was rolled out: they would answer everything.
    """
    titles = frozenset(canary.revision for canary in canaries)
    begun = bool(rollout.shares or rollout.history.latest)
    shares = [
        Share(canary.revision, canary.share, latest=False, tag=canary.name, on_trial=True)
        for canary in canaries
        if canary.ready and begun
    ]
    left = 100 - sum(share.percent for share in shares)
    stable = _scaled(rollout.shares, left)
    return replace(
        rollout,
        shares=(*stable, *shares),
        running=rollout.running | titles,
        kept=rollout.kept | titles,
    )


def _scaled(shares: Sequence[Share], total: int) -> list[Share]:
    """The stable predictor's own shares as parts of what canaries leave of the requests."""
    scaled = [replace(share, percent=share.percent * total // 100) for share in shares]
    if scaled:
        rest = total - sum(share.percent for share in scaled)
        scaled[-1] = replace(scaled[-1], percent=scaled[-1].percent + rest)
    return scaled

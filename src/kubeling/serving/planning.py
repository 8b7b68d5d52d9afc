"""What the controller decides before it writes: the split, and how many pods everything gets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from kubeling.kube import objects
from kubeling.kube.objects import Obj, name
from kubeling.serving import scaling, templates
from kubeling.serving.names import (
    COMPONENTS,
    DEPLOYMENT_MODE,
    STANDARD,
    ComponentName,
    deployment_name,
    variant_name,
)
from kubeling.serving.observation import ObservedRevision
from kubeling.serving.revisions import History, Revision, Rollout, plan_replicas, plan_rollout
from kubeling.serving.runtimes import Runtime

__all__ = [
    "Desired",
    "Policies",
    "Replicas",
    "deployment_title",
    "number_in",
    "number_of",
    "plan",
    "replicas_of",
    "variant_of",
]

Replicas = dict[tuple[ComponentName, int], int]
Policies = Mapping[ComponentName, scaling.ScalingPolicy]


@dataclass(frozen=True, slots=True)
class Desired:
    """What a service's spec asks for."""

    templates: Mapping[ComponentName, templates.PodTemplate]
    digest: str
    runtime: Runtime | None

    @property
    def components(self) -> tuple[ComponentName, ...]:
        return tuple(self.templates)


def plan(
    isvc: Obj, desired: Desired, latest: int, revisions: Mapping[int, ObservedRevision]
) -> Rollout:
    """The split between the revision that the spec asks for and what was there before.

    A revision begins to get requests when all its pods are there, and goes on as long as one is:
    a pod that crashed, or those that are being added, take nothing from the others.
    """
    before = ((isvc.get("status") or {}).get("components") or {}).get("predictor") or {}
    asked = {entry.get("revisionName") for entry in before.get("traffic") or ()}

    def observed(number: int, components: tuple[str, ...]) -> Revision:
        title, revision = deployment_name(name(isvc), "predictor", number), revisions.get(number)
        ready = revision is not None and (
            revision.answers(components) if title in asked else revision.is_ready(components)
        )
        return Revision(title, number, ready)

    known = {
        one.name: one
        for number, revision in revisions.items()
        for one in [observed(number, _components_of(revision))]
    }
    newest = observed(latest, desired.components)
    percent = isvc["spec"]["predictor"].get("canaryTrafficPercent")
    if percent is not None and percent < 100 and latest in revisions and revisions[latest].rejected:
        percent = 0
    known.pop(newest.name, None)
    rollout = plan_rollout(newest, known, History.of(before), percent)
    return _without_other_variants(isvc, rollout, revisions)


def _without_other_variants(
    isvc: Obj, rollout: Rollout, revisions: Mapping[int, ObservedRevision]
) -> Rollout:
    """What had another ``predictor.name`` is not kept to go back to: upstream deletes it."""
    others = {
        title
        for title in rollout.kept - rollout.running
        if (found := revisions.get(number_in(title))) and found.variant != variant_of(isvc)
    }
    past = rollout.history
    return replace(
        rollout,
        kept=rollout.kept - others,
        history=History(past.latest, "" if past.previous in others else past.previous),
    )


def replicas_of(
    isvc: Obj,
    policies: Policies,
    latest: int,
    revisions: Mapping[int, ObservedRevision],
    rollout: Rollout,
) -> Replicas:
    """How many pods each component of each revision gets; revisions only kept get none."""
    newest = deployment_name(name(isvc), "predictor", latest)
    found: Replicas = {}
    for component, policy in policies.items():
        planned = plan_replicas(rollout, newest, policy.awake)
        for number in {latest, *revisions}:
            title = deployment_name(name(isvc), "predictor", number)
            found[component, number] = planned.get(title, 0)
    for number, revision in revisions.items():
        runs = deployment_name(name(isvc), "predictor", number) in rollout.running
        for component in COMPONENTS:
            if component in revision.deployments:  # of an older spec
                found.setdefault((component, number), int(runs))
    return found


def _components_of(revision: ObservedRevision) -> tuple[str, ...]:
    return tuple(revision.deployments)


def number_of(
    revisions: Mapping[int, ObservedRevision], desired: Desired, variant: str
) -> int | None:
    """The newest revision that is what the spec asks for, under the predictor's name."""
    return max(
        (
            number
            for number, found in revisions.items()
            if found.digest == desired.digest and found.variant == variant
        ),
        default=None,
    )


def variant_of(isvc: Obj) -> str:
    """The name of the stable predictor, by default none."""
    return str(isvc["spec"]["predictor"].get("name") or "")


def deployment_title(
    isvc: Obj, component: ComponentName, number: int, revisions: Mapping[int, ObservedRevision]
) -> str:
    """What a revision's Deployment is called.

    The first one under a predictor's ``name`` is called as upstream calls it, so that a canary
    keeps its Deployment when it is promoted; in the mode Standard so is that of a predictor without
    a name.
    """
    observed = revisions.get(number)
    if observed is not None and component in observed.deployments:
        return name(observed.deployments[component])
    variant = variant_of(isvc)
    if variant or objects.annotations(isvc).get(DEPLOYMENT_MODE) == STANDARD:
        title = variant_name(name(isvc), component, variant)
        taken = {name(d) for r in revisions.values() for d in r.deployments.values()}
        if title not in taken:
            return title
    return deployment_name(name(isvc), component, number)


def number_in(revision: str) -> int:
    """The number at the end of a revision's name, or 0."""
    tail = revision.rpartition("-")[2]
    return int(tail) if tail.isdigit() else 0

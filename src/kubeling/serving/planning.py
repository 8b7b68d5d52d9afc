"""What the controller decides before it writes: the split, and how many pods everything gets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kubeling.kube.objects import Obj, name
from kubeling.serving import scaling, templates
from kubeling.serving.names import COMPONENTS, ComponentName, deployment_name
from kubeling.serving.observation import ObservedRevision
from kubeling.serving.revisions import History, Revision, Rollout, plan_replicas, plan_rollout
from kubeling.serving.runtimes import Runtime

__all__ = ["Desired", "Policies", "Replicas", "number_in", "number_of", "plan", "replicas_of"]

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
    return plan_rollout(newest, known, History.of(before), percent)


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


def number_of(revisions: Mapping[int, ObservedRevision], desired: Desired) -> int | None:
    """The newest revision that is what the spec asks for."""
    return max((n for n, r in revisions.items() if r.digest == desired.digest), default=None)


def number_in(revision: str) -> int:
    """The number at the end of a revision's name, or 0."""
    tail = revision.rpartition("-")[2]
    return int(tail) if tail.isdigit() else 0

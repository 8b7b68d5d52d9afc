"""Reconciling trials: create the object a trial runs, follow its log, tell how it ended."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from kubeling.component import Context
from kubeling.kube.controller import Controller, Result
from kubeling.kube.errors import AlreadyExists, BadRequest, Forbidden, Invalid
from kubeling.kube.informer import Informer, Informers
from kubeling.kube.objects import (
    Key,
    Obj,
    controller_of,
    deletion_requested,
    format_time,
    is_owned_by,
    labels,
    name,
    namespace,
    owner_reference,
    uid,
)
from kubeling.kube.resources import PODS, Resource
from kubeling.tuning import gjson
from kubeling.tuning.collection import Collected, MetricsCollection, metric_names
from kubeling.tuning.discovery import ResourceFinder, UnknownKindError
from kubeling.tuning.instrumentation import TRIAL_LABEL, instrumented, log_container
from kubeling.tuning.resources import TRIALS
from kubeling.tuning.store import observation_store
from kubeling.tuning.trial_status import (
    TrialPhase,
    ended,
    failure_message,
    has_ended,
    observation_of,
    phase_of,
    running,
)

__all__ = ["FINALIZER", "TrialController", "TrialReconciler", "trial_controller"]

FINALIZER: Final = "clean-metrics-in-db"
_COMPONENT: Final = "trial-controller"


@dataclass
class TrialController(Controller):
    """The controller of trials, which owns the collections of their metrics as well."""

    collection: MetricsCollection | None = None

    async def run(self, informers: Informers) -> None:
        """Reconciles until cancelled; collections under way are cancelled with it."""
        async with asyncio.TaskGroup() as group:
            if self.collection is not None:
                self.collection.within(group)
            await super().run(informers)


def trial_controller(context: Context) -> TrialController:
    """The controller of trials."""
    reconciler = TrialReconciler(context)
    controller = TrialController(
        name=_COMPONENT,
        resource=TRIALS,
        reconcile=reconciler.reconcile,
        watches={PODS: _trial_of_pod},
        workers=8,
    )
    reconciler.controller = controller
    controller.collection = reconciler.collection
    return controller


class TrialReconciler:
    """Moves trials towards their end."""

    controller: Controller

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._informers = context.informers
        self._recorder = context.recorder(_COMPONENT)
        self._finder = ResourceFinder(context.client)
        self._trials = context.informers.of(TRIALS)
        self._pods = context.informers.of(PODS)
        self._pods.add_index("trial", _trial_index)
        self._watched: dict[Resource, Informer] = {}
        self.collection = MetricsCollection(
            context.client, context.clock, observation_store(context), self._wake
        )

    async def reconcile(self, key: Key) -> Result | None:
        """One pass over one trial."""
        trial = self._trials.get(*key)
        if trial is None:
            return None
        if deletion_requested(trial):
            await self._finalize(trial)
        elif has_ended(trial):
            await self._clean_up(trial)
        else:
            await self._advance(trial)
        return None

    async def _advance(self, trial: Obj) -> None:
        try:
            job = await self._job(trial)
        except UnknownKindError as error:
            await self._end(trial, TrialPhase.FAILED, str(error))
            return
        except (Invalid, BadRequest, Forbidden) as error:
            kind = trial["spec"]["runSpec"].get("kind", "")
            await self._end(trial, TrialPhase.FAILED, f"the {kind} was refused: {error}")
            return
        if job is None:
            await self._write(trial, running(trial, self._clock.now()))
            return
        pod = self._primary_pod(trial)
        collected = self.collection.follow(trial, pod) if pod is not None else None
        if gjson.holds(job, trial["spec"]["failureCondition"]):
            await self._fail(trial, job)
        elif gjson.holds(job, trial["spec"]["successCondition"]):
            await self._succeed(trial, pod, collected)
        else:
            await self._write(trial, running(trial, self._clock.now()))

    async def _job(self, trial: Obj) -> Obj | None:
        """The object the trial runs; ``None`` where it was only now created."""
        resource = await self._resource(trial)
        found = self._watched[resource].get(namespace(trial), name(trial))
        if found is not None:
            return found
        body = instrumented(trial)
        body["metadata"]["ownerReferences"] = [owner_reference(trial)]
        try:
            await self._client.create(resource, body, namespace(trial))
        except AlreadyExists:
            return await self._existing(resource, trial)
        message = f"{resource.kind} {name(trial)} has been created"
        await self._recorder.normal(trial, "JobCreated", message)
        return None

    async def _existing(self, resource: Resource, trial: Obj) -> Obj | None:
        found = await self._client.find(resource, name(trial), namespace(trial))
        if found is not None and not is_owned_by(found, trial):
            raise Invalid(f"{resource.kind} {name(trial)} exists and belongs to something else")
        return found

    async def _resource(self, trial: Obj) -> Resource:
        """The resource of the trial's object, watched from now on."""
        resource = await self._finder.of(trial["spec"]["runSpec"])
        if resource not in self._watched:
            informer = self._watched[resource] = self._informers.of(resource)
            informer.add_handler(self._job_changed)
        await self._informers.synced(resource)
        return resource

    def _job_changed(self, old: Obj | None, new: Obj | None) -> None:
        obj = new or old
        owner = controller_of(obj) if obj is not None else None
        if obj is not None and owner is not None and owner.get("kind") == TRIALS.kind:
            self._wake(Key(namespace(obj), owner["name"]))

    def _primary_pod(self, trial: Obj) -> Obj | None:
        """The pod whose log counts: the newest, where a retry left several."""
        wanted = (trial["spec"].get("primaryPodLabels") or {}).items()
        pods = self._pods.by_index("trial", f"{namespace(trial)}/{name(trial)}")
        matching = [pod for pod in pods if wanted <= labels(pod).items()]
        return max(matching, key=lambda pod: _age_order(pod), default=None)

    async def _succeed(self, trial: Obj, pod: Obj | None, collected: Collected | None) -> None:
        if collected is None:
            if pod is not None or await self._pod_is_coming(trial):
                return
            collected = Collected(
                await self.collection.recorded(trial), "no pod of the trial was found"
            )
        names = metric_names(trial)
        observation = observation_of(names, collected.summaries)
        if names[0] in collected.summaries:
            message = "Trial has succeeded"
            await self._end(trial, TrialPhase.SUCCEEDED, message, observation)
            return
        missing = (
            f'the metric "{names[0]}" was not found in the log of container '
            f'"{log_container(trial)}": {collected.problem}'
            if collected.problem
            else f'the metric "{names[0]}" was not found in the log of container '
            f'"{log_container(trial)}"; print a line such as {names[0]}=0.5'
        )
        await self._end(trial, TrialPhase.METRICS_UNAVAILABLE, missing, observation)

    async def _pod_is_coming(self, trial: Obj) -> bool:
        """Whether there is a primary pod that the cache does not show yet."""
        wanted = {TRIAL_LABEL: name(trial), **(trial["spec"].get("primaryPodLabels") or {})}
        selector = ",".join(f"{key}={value}" for key, value in wanted.items())
        found = await self._client.list(PODS, namespace(trial), labels=selector, limit=1)
        return bool(found.items)

    async def _fail(self, trial: Obj, job: Obj) -> None:
        why = failure_message(job, trial["spec"]["failureCondition"])
        details = _containers_ends(self._primary_pod(trial))
        text = "; ".join(part for part in (why, details) if part)
        message = f"Trial has failed{f': {text}' if text else ''}"
        await self._end(trial, TrialPhase.FAILED, message)

    async def _end(
        self, trial: Obj, phase: TrialPhase, message: str, observation: Obj | None = None
    ) -> None:
        status = ended(trial, phase, message, self._clock.now(), observation)
        await self._write(trial, status)
        if phase is TrialPhase.SUCCEEDED:
            await self._recorder.normal(trial, "JobSucceeded", message)
        else:
            reason = "JobFailed" if phase is TrialPhase.FAILED else f"Job{phase.value}"
            await self._recorder.warning(trial, reason, message)

    async def _clean_up(self, trial: Obj) -> None:
        """Takes the object of a trial that succeeded; one that failed is kept for its log."""
        if phase_of(trial) is not TrialPhase.SUCCEEDED or trial["spec"].get("retainRun"):
            self.collection.drop(uid(trial))
            return
        resource = await self._resource(trial)
        job = self._watched[resource].get(namespace(trial), name(trial))
        self.collection.drop(uid(trial))
        if job is not None and is_owned_by(job, trial) and not deletion_requested(job):
            await self._client.delete(
                resource,
                name(job),
                namespace(job),
                uid=uid(job),
                propagation="Background",
                missing_ok=True,
            )

    async def _finalize(self, trial: Obj) -> None:
        finalizers = trial["metadata"].get("finalizers") or []
        if FINALIZER not in finalizers:
            return
        await self.collection.forget(trial)
        left = [finalizer for finalizer in finalizers if finalizer != FINALIZER]
        patch = {
            "metadata": {
                "finalizers": left,
                "resourceVersion": trial["metadata"]["resourceVersion"],
            }
        }
        await self._client.patch(TRIALS, name(trial), patch, namespace(trial))

    async def _write(self, trial: Obj, status: Obj) -> None:
        if status == (trial.get("status") or {}):
            return
        status = {**status, "lastReconcileTime": format_time(self._clock.now())}
        await self._client.replace_status(TRIALS, {**trial, "status": status})

    def _wake(self, key: Key) -> None:
        self.controller.wake(key)


def _trial_of_pod(pod: Obj) -> list[Key]:
    trial = labels(pod).get(TRIAL_LABEL)
    return [Key(namespace(pod), trial)] if trial else []


def _trial_index(pod: Obj) -> list[str]:
    return [str(key) for key in _trial_of_pod(pod)]


def _age_order(pod: Obj) -> tuple[str, bool]:
    phase = (pod.get("status") or {}).get("phase")
    return str(pod["metadata"].get("creationTimestamp", "")), phase != "Failed"


def _containers_ends(pod: Obj | None) -> str:
    """How the containers of a failed pod ended, in words."""
    ends = []
    for entry in ((pod or {}).get("status") or {}).get("containerStatuses") or ():
        ended_state = (entry.get("state") or {}).get("terminated") or {}
        if ended_state.get("exitCode"):
            text = f"container {entry['name']} exited with code {ended_state['exitCode']}"
            said = str(ended_state.get("message") or "").strip().splitlines()
            ends.append(f"{text}: {said[-1].strip()}" if said else text)
    return "; ".join(ends)

"""Reconciling trials: create the object a trial runs, follow its metrics, tell how it ended."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from kubeling.component import Context
from kubeling.kube.controller import Controller, Result
from kubeling.kube.errors import BadRequest, Forbidden, Invalid
from kubeling.kube.informer import Informers
from kubeling.kube.objects import (
    Key,
    Obj,
    deletion_requested,
    format_time,
    labels,
    name,
    namespace,
    uid,
)
from kubeling.kube.resources import PODS
from kubeling.tuning import gjson
from kubeling.tuning.collection import Collected, MetricsCollection
from kubeling.tuning.collectors import REPORTED, collector_kind, metric_names
from kubeling.tuning.discovery import UnknownKindError
from kubeling.tuning.early_stops import EarlyStops
from kubeling.tuning.instrumentation import TRIAL_LABEL
from kubeling.tuning.metrics import UNAVAILABLE, Reading
from kubeling.tuning.resources import TRIALS
from kubeling.tuning.store import observation_store
from kubeling.tuning.trial_ends import containers_ends, missing_metric, no_container
from kubeling.tuning.trial_jobs import TrialJobs
from kubeling.tuning.trial_status import (
    REASONS,
    TrialPhase,
    ended,
    has_ended,
    job_end,
    observation_of,
    phase_of,
    running,
)

__all__ = ["FINALIZER", "TrialController", "TrialReconciler", "trial_controller"]

FINALIZER: Final = "clean-metrics-in-db"
_COMPONENT: Final = "trial-controller"
_POLL: Final = 1.0
"""How often the reported metrics of a watched trial are looked at."""
_PATIENCE: Final = 30.0
"""How long the log of an object that succeeded may take to end."""


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
        self._recorder = context.recorder(_COMPONENT)
        self._trials = context.informers.of(TRIALS)
        self._pods = context.informers.of(PODS)
        self._pods.add_index("trial", _trial_index)
        self._jobs = TrialJobs(context, self._wake)
        self._waiting: dict[str, tuple[float, int]] = {}
        self._early = EarlyStops(context)
        self.collection = MetricsCollection(
            context.client,
            context.clock,
            observation_store(context),
            self._wake,
            self._early.watches,
        )
        self._early.collection = self.collection

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
            return await self._advance(trial)
        return None

    async def _advance(self, trial: Obj) -> Result | None:
        try:
            job, created = await self._jobs.ensure(trial)
        except UnknownKindError as error:
            await self._end(trial, TrialPhase.FAILED, str(error))
            return None
        except (Invalid, BadRequest, Forbidden) as error:
            kind = trial["spec"]["runSpec"].get("kind", "")
            await self._end(trial, TrialPhase.FAILED, f"the {kind} was refused: {error}")
            return None
        if job is None or created:
            await self._run(trial, created)
            return None
        pod = self._primary_pod(trial)
        collected = self.collection.follow(trial, pod) if pod is not None else None
        if gjson.holds(job, trial["spec"]["failureCondition"]):
            await self._fail(trial, job)
        elif gjson.holds(job, trial["spec"]["successCondition"]):
            return await self._succeed(trial, job, pod, collected)
        else:
            return await self._go_on(trial)
        return None

    async def _run(self, trial: Obj, created: bool) -> None:
        await self._write(trial, running(trial, self._clock.now()))
        if created:
            await self._tell(trial, "JobCreated", "has been created")
            await self._tell(trial, "JobRunning", "is running")

    async def _go_on(self, trial: Obj) -> Result | None:
        """A trial under way, unless it is not worth finishing."""
        if not self._early.watches(trial):
            await self._write(trial, running(trial, self._clock.now()))
            return None
        why, summaries = await self._early.judge(trial)
        if why:
            observation = observation_of(metric_names(trial), summaries)
            await self._end(trial, TrialPhase.EARLY_STOPPED, "Trial is early stopped", observation)
            await self._recorder.normal(
                trial, REASONS[TrialPhase.EARLY_STOPPED], f"Trial is early stopped: {why}"
            )
            return None
        await self._write(trial, running(trial, self._clock.now()))
        return Result(_POLL) if collector_kind(trial) in REPORTED else None

    def _primary_pod(self, trial: Obj) -> Obj | None:
        """The pod whose log counts: the newest, where a retry left several."""
        wanted = (trial["spec"].get("primaryPodLabels") or {}).items()
        pods = self._pods.by_index("trial", f"{namespace(trial)}/{name(trial)}")
        matching = [pod for pod in pods if wanted <= labels(pod).items()]
        return max(matching, key=lambda pod: _age_order(pod), default=None)

    async def _succeed(
        self, trial: Obj, job: Obj, pod: Obj | None, collected: Collected | None
    ) -> Result | None:
        if collected is None:
            collected = await self._without_log(trial, pod)
        elif collector_kind(trial) in REPORTED:
            collected = Collected(await self.collection.recorded(trial), collected.problem)
        if collected is None:
            return Result(max(_PATIENCE - self._waited(trial), _POLL))
        observation = observation_of(metric_names(trial), collected.summaries)
        said = job_end(job, trial["spec"]["successCondition"])
        missing = missing_metric(trial, observation, collected.problem)
        if not missing:
            reason, message = said.added_to(REASONS[TrialPhase.SUCCEEDED], "Trial has succeeded")
            await self._end(trial, TrialPhase.SUCCEEDED, message, observation, reason)
            return None
        metric = metric_names(trial)[0]
        if metric not in collected.summaries:
            unavailable = Reading(metric, UNAVAILABLE, self._clock.now())
            await self.collection.file(trial, UNAVAILABLE, unavailable)
        reason, message = said.added_to(
            REASONS[TrialPhase.METRICS_UNAVAILABLE], f"Metrics are not available: {missing}"
        )
        await self._end(trial, TrialPhase.METRICS_UNAVAILABLE, message, observation, reason)
        return None

    async def _without_log(self, trial: Obj, pod: Obj | None) -> Collected | None:
        """What is known of a trial whose log was not read to its end; nothing while it may be."""
        if collector_kind(trial) == "Push":
            return Collected(await self.collection.recorded(trial))
        problem = no_container(trial, pod) if pod is not None else "no pod of the trial was found"
        if pod is None and await self._pod_is_coming(trial):
            problem = ""
        if not problem and self._waited(trial) >= _PATIENCE:
            problem = f"nothing came from its log for {_PATIENCE:g} seconds, and it did not end"
        return Collected(await self.collection.recorded(trial), problem) if problem else None

    def _waited(self, trial: Obj) -> float:
        """For how long nothing more was heard of a trial whose object succeeded."""
        now, lines = self._clock.monotonic(), self.collection.lines(trial)
        since, before = self._waiting.get(uid(trial), (now, -1))
        if before != lines:
            since = now
        self._waiting[uid(trial)] = (since, lines)
        return now - since

    async def _pod_is_coming(self, trial: Obj) -> bool:
        """Whether there is a primary pod that the cache does not show yet."""
        wanted = {TRIAL_LABEL: name(trial), **(trial["spec"].get("primaryPodLabels") or {})}
        selector = ",".join(f"{key}={value}" for key, value in wanted.items())
        found = await self._client.list(PODS, namespace(trial), labels=selector, limit=1)
        return bool(found.items)

    async def _fail(self, trial: Obj, job: Obj) -> None:
        said = job_end(job, trial["spec"]["failureCondition"])
        reason, message = said.added_to(REASONS[TrialPhase.FAILED], "Trial has failed")
        if details := containers_ends(self._primary_pod(trial)):
            message = f"{message}; {details}"
        await self._end(trial, TrialPhase.FAILED, message, reason=reason)

    async def _end(
        self,
        trial: Obj,
        phase: TrialPhase,
        message: str,
        observation: Obj | None = None,
        reason: str = "",
    ) -> None:
        status = ended(trial, phase, message, self._clock.now(), observation, reason)
        await self._write(trial, status)
        self._waiting.pop(uid(trial), None)
        match phase:
            case TrialPhase.SUCCEEDED:
                await self._tell(trial, "JobSucceeded", "has succeeded")
            case TrialPhase.EARLY_STOPPED:
                pass
            case TrialPhase.METRICS_UNAVAILABLE:
                await self._recorder.warning(trial, REASONS[phase], message)
            case _:
                await self._recorder.warning(trial, "JobFailed", message)

    async def _tell(self, trial: Obj, reason: str, what: str) -> None:
        await self._recorder.normal(trial, reason, f"Job {name(trial)} {what}")

    async def _clean_up(self, trial: Obj) -> None:
        """Ends the object of a trial that succeeded or was stopped; one that failed is kept.

        Its log says why it failed, and upstream's is gone with it.
        """
        phase, keep = phase_of(trial), bool(trial["spec"].get("retainRun"))
        self._early.over(trial)
        self.collection.drop(uid(trial))
        stopped = phase is TrialPhase.EARLY_STOPPED
        if not stopped and (keep or phase is not TrialPhase.SUCCEEDED):
            return
        if await self._jobs.end(trial, keep=keep) and not keep:
            await self._tell(trial, "JobDeleted", "has been deleted")

    async def _finalize(self, trial: Obj) -> None:
        finalizers = trial["metadata"].get("finalizers") or []
        if FINALIZER not in finalizers:
            return
        self._early.over(trial)
        self._waiting.pop(uid(trial), None)
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

"""Reconciling experiments: ask for points, create their trials, sum up what they measured."""

from __future__ import annotations

from typing import Any, Final

from kubeling.component import Context
from kubeling.kube.controller import Controller, Result
from kubeling.kube.errors import AlreadyExists, Conflict
from kubeling.kube.objects import (
    Key,
    Obj,
    controller_of,
    deletion_requested,
    format_time,
    is_condition_true,
    is_owned_by,
    key_of,
    labels,
    name,
    namespace,
    new_object,
    set_condition,
    uid,
)
from kubeling.kube.resources import CONFIG_MAPS, PERSISTENT_VOLUME_CLAIMS
from kubeling.tuning.experiment_plan import Plan, plan
from kubeling.tuning.experiment_status import FAILED, has_ended
from kubeling.tuning.resources import EXPERIMENTS, SUGGESTIONS, TRIALS
from kubeling.tuning.suggestion_volume import (
    PARENT_LABEL,
    needs_claim,
    suggestion_claim,
    with_checkpoints,
)
from kubeling.tuning.tally import Tally
from kubeling.tuning.templates import TemplateError, kept_template, render, values_of
from kubeling.tuning.trial_changes import TrialChanges
from kubeling.tuning.trial_controller import FINALIZER

__all__ = ["EXPERIMENT_LABEL", "ExperimentReconciler", "experiment_controller"]

EXPERIMENT_LABEL: Final = "katib.kubeflow.org/experiment"
_COMPONENT: Final = "experiment-controller"


def experiment_controller(context: Context) -> Controller:
    """The controller of experiments."""
    return Controller(
        name=_COMPONENT,
        resource=EXPERIMENTS,
        reconcile=ExperimentReconciler(context).reconcile,
        owns=(TRIALS, SUGGESTIONS),
    )


class ExperimentReconciler:
    """Moves experiments towards their end."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._recorder = context.recorder(_COMPONENT)
        self._experiments = context.informers.of(EXPERIMENTS)
        self._suggestions = context.informers.of(SUGGESTIONS)
        self._trials = context.informers.of(TRIALS)
        self._claimed: dict[Key, str] = {}
        self._changes = TrialChanges(self._trials)
        self._tallies: dict[Key, tuple[str, Tally]] = {}

    async def reconcile(self, key: Key) -> Result | None:
        """One pass over one experiment."""
        experiment = self._experiments.get(*key)
        if experiment is None or deletion_requested(experiment):
            self._claimed.pop(key, None)
            self._forget(key)
            return None
        suggestion = self._suggestions.get(*key)
        if suggestion is not None and not is_owned_by(suggestion, experiment):
            suggestion = None
        todo = plan(experiment, self._tally(experiment), suggestion, self._clock.now())
        await self._claim(experiment, suggestion)
        try:
            await self._create_trials(experiment, todo)
        except TemplateError as error:
            await self._fail(experiment, todo, f"the trial template cannot be used: {error}")
            return None
        await self._request(experiment, suggestion, todo)
        await self._remove_surplus(suggestion, todo)
        await self._write(experiment, todo.status)
        return None

    def _tally(self, experiment: Obj) -> Tally:
        """The experiment's trials; of one that has ended, nothing is remembered."""
        key = key_of(experiment)
        of, tally = self._tallies.get(key, ("", None))
        if tally is None or of != uid(experiment):
            self._forget(key)
            tally = Tally(experiment["spec"])
            self._tallies[key] = uid(experiment), tally
        for trial_name, trial in self._changes.take(uid(experiment)).items():
            if trial is None:
                tally.remove(trial_name)
            else:
                tally.put(trial)
        if has_ended(experiment):
            self._forget(key)
        return tally

    def _forget(self, key: Key) -> None:
        of, _ = self._tallies.pop(key, ("", None))
        self._changes.forget(of)

    async def _request(self, experiment: Obj, suggestion: Obj | None, todo: Plan) -> None:
        """Asks for as many points as the plan says."""
        if todo.requests is None:
            return
        if suggestion is None:
            await self._create_suggestion(experiment, todo.requests)
        elif (suggestion["spec"].get("requests") or 0) != todo.requests:
            patch = {"spec": {"requests": todo.requests}}
            await self._client.patch(SUGGESTIONS, name(suggestion), patch, namespace(suggestion))

    async def _create_suggestion(self, experiment: Obj, requests: int) -> None:
        spec = experiment["spec"]
        body = new_object(
            SUGGESTIONS,
            name(experiment),
            namespace(experiment),
            labels=labels(experiment),
            owner=experiment,
            spec={
                "algorithm": spec["algorithm"],
                "resumePolicy": spec.get("resumePolicy", "Never"),
                "requests": requests,
                **({"earlyStopping": spec["earlyStopping"]} if spec.get("earlyStopping") else {}),
            },
        )
        try:
            await self._client.create(SUGGESTIONS, body)
        except AlreadyExists:
            # Ours, and not in the cache yet: its arrival there wakes us again.
            return

    async def _claim(self, experiment: Obj, suggestion: Obj | None) -> None:
        """Sees to the suggestion's claim, as long as there is a suggestion."""
        if suggestion is None or not needs_claim(experiment):
            return
        if self._claimed.get(key_of(experiment)) == uid(suggestion):
            return
        wanted = suggestion_claim(experiment, suggestion)
        try:
            await self._client.create(PERSISTENT_VOLUME_CLAIMS, wanted)
        except AlreadyExists as error:
            there = await self._client.find(
                PERSISTENT_VOLUME_CLAIMS, name(wanted), namespace(wanted)
            )
            owner = controller_of(there or {"metadata": {}}) or {}
            if owner.get("kind") == SUGGESTIONS.kind and owner["uid"] != uid(suggestion):
                # It goes with the namesake that it was made for, and then ours can be made.
                raise Conflict(str(error)) from error
        self._claimed[key_of(experiment)] = uid(suggestion)

    async def _create_trials(self, experiment: Obj, todo: Plan) -> None:
        if not todo.births:
            return
        template = await self._template(experiment)
        for point in todo.births:
            try:
                await self._client.create(TRIALS, _trial(experiment, point, template))
            except AlreadyExists:
                # Created by an earlier pass whose trial the cache does not show yet.
                continue

    async def _template(self, experiment: Obj) -> Obj | str:
        """The object or the text that trials are rendered from."""
        trial_template = experiment["spec"]["trialTemplate"]
        if trial_template.get("trialSpec"):
            inline: Obj = trial_template["trialSpec"]
            return inline
        source = trial_template["configMap"]
        kept = await self._client.find(
            CONFIG_MAPS, source["configMapName"], source["configMapNamespace"]
        )
        return kept_template(kept, source)

    async def _remove_surplus(self, suggestion: Obj | None, todo: Plan) -> None:
        """Deletes trials and forgets their points, so that they are proposed again later."""
        if not todo.surplus:
            return
        for trial in todo.surplus:
            await self._client.delete(
                TRIALS, name(trial), namespace(trial), uid=uid(trial), missing_ok=True
            )
        if suggestion is None:
            return
        gone = {name(trial) for trial in todo.surplus}
        current = await self._client.get(SUGGESTIONS, name(suggestion), namespace(suggestion))
        status = current.setdefault("status", {})
        points = status.get("suggestions") or []
        count = int(status.get("suggestionCount") or len(points))
        status["suggestions"] = [point for point in points if point["name"] not in gone]
        status["suggestionCount"] = count - len(gone)
        await self._client.replace_status(SUGGESTIONS, current)

    async def _fail(self, experiment: Obj, todo: Plan, message: str) -> None:
        status, now = todo.status, self._clock.now()
        set_condition(
            status, "Failed", True, reason=FAILED, message=message, now=now, stamp_update=True
        )
        status["completionTime"] = format_time(now)
        await self._write(experiment, status)

    async def _write(self, experiment: Obj, status: Obj) -> None:
        if status == (experiment.get("status") or {}):
            return
        stamped = {**status, "lastReconcileTime": format_time(self._clock.now())}
        await self._client.replace_status(EXPERIMENTS, {**experiment, "status": stamped})
        if has_ended({"status": status}) and not has_ended(experiment):
            failed = is_condition_true({"status": status}, "Failed")
            ended = status["conditions"][-1]
            await self._recorder.event(
                experiment, "Warning" if failed else "Normal", ended["reason"], ended["message"]
            )


def _trial(experiment: Obj, point: Obj, template: Obj | str) -> Obj:
    """The trial of a proposed point."""
    spec: dict[str, Any] = experiment["spec"]
    trial_template = spec["trialTemplate"]
    assignments = point.get("parameterAssignments") or []
    values = values_of(
        trial_template.get("trialParameters") or [],
        {entry["name"]: entry["value"] for entry in assignments},
        point["name"],
        namespace(experiment),
        template if isinstance(template, dict) else {},
    )
    trial = new_object(
        TRIALS,
        point["name"],
        namespace(experiment),
        labels={
            **labels(experiment),
            EXPERIMENT_LABEL: name(experiment),
            **(point.get("labels") or {}),
        },
        owner=experiment,
        spec={
            "objective": spec["objective"],
            "parameterAssignments": assignments,
            "runSpec": with_checkpoints(
                render(template, values, point["name"], namespace(experiment)),
                experiment,
                point["name"],
                (point.get("labels") or {}).get(PARENT_LABEL, ""),
            ),
            "metricsCollector": spec.get("metricsCollectorSpec") or {},
            "primaryContainerName": trial_template["primaryContainerName"],
            "successCondition": trial_template["successCondition"],
            "failureCondition": trial_template["failureCondition"],
            "retainRun": bool(trial_template.get("retain")),
        },
    )
    trial["metadata"]["finalizers"] = [FINALIZER]
    if point.get("earlyStoppingRules"):
        trial["spec"]["earlyStoppingRules"] = point["earlyStoppingRules"]
    if trial_template.get("primaryPodLabels"):
        trial["spec"]["primaryPodLabels"] = trial_template["primaryPodLabels"]
    return trial

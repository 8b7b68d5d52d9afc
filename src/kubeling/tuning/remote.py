"""Points from a Suggestion service of the user's, over upstream's gRPC API.

The annotation ``kubeling.io/suggestion-service`` of an Experiment gives its address
(``host:port``); any algorithm name may then be asked for. ``kubeling.io/early-stopping-service``
does the same for the rules of early stopping. Source of what is sent: Katib's
``pkg/controller.v1beta1/suggestion/suggestionclient/suggestionclient.go``.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping, Sequence
from typing import Any, Final

from kubeling.kube.objects import Obj, labels, name
from kubeling.kube.objects import annotations as annotations_of
from kubeling.rpc.calls import Code, RpcError
from kubeling.rpc.client import call
from kubeling.tuning.extensions import EARLY_STOPPING_SERVICE
from kubeling.tuning.grpc import messages as m
from kubeling.tuning.grpc.services import (
    GET_EARLY_STOPPING_RULES,
    GET_SUGGESTIONS,
    VALIDATE_ALGORITHM_SETTINGS,
    VALIDATE_EARLY_STOPPING_SETTINGS,
)
from kubeling.tuning.history import known_count, next_index, numbered
from kubeling.tuning.metrics import strategy_value
from kubeling.tuning.proposals import Asked, Proposed, ServiceUnavailable
from kubeling.tuning.trial_names import trial_name
from kubeling.tuning.trial_status import TrialPhase, phase_of

__all__ = ["Remote"]

DB_MANAGER: Final = "katib-db-manager.kubeflow:6789"

_CONDITIONS: Final = {
    TrialPhase.PENDING: m.TrialConditionType.CREATED,
    TrialPhase.RUNNING: m.TrialConditionType.RUNNING,
    TrialPhase.SUCCEEDED: m.TrialConditionType.SUCCEEDED,
    TrialPhase.KILLED: m.TrialConditionType.KILLED,
    TrialPhase.FAILED: m.TrialConditionType.FAILED,
    TrialPhase.METRICS_UNAVAILABLE: m.TrialConditionType.METRICSUNAVAILABLE,
    TrialPhase.EARLY_STOPPED: m.TrialConditionType.EARLYSTOPPED,
}
_COMPARISONS: Final = {
    m.ComparisonType.EQUAL: "equal",
    m.ComparisonType.LESS: "less",
    m.ComparisonType.GREATER: "greater",
}
_DISTRIBUTIONS: Final = {
    "uniform": m.Distribution.UNIFORM,
    "logUniform": m.Distribution.LOG_UNIFORM,
    "normal": m.Distribution.NORMAL,
    "logNormal": m.Distribution.LOG_NORMAL,
}
_TRIAL_NAME: Final = re.compile(r"^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$")
_UNAVAILABLE: Final = (Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED)


class Remote:
    """A service at an address."""

    def __init__(self, address: str) -> None:
        self._address = address

    async def check(self, asked: Asked) -> None:
        """What the service says of the settings."""
        experiment = _experiment(asked)
        request = m.ValidateAlgorithmSettingsRequest(experiment)
        await self._call(self._address, VALIDATE_ALGORITHM_SETTINGS, request)
        stopping = annotations_of(asked.experiment).get(EARLY_STOPPING_SERVICE)
        if stopping:
            settings = m.ValidateEarlyStoppingSettingsRequest(experiment.spec.early_stopping)
            await self._call(stopping, VALIDATE_EARLY_STOPPING_SETTINGS, settings)

    async def propose(self, asked: Asked, missing: int) -> Proposed:
        """The points it answers with; fewer than asked for means that there are no more."""
        experiment, trials = _experiment(asked), _trials(asked)
        known = known_count(asked.points, asked.trials)
        request = m.GetSuggestionsRequest(experiment, trials, missing, known + missing)
        reply: m.GetSuggestionsReply = await self._call(self._address, GET_SUGGESTIONS, request)
        rules = [_rule(rule) for rule in await self._rules(asked, experiment, trials)]
        taken = {name(trial) for trial in asked.trials} | {p["name"] for p in asked.points}
        found = Proposed(ended=len(reply.parameter_assignments) < missing)
        index = next_index(asked.points, asked.trials)
        for place, proposed in enumerate(reply.parameter_assignments[:missing]):
            chosen = proposed.trial_name or trial_name(asked.experiment, taken)
            _check_name(chosen, taken)
            taken.add(chosen)
            point: Obj = {
                "name": chosen,
                "parameterAssignments": [
                    {"name": a.name, "value": a.value} for a in proposed.assignments
                ],
                "labels": proposed.labels,
            }
            if rules:
                point["earlyStoppingRules"] = rules
            found.points.append(numbered(point, index + place))
        if reply.algorithm.algorithm_settings:
            settings = reply.algorithm.algorithm_settings
            found.settings = [{"name": s.name, "value": s.value} for s in settings]
        return found

    async def _rules(
        self, asked: Asked, experiment: m.Experiment, trials: list[m.Trial]
    ) -> Sequence[m.EarlyStoppingRule]:
        address = annotations_of(asked.experiment).get(EARLY_STOPPING_SERVICE)
        if not address:
            return ()
        request = m.GetEarlyStoppingRulesRequest(experiment, trials, DB_MANAGER)
        reply: m.GetEarlyStoppingRulesReply = await self._call(
            address, GET_EARLY_STOPPING_RULES, request
        )
        return reply.early_stopping_rules

    async def _call(self, address: str, method: Any, request: Any) -> Any:
        try:
            return await call(address, method, request)
        except RpcError as error:
            if error.code in _UNAVAILABLE:
                raise ServiceUnavailable(str(error)) from error
            if error.code is Code.UNIMPLEMENTED and method is not GET_SUGGESTIONS:
                # A service need not check anything.
                return method.reply()
            raise ValueError(str(error)) from error


def _experiment(asked: Asked) -> m.Experiment:
    spec = asked.experiment["spec"]
    kept = (asked.suggestion.get("status") or {}).get("algorithmSettings") or ()
    algorithm = _algorithm(spec.get("algorithm") or {}, kept)
    return m.Experiment(
        name(asked.experiment),
        m.ExperimentSpec(
            parameter_specs=m.ParameterSpecs([_parameter(p) for p in spec.get("parameters") or ()]),
            objective=_objective(spec["objective"]),
            algorithm=algorithm,
            early_stopping=_algorithm(spec.get("earlyStopping") or {}, ()),
            parallel_trial_count=int(spec.get("parallelTrialCount") or 0),
            max_trial_count=int(spec.get("maxTrialCount") or 0),
            nas_config=_nas(spec.get("nasConfig") or {}),
        ),
    )


def _algorithm(spec: Mapping[str, Any], kept: Sequence[Obj]) -> m.AlgorithmSpec:
    """An algorithm with its settings, those it has noted itself before the user's."""
    stated = {s["name"]: s["value"] for s in spec.get("algorithmSettings") or ()}
    settings = {**stated, **{s["name"]: s["value"] for s in kept}}
    listed = [m.AlgorithmSetting(key, value) for key, value in settings.items()]
    return m.AlgorithmSpec(str(spec.get("algorithmName") or ""), listed)


def _objective(objective: Mapping[str, Any]) -> m.ObjectiveSpec:
    types = {"minimize": m.ObjectiveType.MINIMIZE, "maximize": m.ObjectiveType.MAXIMIZE}
    return m.ObjectiveSpec(
        types.get(str(objective.get("type")), m.ObjectiveType.UNKNOWN),
        float(objective.get("goal") or 0),
        str(objective.get("objectiveMetricName") or ""),
        list(objective.get("additionalMetricNames") or ()),
    )


def _parameter(parameter: Obj) -> m.ParameterSpec:
    space = parameter.get("feasibleSpace") or {}
    kind = str(parameter.get("parameterType") or "").upper()
    return m.ParameterSpec(
        parameter["name"],
        m.ParameterType[kind] if kind in m.ParameterType.__members__ else m.ParameterType(0),
        m.FeasibleSpace(
            max=str(space.get("max") or ""),
            min=str(space.get("min") or ""),
            list=[str(value) for value in space.get("list") or ()],
            step=str(space.get("step") or ""),
            distribution=_DISTRIBUTIONS.get(
                str(space.get("distribution")), m.Distribution.DISTRIBUTION_UNSPECIFIED
            ),
        ),
    )


def _nas(config: Mapping[str, Any]) -> m.NasConfig:
    graph = config.get("graphConfig") or {}
    operations = [
        m.Operation(
            str(operation.get("operationType") or ""),
            m.ParameterSpecs([_parameter(p) for p in operation.get("parameters") or ()]),
        )
        for operation in config.get("operations") or ()
    ]
    return m.NasConfig(
        m.GraphConfig(
            int(graph.get("numLayers") or 0),
            list(graph.get("inputSizes") or ()),
            list(graph.get("outputSizes") or ()),
        ),
        m.Operations(operations),
    )


def _trials(asked: Asked) -> list[m.Trial]:
    """The trials as upstream sends them: those without metrics are left out."""
    objective = asked.experiment["spec"]["objective"]
    found = []
    for trial in asked.trials:
        phase = phase_of(trial)
        observation = (trial.get("status") or {}).get("observation")
        if phase is TrialPhase.METRICS_UNAVAILABLE:
            continue
        if phase is TrialPhase.EARLY_STOPPED and strategy_value(objective, observation) is None:
            continue
        found.append(_trial(trial, phase, objective, observation))
    return found


def _trial(
    trial: Obj, phase: TrialPhase, objective: Mapping[str, Any], observation: Obj | None
) -> m.Trial:
    spec, status = trial["spec"], trial.get("status") or {}
    metrics = [
        m.Metric(metric["name"], str(value))
        for metric in (observation or {}).get("metrics") or ()
        if (value := strategy_value(objective, observation, metric["name"])) is not None
    ]
    assignments = [
        m.ParameterAssignment(a["name"], a["value"]) for a in spec.get("parameterAssignments") or ()
    ]
    return m.Trial(
        name(trial),
        m.TrialSpec(
            objective=_objective(spec.get("objective") or objective),
            parameter_assignments=m.ParameterAssignments(assignments),
            labels={str(k): str(v) for k, v in labels(trial).items()},
        ),
        m.TrialStatus(
            start_time=str(status.get("startTime") or ""),
            completion_time=str(status.get("completionTime") or ""),
            condition=_CONDITIONS[phase],
            observation=m.Observation(metrics),
        ),
    )


def _check_name(proposed: str, taken: Container[str]) -> None:
    """Trials, their jobs and the labels of their pods get it."""
    if not _TRIAL_NAME.match(proposed):
        raise ValueError(
            f"the suggestion service named a trial {proposed!r}; a name has at most 63 lowercase "
            "letters, digits and dashes, a letter first and no dash last"
        )
    if proposed in taken:
        raise ValueError(f"the suggestion service named two trials {proposed!r}")


def _rule(rule: m.EarlyStoppingRule) -> Obj:
    comparison = _COMPARISONS.get(rule.comparison, "equal")
    found = {"name": rule.name, "value": rule.value, "comparison": comparison}
    return {**found, "startStep": rule.start_step} if rule.start_step else found

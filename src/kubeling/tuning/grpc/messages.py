"""The messages of Katib's ``api.v1.beta1``, with upstream's names and numbers.

Source: ``pkg/apis/manager/v1beta1/api.proto`` of Katib 0.19.
"""

from __future__ import annotations

from enum import IntEnum

from kubeling.rpc.wire import (
    Message,
    double,
    enum,
    integer,
    integers,
    message,
    messages,
    text,
    text_map,
    texts,
)


class ParameterType(IntEnum):
    UNKNOWN_TYPE = 0
    DOUBLE = 1
    INT = 2
    DISCRETE = 3
    CATEGORICAL = 4


class Distribution(IntEnum):
    DISTRIBUTION_UNSPECIFIED = 0
    UNIFORM = 1
    LOG_UNIFORM = 2
    NORMAL = 3
    LOG_NORMAL = 4


class ObjectiveType(IntEnum):
    UNKNOWN = 0
    MINIMIZE = 1
    MAXIMIZE = 2


class TrialConditionType(IntEnum):
    CREATED = 0
    RUNNING = 1
    SUCCEEDED = 2
    KILLED = 3
    FAILED = 4
    METRICSUNAVAILABLE = 5
    EARLYSTOPPED = 6
    UNKNOWN = 7


class ComparisonType(IntEnum):
    UNKNOWN_COMPARISON = 0
    EQUAL = 1
    LESS = 2
    GREATER = 3


class FeasibleSpace(Message):
    max: str = text(1)
    min: str = text(2)
    list: list[str] = texts(3)
    step: str = text(4)
    distribution: Distribution = enum(5, Distribution)


class ParameterSpec(Message):
    name: str = text(1)
    parameter_type: ParameterType = enum(2, ParameterType)
    feasible_space: FeasibleSpace = message(3, FeasibleSpace)


class ParameterSpecs(Message):
    parameters: list[ParameterSpec] = messages(1, ParameterSpec)


class ObjectiveSpec(Message):
    type: ObjectiveType = enum(1, ObjectiveType)
    goal: float = double(2)
    objective_metric_name: str = text(3)
    additional_metric_names: list[str] = texts(4)


class AlgorithmSetting(Message):
    """A setting of a search algorithm or, in the same form, of early stopping."""

    name: str = text(1)
    value: str = text(2)


class AlgorithmSpec(Message):
    """An algorithm and its settings; ``EarlyStoppingSpec`` has the same form."""

    algorithm_name: str = text(1)
    algorithm_settings: list[AlgorithmSetting] = messages(2, AlgorithmSetting)


EarlyStoppingSpec = AlgorithmSpec


class GraphConfig(Message):
    num_layers: int = integer(1)
    input_sizes: list[int] = integers(2)
    output_sizes: list[int] = integers(3)


class Operation(Message):
    operation_type: str = text(1)
    parameter_specs: ParameterSpecs = message(2, ParameterSpecs)


class Operations(Message):
    operation: list[Operation] = messages(1, Operation)


class NasConfig(Message):
    graph_config: GraphConfig = message(1, GraphConfig)
    operations: Operations = message(2, Operations)


class ExperimentSpec(Message):
    parameter_specs: ParameterSpecs = message(1, ParameterSpecs)
    objective: ObjectiveSpec = message(2, ObjectiveSpec)
    algorithm: AlgorithmSpec = message(3, AlgorithmSpec)
    early_stopping: AlgorithmSpec = message(4, EarlyStoppingSpec)
    parallel_trial_count: int = integer(5)
    max_trial_count: int = integer(6)
    nas_config: NasConfig = message(7, NasConfig)


class Experiment(Message):
    name: str = text(1)
    spec: ExperimentSpec = message(2, ExperimentSpec)


class ParameterAssignment(Message):
    name: str = text(1)
    value: str = text(2)


class ParameterAssignments(Message):
    assignments: list[ParameterAssignment] = messages(1, ParameterAssignment)


class TrialSpec(Message):
    objective: ObjectiveSpec = message(2, ObjectiveSpec)
    parameter_assignments: ParameterAssignments = message(3, ParameterAssignments)
    labels: dict[str, str] = text_map(4)


class Metric(Message):
    name: str = text(1)
    value: str = text(2)


class Observation(Message):
    metrics: list[Metric] = messages(1, Metric)


class TrialStatus(Message):
    start_time: str = text(1)
    completion_time: str = text(2)
    condition: TrialConditionType = enum(3, TrialConditionType)
    observation: Observation = message(4, Observation)


class Trial(Message):
    name: str = text(1)
    spec: TrialSpec = message(2, TrialSpec)
    status: TrialStatus = message(3, TrialStatus)


class MetricLog(Message):
    """One reading; ``time_stamp`` is RFC 3339."""

    time_stamp: str = text(1)
    metric: Metric = message(2, Metric)


class ObservationLog(Message):
    metric_logs: list[MetricLog] = messages(1, MetricLog)


class ReportObservationLogRequest(Message):
    trial_name: str = text(1)
    observation_log: ObservationLog = message(2, ObservationLog)


class ReportObservationLogReply(Message):
    pass


class GetObservationLogRequest(Message):
    trial_name: str = text(1)
    metric_name: str = text(2)
    start_time: str = text(3)
    end_time: str = text(4)


class GetObservationLogReply(Message):
    observation_log: ObservationLog = message(1, ObservationLog)


class DeleteObservationLogRequest(Message):
    trial_name: str = text(1)


class DeleteObservationLogReply(Message):
    pass


class GetSuggestionsRequest(Message):
    """``current_request_number`` is how many points are asked for now."""

    experiment: Experiment = message(1, Experiment)
    trials: list[Trial] = messages(2, Trial)
    current_request_number: int = integer(4)
    total_request_number: int = integer(5)


class EarlyStoppingRule(Message):
    name: str = text(1)
    value: str = text(2)
    comparison: ComparisonType = enum(3, ComparisonType)
    start_step: int = integer(4)


class SuggestedPoint(Message):
    """``GetSuggestionsReply.ParameterAssignments``: a point, and its trial's name and labels."""

    assignments: list[ParameterAssignment] = messages(1, ParameterAssignment)
    trial_name: str = text(2)
    labels: dict[str, str] = text_map(3)


class GetSuggestionsReply(Message):
    parameter_assignments: list[SuggestedPoint] = messages(1, SuggestedPoint)
    algorithm: AlgorithmSpec = message(2, AlgorithmSpec)
    early_stopping_rules: list[EarlyStoppingRule] = messages(3, EarlyStoppingRule)


class ValidateAlgorithmSettingsRequest(Message):
    experiment: Experiment = message(1, Experiment)


class ValidateAlgorithmSettingsReply(Message):
    pass


class GetEarlyStoppingRulesRequest(Message):
    experiment: Experiment = message(1, Experiment)
    trials: list[Trial] = messages(2, Trial)
    db_manager_address: str = text(3)


class GetEarlyStoppingRulesReply(Message):
    early_stopping_rules: list[EarlyStoppingRule] = messages(1, EarlyStoppingRule)


class ValidateEarlyStoppingSettingsRequest(Message):
    early_stopping: AlgorithmSpec = message(1, EarlyStoppingSpec)


class ValidateEarlyStoppingSettingsReply(Message):
    pass


class SetTrialStatusRequest(Message):
    trial_name: str = text(1)


class SetTrialStatusReply(Message):
    pass

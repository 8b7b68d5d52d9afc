"""The methods of Katib's three services, all of which are unary calls."""

from __future__ import annotations

from typing import Final

from kubeling.rpc.calls import Method
from kubeling.tuning.grpc import messages as m

__all__ = [
    "DELETE_OBSERVATION_LOG",
    "GET_EARLY_STOPPING_RULES",
    "GET_OBSERVATION_LOG",
    "GET_SUGGESTIONS",
    "REPORT_OBSERVATION_LOG",
    "SET_TRIAL_STATUS",
    "VALIDATE_ALGORITHM_SETTINGS",
    "VALIDATE_EARLY_STOPPING_SETTINGS",
]

REPORT_OBSERVATION_LOG: Final = Method(
    "api.v1.beta1.DBManager",
    "ReportObservationLog",
    m.ReportObservationLogRequest,
    m.ReportObservationLogReply,
)
GET_OBSERVATION_LOG: Final = Method(
    "api.v1.beta1.DBManager",
    "GetObservationLog",
    m.GetObservationLogRequest,
    m.GetObservationLogReply,
)
DELETE_OBSERVATION_LOG: Final = Method(
    "api.v1.beta1.DBManager",
    "DeleteObservationLog",
    m.DeleteObservationLogRequest,
    m.DeleteObservationLogReply,
)
GET_SUGGESTIONS: Final = Method(
    "api.v1.beta1.Suggestion", "GetSuggestions", m.GetSuggestionsRequest, m.GetSuggestionsReply
)
VALIDATE_ALGORITHM_SETTINGS: Final = Method(
    "api.v1.beta1.Suggestion",
    "ValidateAlgorithmSettings",
    m.ValidateAlgorithmSettingsRequest,
    m.ValidateAlgorithmSettingsReply,
)
GET_EARLY_STOPPING_RULES: Final = Method(
    "api.v1.beta1.EarlyStopping",
    "GetEarlyStoppingRules",
    m.GetEarlyStoppingRulesRequest,
    m.GetEarlyStoppingRulesReply,
)
SET_TRIAL_STATUS: Final = Method(
    "api.v1.beta1.EarlyStopping", "SetTrialStatus", m.SetTrialStatusRequest, m.SetTrialStatusReply
)
VALIDATE_EARLY_STOPPING_SETTINGS: Final = Method(
    "api.v1.beta1.EarlyStopping",
    "ValidateEarlyStoppingSettings",
    m.ValidateEarlyStoppingSettingsRequest,
    m.ValidateEarlyStoppingSettingsReply,
)

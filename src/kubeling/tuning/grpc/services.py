"""The methods of Katib's three services, all of which are unary calls."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Generic, TypeVar

from kubeling.tuning.grpc import messages as m
from kubeling.tuning.grpc.wire import Message

__all__ = [
    "DELETE_OBSERVATION_LOG",
    "GET_EARLY_STOPPING_RULES",
    "GET_OBSERVATION_LOG",
    "GET_SUGGESTIONS",
    "REPORT_OBSERVATION_LOG",
    "SET_TRIAL_STATUS",
    "VALIDATE_ALGORITHM_SETTINGS",
    "VALIDATE_EARLY_STOPPING_SETTINGS",
    "Code",
    "Method",
    "RpcError",
]

Asked = TypeVar("Asked", bound=Message)
Answered = TypeVar("Answered", bound=Message)


class Code(IntEnum):
    """The statuses of gRPC that occur here."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14

    @classmethod
    def of(cls, number: int) -> Code:
        return cls(number) if number in cls._value2member_map_ else cls.UNKNOWN


class RpcError(Exception):
    """A call that failed: raised by clients, and by what a server calls to refuse."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Method(Generic[Asked, Answered]):
    """A unary call."""

    service: str
    name: str
    request: type[Asked]
    reply: type[Answered]

    @property
    def path(self) -> str:
        return f"/api.v1.beta1.{self.service}/{self.name}"


REPORT_OBSERVATION_LOG: Final = Method(
    "DBManager",
    "ReportObservationLog",
    m.ReportObservationLogRequest,
    m.ReportObservationLogReply,
)
GET_OBSERVATION_LOG: Final = Method(
    "DBManager", "GetObservationLog", m.GetObservationLogRequest, m.GetObservationLogReply
)
DELETE_OBSERVATION_LOG: Final = Method(
    "DBManager",
    "DeleteObservationLog",
    m.DeleteObservationLogRequest,
    m.DeleteObservationLogReply,
)
GET_SUGGESTIONS: Final = Method(
    "Suggestion", "GetSuggestions", m.GetSuggestionsRequest, m.GetSuggestionsReply
)
VALIDATE_ALGORITHM_SETTINGS: Final = Method(
    "Suggestion",
    "ValidateAlgorithmSettings",
    m.ValidateAlgorithmSettingsRequest,
    m.ValidateAlgorithmSettingsReply,
)
GET_EARLY_STOPPING_RULES: Final = Method(
    "EarlyStopping",
    "GetEarlyStoppingRules",
    m.GetEarlyStoppingRulesRequest,
    m.GetEarlyStoppingRulesReply,
)
SET_TRIAL_STATUS: Final = Method(
    "EarlyStopping", "SetTrialStatus", m.SetTrialStatusRequest, m.SetTrialStatusReply
)
VALIDATE_EARLY_STOPPING_SETTINGS: Final = Method(
    "EarlyStopping",
    "ValidateEarlyStoppingSettings",
    m.ValidateEarlyStoppingSettingsRequest,
    m.ValidateEarlyStoppingSettingsReply,
)

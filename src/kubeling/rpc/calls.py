"""What a method is, and how a call of it fails."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Generic, TypeVar

from kubeling.rpc.wire import Message

__all__ = ["Code", "Limits", "Method", "RpcError"]

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
    ABORTED = 10
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16

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
    """A unary call of a service, which is named with its package."""

    service: str
    name: str
    request: type[Asked]
    reply: type[Answered]

    @property
    def path(self) -> str:
        return f"/{self.service}/{self.name}"


@dataclass(frozen=True, slots=True)
class Limits:
    """The most bytes of a message; none where any size will do."""

    received: int | None = None
    sent: int | None = None

"""What a call's headers say: whom it is for, how long it may take, whether it may be repeated."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from kubeling.kube.objects import Key
from kubeling.proxying.http2.stream import Headers
from kubeling.rpc.headers import timeout_of

__all__ = ["CallRequest"]

_PREFIX: Final = re.compile(r"/serving/([^/]+)/([^/]+)(/[^/]+/[^/]+)")
_REPEATABLE: Final = re.compile(
    r"/(inference\.GRPCInferenceService/(?!Repository)|grpc\.health\.v1\.Health/Check$).*"
)
_FORWARDED_FOR: Final = b"x-forwarded-for"
_KEPT_BACK: Final = frozenset({b"grpc-timeout", _FORWARDED_FOR})
_OF_TRACES: Final = frozenset({b"traceparent", b"tracestate"})
_LARGEST_MILLISECONDS: Final = 99_999_999


@dataclass(frozen=True, slots=True)
class CallRequest:
    """A call as the client sent it."""

    headers: Headers

    @classmethod
    def of(cls, headers: Headers) -> CallRequest:
        return cls([(bytes(name), bytes(value)) for name, value in headers])

    def get(self, name: bytes) -> str:
        """A header's first value, or nothing."""
        found = next((value for key, value in self.headers if key == name), b"")
        return found.decode("latin-1")

    @property
    def is_grpc(self) -> bool:
        return self.get(b"content-type").startswith("application/grpc")

    @property
    def hosts(self) -> tuple[str, ...]:
        """Names that the call may be meant for: its authority, then what its metadata says."""
        found = (self.get(b":authority"), self.get(b"x-forwarded-host"))
        return tuple(host.partition(":")[0].lower() for host in found if host)

    @property
    def prefix(self) -> tuple[Key, str] | None:
        """The service that the path names in front of the method, and the method's path."""
        found = _PREFIX.fullmatch(self.get(b":path"))
        return (Key(unquote(found[1]), unquote(found[2])), found[3]) if found else None

    @property
    def may_be_repeated(self) -> bool:
        """Whether the method computes an answer and changes nothing."""
        prefix = self.prefix
        return _REPEATABLE.fullmatch(prefix[1] if prefix else self.get(b":path")) is not None

    @property
    def timeout(self) -> float | None:
        """The seconds that the client waits."""
        return timeout_of(self.get(b"grpc-timeout"))

    def forwarded(self, peer: str) -> Headers:
        """Headers that say whence a call comes, as far as nobody before has said so."""
        given = {name for name, _ in self.headers}
        before = [value for name, value in self.headers if name == _FORWARDED_FOR and value]
        host = (b"x-forwarded-host", self.get(b":authority").encode("latin-1"))
        new = [one for one in (host, (b"x-forwarded-proto", b"http")) if one[0] not in given]
        return [*new, (_FORWARDED_FOR, b", ".join([*before, peer.encode()]))]

    def to_pod(
        self,
        path: str,
        left: float | None,
        forwarded: Headers,
        trace: Mapping[str, str] | None = None,
    ) -> Headers:
        """The headers that a pod is to see; the client still waits ``left`` seconds.

        A ``trace`` of the gateway's own stands for the client's.
        """
        kept_back = _KEPT_BACK if trace is None else _KEPT_BACK | _OF_TRACES
        headers = [
            (name, path.encode("latin-1") if name == b":path" else value)
            for name, value in self.headers
            if name not in kept_back
        ]
        if trace is not None:
            headers += [(name.encode(), value.encode("latin-1")) for name, value in trace.items()]
        headers += forwarded
        if left is not None:
            milliseconds = max(1, min(int(left * 1000), _LARGEST_MILLISECONDS))
            headers.append((b"grpc-timeout", b"%dm" % milliseconds))
        return headers

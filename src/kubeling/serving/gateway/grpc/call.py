"""One call through the gateway: the client's stream, and a pod's once there is one.

What the client says before a pod is found, and as long as the call may still go to another one, is
kept; as much of it as a stream's window holds, and some more once a pod takes it. A call goes to a
second pod if the first did not work on it, by the protocol's word, or if it broke off before it
answered and the method only computes: those of the inference protocol do. It is tried twice at
most, so that a request that a model dies of does not take all of its pods along.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final

from h2.errors import ErrorCodes

from kubeling.kube.errors import ApiError
from kubeling.proxying.http2.pool import Pool
from kubeling.proxying.http2.stream import Headers, Stream
from kubeling.rpc.headers import trailers
from kubeling.serving.gateway.delivery import Delivery, Place, Undelivered, Unreached
from kubeling.serving.gateway.failures import Failure, trace_of
from kubeling.serving.gateway.grpc.requests import CallRequest
from kubeling.serving.gateway.grpc.status import (
    Code,
    code_of,
    name_of,
    of_http,
    of_reset,
    to_http,
)
from kubeling.serving.gateway.grpc.target import CallTarget
from kubeling.serving.gateway.passage import Passage
from kubeling.serving.gateway.proxying import REVISION_HEADER

__all__ = ["Call", "refuse"]

log = logging.getLogger(__name__)

_REPEATED: Final = 1 << 20
"""Bytes of a call that are kept while it may still go to another pod."""
_READ_FOR_TRACES: Final = ("traceparent", "tracestate", "x-request-id")
_ANSWER: Final = [(b":status", b"200"), (b"content-type", b"application/grpc")]


def refuse(client: Stream, code: Code, message: str, revision: str = "") -> None:
    """Answers a call with trailers alone."""
    shown = [(REVISION_HEADER.encode(), revision.encode())] if revision else []
    client.send_headers([*_ANSWER, *shown, *trailers(code, message)], ended=True)
    if not client.heard:
        client.reset(ErrorCodes.NO_ERROR)


class Call:
    """Receives what the client says; its pod's side is :class:`_Answer`."""

    def __init__(
        self, client: Stream, request: CallRequest, ended: bool, forwarded: Headers
    ) -> None:
        self.client = client
        self.request = request
        self.forwarded = forwarded
        self.ended = ended
        self.kept: list[bytes] | None = []
        self.answer: _Answer | None = None
        self._kept_size = self._owed = 0
        self._task: asyncio.Task[None] | None = None
        timeout = request.timeout
        self._end = None if timeout is None else time.monotonic() + timeout
        self._retried = False
        self.begun = False
        """Whether the client has seen the beginning of an answer."""
        self._passage: Passage | None = None

    def start(self, delivery: Delivery, pool: Pool, target: CallTarget) -> None:
        """Sets the call on its way."""
        self._told_of = (delivery.failures, target)
        if delivery.tracer is not None:
            headers = {name: self.request.get(name.encode()) for name in _READ_FOR_TRACES}
            self._passage = Passage.of_call(
                delivery.tracer, target.path, headers, target.key, target.component
            )
        self._task = asyncio.create_task(
            self._run(delivery, pool, target), name=f"gRPC {target.path}"
        )

    # As a receiver

    def received_headers(self, headers: Headers, ended: bool) -> None:
        """Trailers of a request: gRPC has none, so they only end it."""
        self.received_data(b"", ended)

    def received_data(self, data: bytes, ended: bool) -> None:
        self.ended = ended
        self._owed += len(data)
        if self.kept is not None:
            self._kept_size += len(data)
            self.kept.append(data)
            if self._kept_size > _REPEATED and self.answer is not None:
                self.kept = None
        if self.answer is not None:
            self.answer.pod.send_data(data, ended, self.consumed)

    def broke(self, code: int, untouched: bool) -> None:
        self.told(Code.CANCELLED)
        if self._task is not None:
            self._task.cancel()

    def consumed(self, size: int) -> None:
        """Gives the client's window back what went out to a pod, the first time it does."""
        size = min(size, self._owed)
        self._owed -= size
        self.client.consumed(size)

    # On its way

    async def _run(self, delivery: Delivery, pool: Pool, target: CallTarget) -> None:
        try:
            async with asyncio.timeout(self._left()):
                await delivery.access.require(target.key, self.request.get(b"authorization"))
                await delivery.deliver(
                    target.key,
                    lambda place: self._send(place, pool, target.path),
                    target.component,
                    passage=self._passage,
                )
        except Undelivered as error:
            self.fail(of_http(error.status), error.message)
        except (ApiError, ConnectionError) as error:
            log.warning("%s: %s", target.key, error)
            self.fail(Code.UNAVAILABLE, str(error))
        except TimeoutError:
            self.fail(Code.DEADLINE_EXCEEDED, "the client's deadline has passed")
        except Exception:
            # Nobody awaits this task, and the client must not wait for what does not come.
            log.exception("%s: a call failed in the gateway", target.key)
            self.fail(Code.INTERNAL, "the gateway failed")

    async def _send(self, place: Place, pool: Pool, path: str) -> None:
        address = place.endpoint.grpc
        try:
            connection = await pool.connection(address)
        except (OSError, TimeoutError) as error:
            text = f"{place.revision} does not answer gRPC at {address}: {error or 'no answer'}"
            raise Unreached(text) from error
        answer = self.answer = _Answer(self, place)
        trace = None if self._passage is None else self._passage.asks(place)
        headers = self.request.to_pod(path, self._left(), self.forwarded, trace)
        said = self.kept or []
        answer.pod = connection.open(headers, answer, ended=self.ended and not said)
        for number, data in enumerate(said, 1):
            answer.pod.send_data(data, self.ended and number == len(said), self.consumed)
        try:
            await answer.over(place.route.timeout)
        finally:
            answer.close()
            self.answer = None

    def _left(self) -> float | None:
        return None if self._end is None else max(0.0, self._end - time.monotonic())

    def may_go_elsewhere(self, untouched: bool) -> bool:
        """Whether another pod may be asked, now that one broke off without an answer."""
        if self.kept is None or self._retried:
            return False
        self._retried = True
        return untouched or (self.ended and self.request.may_be_repeated)

    def fail(self, code: Code, message: str, revision: str = "") -> None:
        """Ends the call with an error, whatever was answered before."""
        self.told(code, message, revision)
        if self.begun:
            self.client.send_headers(trailers(code, message), ended=True)
        else:
            refuse(self.client, code, message, revision)

    def told(self, code: int, why: str = "", revision: str = "") -> None:
        """This is what the client was told, for the call's trace and the log of failures."""
        name = name_of(code)
        if self._passage is not None:
            self._passage.ended(name, why)
        if to_http(code) >= 500:
            failures, target = self._told_of
            trace = self._passage.request.trace_id if self._passage is not None else ""
            failed = Failure(
                target.key,
                target.path,
                name,
                why,
                revision,
                self.request.get(b"x-request-id"),
                trace or trace_of(self.request.get(b"traceparent")),
            )
            failures.tell(failed)


class _Answer:
    """Receives what a pod answers to a call, and counts how it ended."""

    pod: Stream

    def __init__(self, call: Call, place: Place) -> None:
        self._call = call
        self._place = place
        self._started = time.perf_counter()
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._limit: asyncio.TimerHandle | None = None

    async def over(self, seconds: float) -> None:
        """Waits for the end; raises :class:`Unreached` if another pod may be asked instead.

        The service's timeout is for the beginning of the answer: a stream may last.
        """
        self._limit = asyncio.get_running_loop().call_later(seconds, self._late, seconds)
        await self._over

    def received_headers(self, headers: Headers, ended: bool) -> None:
        self._begin()
        client = self._call.client
        code = code_of(headers) if ended else None
        if headers and headers[0][0] == b":status":
            shown = (REVISION_HEADER.encode(), self._place.revision.encode())
            client.send_headers([*headers, shown], ended)
        else:
            client.send_headers(headers, ended)
        if ended:
            self._answered(Code.UNKNOWN if code is None else code)

    def received_data(self, data: bytes, ended: bool) -> None:
        self._begin()
        self._call.client.send_data(data, ended, self.pod.consumed)
        if ended:
            self._answered(Code.UNKNOWN)

    def broke(self, code: int, untouched: bool) -> None:
        if self._over.done():
            return
        if not self._call.begun and self._call.may_go_elsewhere(untouched):
            gone = code == ErrorCodes.CONNECT_ERROR
            said = f"{self._place.revision} broke off"
            address = "" if untouched else self._place.endpoint.grpc
            self._over.set_exception(Unreached(said, gone=gone, broke_off=address))
            return
        self._give_up(of_reset(code), f"{self._place.revision} broke off")

    def close(self) -> None:
        """Ends the pod's part of the call, whatever became of it."""
        if self._limit is not None:
            self._limit.cancel()
        if not self._over.done() or self._over.cancelled():
            self._count(499)
        if not (self.pod.heard and self.pod.sent):
            self.pod.reset(ErrorCodes.CANCEL)
        client = self._call.client
        if client.sent and not client.heard:
            client.reset(ErrorCodes.NO_ERROR)

    def _begin(self) -> None:
        if not self._call.begun:
            self._call.begun = True
            self._call.kept = None
            if self._limit is not None:
                self._limit.cancel()

    def _late(self, seconds: float) -> None:
        text = f"{self._place.revision} did not answer within {seconds:g} s"
        self._give_up(Code.DEADLINE_EXCEEDED, text)

    def _give_up(self, code: Code, message: str) -> None:
        self._call.fail(code, message, self._place.revision)
        self._end(to_http(code))

    def _answered(self, code: int) -> None:
        self._call.told(code, revision=self._place.revision)
        self._end(to_http(code))

    def _end(self, status: int) -> None:
        self._count(status)
        if not self._over.done():
            self._over.set_result(None)

    def _count(self, status: int) -> None:
        self._place.record.add(status, time.perf_counter() - self._started)

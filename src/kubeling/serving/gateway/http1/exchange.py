"""One request on the short way: sent to a pod at once if one can take it, else when one can.

A request is sent a second time only if nothing came back and it changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Final, Protocol

from kubeling.kube.errors import ApiError
from kubeling.serving.gateway.delivery import Delivery, Place, Undelivered, Unreached
from kubeling.serving.gateway.http1.answers import AnswerHead
from kubeling.serving.gateway.http1.destination import Destination
from kubeling.serving.gateway.http1.pods import PodConnection, Pods
from kubeling.serving.gateway.http1.request import Request
from kubeling.serving.gateway.http1.tracing import failure_of, passage_of
from kubeling.serving.gateway.passage import Passage
from kubeling.serving.gateway.proxying import REVISION_HEADER, error_body
from kubeling.serving.gateway.repetition import may_be_repeated

__all__ = ["Asked", "Client", "Exchange"]

log = logging.getLogger(__name__)

_REASONS: Final = {
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}


class Asked:
    """What a head asks of a service, and what a pod is told instead."""

    __slots__ = ("beginning", "destination", "request")

    def __init__(self, request: Request, destination: Destination) -> None:
        self.request = request
        self.destination = destination
        self.beginning = request.beginning(destination.target.encode("latin-1"))

    def beginning_within(self, trace: Mapping[str, str]) -> bytes:
        """The same in a trace of the gateway's own."""
        return self.request.beginning(self.destination.target.encode("latin-1"), trace)

    @property
    def may_be_repeated(self) -> bool:
        """Whether asking twice changes nothing."""
        return may_be_repeated(self.request.method.decode(), self.destination.target)


class Client(Protocol):
    """Who asked."""

    origin: bytes
    """Its address, and the end of a head."""
    closes: bool
    """Whether this is its last answer."""

    def write(self, data: bytes) -> None:
        """Sends a part of the answer."""

    def answered(self) -> None:
        """The answer is out."""

    def abort(self) -> None:
        """Breaks off: what is out must not look whole."""


class Exchange:
    """Receives a pod's answer for a client."""

    __slots__ = (
        *("_asked", "_body", "_client", "_connection", "_delivery", "_first", "_head"),
        *("_over", "_passage", "_place", "_pods", "_repeated", "_started", "_status", "_task"),
    )

    def __init__(
        self, client: Client, asked: Asked, body: bytes, delivery: Delivery, pods: Pods
    ) -> None:
        self._client = client
        self._asked = asked
        self._body = body
        self._delivery = delivery
        self._pods = pods
        self._place: Place | None = None
        self._first: Place | None = None
        self._connection: PodConnection | None = None
        self._task: asyncio.Task[None] | None = None
        self._over: asyncio.Future[None] | None = None
        self._started = 0.0
        self._status = 0
        self._head = b""
        self._repeated = False
        self._passage: Passage | None = None

    def start(self) -> None:
        """Sets the request on its way."""
        where = self._asked.destination
        if (tracer := self._delivery.tracer) is not None:
            self._passage = passage_of(tracer, self._asked.request, where)
        access = self._delivery.access
        if access.on and not access.permits(where.key, self._asked.request.authorization):
            self._deliver()
            return
        place = self._delivery.place(where.key, where.target, where.component)
        if place is None:
            self._deliver()
            return
        if connection := self._pods.take(place.endpoint.address):
            self._send(place, connection)
            place.take(self._delivery.now())
        else:
            place.take(self._delivery.now())
            self._deliver(place)

    def cancel(self) -> None:
        """The client is gone."""
        self._told(499)
        if self._task is not None:
            self._task.cancel()
        elif self._place is not None:
            self._count(499)
            self._end()

    def pause(self, paused: bool) -> None:
        """The client takes no more for now, or does again."""
        if self._connection is not None:
            self._connection.pause(paused)

    # As a receiver

    def answered_whole(self, head: AnswerHead, body: bytes) -> None:
        assert self._place is not None
        # It is the next request's already: a client that takes no more must not stop it.
        self._connection = None
        self._client.write(b"".join((head.told, self._ending(self._place), body)))
        self._over_with(head.status)

    def answered(self, head: AnswerHead) -> None:
        assert self._place is not None
        self._status = head.status
        self._head = head.told + self._ending(self._place)

    def received(self, pieces: list[bytes]) -> None:
        if self._head:
            pieces.insert(0, self._head)
            self._head = b""
        self._client.write(b"".join(pieces) if len(pieces) > 1 else pieces[0])

    def completed(self) -> None:
        self._connection = None
        if self._head:
            self.received([])
        self._over_with(self._status)

    def late(self) -> None:
        assert self._place is not None
        seconds = self._place.route.timeout
        if self._status and not self._head:
            self._break_off(f"it was not whole within {seconds:g} s")
        else:
            self._fail(504, f"{self._place.revision} did not answer within {seconds:g} s")

    def broke(self, why: str) -> None:
        assert self._place is not None
        self._connection = None
        said = f"{self._place.revision} broke off: {why}"
        if self._status and not self._head:
            self._break_off(why)
        elif not self._repeated and self._asked.may_be_repeated:
            self._repeat(said)
        else:
            self._fail(502, said)

    # On its way

    def _deliver(self, first: Place | None = None, broken: Unreached | None = None) -> None:
        self._first = first
        self._task = asyncio.create_task(self._run(first, broken), name="request")
        # A task that is cancelled before it begins cleans nothing up.
        self._task.add_done_callback(lambda _: self._leave_first())

    def _leave_first(self) -> None:
        place, self._first = self._first, None
        if place is not None:
            place.leave(self._delivery.now())

    async def _run(self, first: Place | None, broken: Unreached | None) -> None:
        where = self._asked.destination
        try:
            if first is not None:
                broken = await self._asked_first(first)
                if broken is None:
                    return
            authorization = self._asked.request.authorization
            await self._delivery.access.require(where.key, authorization)
            await self._delivery.deliver(
                where.key, self._ask, where.component, where.target, broken, self._passage
            )
        except Undelivered as refused:
            self._refuse(refused.status, refused.message)
        except (ApiError, ConnectionError) as error:
            log.warning("%s: %s", where.key, error)
            self._refuse(503, str(error))
        except Exception:
            # Nobody awaits this task, and the client must not wait for what does not come.
            log.exception("%s: a request failed in the gateway", where.key)
            self._status = 500
            self._break_off("the gateway failed")

    async def _asked_first(self, place: Place) -> Unreached | None:
        """Asks the pod whose turn it is; gives why it does not answer."""
        try:
            await self._ask(place)
        except Unreached as error:
            self._delivery.failed(place)
            if self._passage is not None:
                self._passage.missed(str(error))
            return error
        finally:
            self._leave_first()
        return None

    async def _ask(self, place: Place) -> None:
        address = place.endpoint.address
        try:
            connection = self._pods.take(address) or await self._pods.connect(address)
        except (OSError, TimeoutError) as error:
            said = str(error) or "no answer"
            raise Unreached(f"{place.revision} cannot be reached: {said}") from error
        self._over = asyncio.get_running_loop().create_future()
        self._send(place, connection)
        try:
            await self._over
        except asyncio.CancelledError:
            self._count(499)
            self._end()
            raise

    def _send(self, place: Place, connection: PodConnection) -> None:
        self._place, self._connection = place, connection
        self._status, self._head = 0, b""
        beginning = self._asked.beginning
        if self._passage is not None:
            beginning = self._asked.beginning_within(self._passage.asks(place))
        data = b"".join((beginning, self._client.origin, self._body))
        connection.send(data, self, place.route.timeout)
        self._started = time.perf_counter()

    def _ending(self, place: Place) -> bytes:
        """What ends the head of an answer."""
        return place.shown_last if self._client.closes else place.shown

    def _over_with(self, status: int) -> None:
        """All of the answer is out."""
        self._count(status)
        if self._passage is not None or status >= 500:
            self._told(status)
        self._end()
        self._client.answered()

    def _repeat(self, why: str) -> None:
        """Asks another pod, if there is one."""
        self._repeated = True
        if self._passage is not None:
            self._passage.lost(why)
        over, place = self._over, self._place
        assert place is not None
        self._leave()
        broken = Unreached(why, broke_off=place.endpoint.address)
        if over is not None:
            over.set_exception(broken)
        else:
            self._delivery.failed(place)
            place.leave(self._delivery.now())
            self._deliver(broken=broken)

    def _break_off(self, why: str) -> None:
        """What is out already must not look whole."""
        self._count(self._status)
        self._told(self._status, why)
        self._end()
        self._client.abort()

    def _fail(self, status: int, message: str) -> None:
        revision = self._place.revision if self._place is not None else ""
        self._count(status)
        self._end()
        self._refuse(status, message, revision)

    def _refuse(self, status: int, message: str, revision: str = "") -> None:
        self._told(status, message, revision)
        body = error_body(message)
        lines = [
            f"HTTP/1.1 {status} {_REASONS.get(status, 'Error')}",
            "Content-Type: application/json; charset=utf-8",
            f"Content-Length: {len(body)}",
        ]
        if revision:
            lines.append(f"{REVISION_HEADER}: {revision}")
        if status == 503:
            lines.append("Retry-After: 1")
        if self._client.closes:
            lines.append("Connection: close")
        self._client.write("\r\n".join([*lines, "", ""]).encode() + body)
        self._client.answered()

    def _told(self, status: int, why: str = "", revision: str = "") -> None:
        """This is what the client was told, for its trace and the log of failures."""
        if self._passage is not None:
            self._passage.ended(status, why)
        if status >= 500 or (why and status < 400):
            asked, place = self._asked, self._place
            revision = revision or (place.revision if place is not None else "")
            failed = failure_of(asked.request, asked.destination, status, why, revision)
            if self._passage is not None:
                failed.trace_id = self._passage.request.trace_id
            self._delivery.failures.tell(failed)

    def _count(self, status: int) -> None:
        if self._place is not None:
            self._place.record.add(status, time.perf_counter() - self._started)

    def _leave(self) -> None:
        """Lets go of the pod, whose answer is not wanted if it has not come."""
        if self._connection is not None:
            self._connection.abort()
            self._connection = None
        self._place = None

    def _end(self) -> None:
        place, over = self._place, self._over
        self._leave()
        if over is None:
            if place is not None:
                place.leave(self._delivery.now())
        elif not over.done():
            over.set_result(None)

"""One request on the short way: sent to a pod at once if one can take it, else when one can.

A request is sent a second time only if nothing came back and it changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final, Protocol

from kubeling.kube.errors import ApiError
from kubeling.kube.objects import Key
from kubeling.serving.gateway.delivery import Delivery, Place, Undelivered, Unreached
from kubeling.serving.gateway.http1.pods import PodConnection, Pods
from kubeling.serving.gateway.http1.request import Request
from kubeling.serving.gateway.proxying import REVISION_HEADER, error_body
from kubeling.serving.gateway.repetition import may_be_repeated
from kubeling.serving.names import ComponentName

__all__ = ["Client", "Destination", "Exchange"]

log = logging.getLogger(__name__)

_REASONS: Final = {
    404: "Not Found",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}


class Destination:
    """The service that a request is for, and the path within it."""

    __slots__ = ("component", "key", "target")

    def __init__(self, key: Key, component: ComponentName | None, target: bytes) -> None:
        self.key = key
        self.component = component
        self.target = target


class Client(Protocol):
    """Who asked."""

    peer: bytes

    def write(self, data: bytes) -> None:
        """Sends a part of the answer."""

    def answered(self) -> None:
        """The answer is out."""

    def abort(self) -> None:
        """Breaks off: what is out must not look whole."""


class Exchange:
    """Receives a pod's answer for a client."""

    def __init__(
        self,
        client: Client,
        request: Request,
        destination: Destination,
        delivery: Delivery,
        pods: Pods,
    ) -> None:
        self._client = client
        self._request = request
        self._destination = destination
        self._delivery = delivery
        self._pods = pods
        self._place: Place | None = None
        self._first: Place | None = None
        self._connection: PodConnection | None = None
        self._limit: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._over: asyncio.Future[None] | None = None
        self._started = 0.0
        self._status = 0
        self._head = b""
        self._repeated = False

    def start(self) -> None:
        """Sets the request on its way."""
        where = self._destination
        place = self._delivery.place(where.key, where.target.decode("latin-1"), where.component)
        if place is None:
            self._deliver()
            return
        place.take(self._delivery.now())
        if connection := self._pods.take(place.endpoint.address):
            self._send(place, connection)
        else:
            self._deliver(place)

    def cancel(self) -> None:
        """The client is gone."""
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

    @property
    def revision(self) -> str:
        assert self._place is not None
        return self._place.revision

    def answered(self, status: int, head: bytes) -> None:
        self._status = status
        closing = b"Connection: close\r\n\r\n" if self._request.closes else b"\r\n"
        self._head = head + closing

    def received(self, pieces: list[bytes]) -> None:
        if self._head:
            pieces.insert(0, self._head)
            self._head = b""
        self._client.write(b"".join(pieces) if len(pieces) > 1 else pieces[0])

    def completed(self) -> None:
        if self._head:
            self.received([])
        self._connection = None
        self._count(self._status)
        self._end()
        self._client.answered()

    def broke(self, why: str) -> None:
        self._connection = None
        if self._status and not self._head:
            self._count(self._status)
            self._end()
            self._client.abort()
        elif not self._repeated and self._may_be_repeated():
            self._repeat(f"{self.revision} broke off: {why}")
        else:
            self._fail(502, f"{self.revision} broke off: {why}")

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
        where = self._destination
        target = where.target.decode("latin-1")
        try:
            if first is not None:
                broken = await self._asked_first(first)
                if broken is None:
                    return
            await self._delivery.deliver(where.key, self._ask, where.component, target, broken)
        except Undelivered as refused:
            self._refuse(refused.status, refused.message)
        except (ApiError, ConnectionError) as error:
            log.warning("%s: %s", where.key, error)
            self._refuse(503, str(error))

    async def _asked_first(self, place: Place) -> Unreached | None:
        """Asks the pod whose turn it is; gives why it does not answer."""
        try:
            await self._ask(place)
        except Unreached as error:
            self._delivery.failed(place)
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
        self._started = time.perf_counter()
        seconds = place.route.timeout
        self._limit = asyncio.get_running_loop().call_later(seconds, self._late, seconds)
        data = self._request.to_pod(self._destination.target, self._client.peer)
        connection.send(data, self)

    def _late(self, seconds: float) -> None:
        if self._status and not self._head:
            self._count(self._status)
            self._end()
            self._client.abort()
        else:
            self._fail(504, f"{self.revision} did not answer within {seconds:g} s")

    def _may_be_repeated(self) -> bool:
        target = self._destination.target.decode("latin-1")
        return may_be_repeated(self._request.method.decode(), target)

    def _repeat(self, why: str) -> None:
        """Asks another pod, if there is one."""
        self._repeated = True
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

    def _fail(self, status: int, message: str) -> None:
        revision = self.revision
        self._count(status)
        self._end()
        self._refuse(status, message, revision)

    def _refuse(self, status: int, message: str, revision: str = "") -> None:
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
        if self._request.closes:
            lines.append("Connection: close")
        self._client.write("\r\n".join([*lines, "", ""]).encode() + body)
        self._client.answered()

    def _count(self, status: int) -> None:
        if self._place is not None:
            self._place.record.add(status, time.perf_counter() - self._started)

    def _leave(self) -> None:
        """Lets go of the pod, whose answer is not wanted if it has not come."""
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None
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

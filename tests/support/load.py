"""People who ask a server all the time, each on a connection that is kept, and what they hear."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

__all__ = ["Load", "asked", "connect_at_once"]


@dataclass
class Load:
    """What was answered: by status, 0 where nobody was there, and each failure's words."""

    statuses: Counter[int] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    revisions: Counter[str] = field(default_factory=Counter)
    _more: threading.Condition = field(default_factory=threading.Condition)

    def add(self, status: int, body: str, revision: str = "") -> None:
        """Counts an answer."""
        with self._more:
            self.statuses[status] += 1
            self.revisions[revision] += 1
            if status != http.HTTPStatus.OK:
                self.failures.append(f"{status} {body}")
            self._more.notify_all()

    def until_answered(self, more: int, seconds: float = 60) -> None:
        """Waits until so many more requests have been answered well."""
        with self._more:
            wanted = self.statuses[200] + more
            there = self._more.wait_for(lambda: self.statuses[200] >= wanted, seconds)
        assert there, f"{self.statuses}, the last of them: {self.failures[-3:]}"


@contextlib.contextmanager
def asked(url: str, body: bytes, people: int = 4, pause: float = 0.002) -> Iterator[Load]:
    """Asks until the block is left; who finds nobody there tries again."""
    load, over = Load(), threading.Event()
    threads = [
        threading.Thread(target=_ask, args=(url, body, load, over, pause)) for _ in range(people)
    ]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _ask(url: str, body: bytes, load: Load, over: threading.Event, pause: float) -> None:
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=60)
    while not over.wait(pause):
        try:
            connection.request("POST", place.path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
            load.add(answer.status, text, answer.headers.get("x-kubeling-revision", ""))
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            load.add(0, f"{type(error).__name__}: {error}")
            over.wait(0.05)
    connection.close()


def connect_at_once(host: str, port: int, callers: int = 300) -> None:
    """Connects them all while nothing else runs here; one too many would be kept waiting."""
    with contextlib.ExitStack() as open_:
        for _ in range(callers):
            open_.enter_context(socket.create_connection((host, port), timeout=0.5))

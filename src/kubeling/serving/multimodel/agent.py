"""The model agent: keeps a server's models as a file lists them (``-m …multimodel.agent``).

It compares, again and again, what is listed with what it has brought and with what the server says
it has; so a list that changes, a server that starts anew and an agent that does are one case. A
model is put in place whole before the server is told. Several are brought at once, as upstream's
agent does (kserve's pkg/agent, puller.go); one that is slow, cannot be had or is listed wrongly
keeps no other waiting, and is tried again later. Threads bring, and only :meth:`Agent.look` takes
notes of it.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import Final

from kubeling.artifacts.addresses import shown_address
from kubeling.artifacts.errors import ArtifactError
from kubeling.serving.multimodel.listing import (
    Listing,
    ModelSpec,
    failed_line,
    read_sources,
    write_sources,
)
from kubeling.serving.storage.download import download

__all__ = ["Agent", "main"]

_OPEN: Final = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
"""The server is here: no proxy leads to it."""
_LOOK_SECONDS: Final = 1.0
_INDEX_SECONDS: Final = 5.0
_AGAIN_SECONDS: Final = 10.0
_CALL_SECONDS: Final = 600.0
_AT_ONCE: Final = 4


class Agent:
    """Brings models to one server."""

    def __init__(self, config: Path, models: Path, server: str) -> None:
        self._listing = Listing(config)
        self._models = models
        self._server = server.rstrip("/")
        self._fetched: dict[str, ModelSpec] = {}
        self._loaded: set[str] = set()
        self._sources = read_sources(models)
        self._next_try: dict[str, float] = {}
        self._next_index = 0.0
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="model")
        self._working: dict[str, Future[Callable[[], None]]] = {}

    @property
    def is_busy(self) -> bool:
        """Whether models are being brought or taken away."""
        return bool(self._working)

    def look(self) -> None:
        """Compares once, and has done what is missing, as much of it as there are threads for."""
        self._take_notes()
        wanted = self._listing.read()
        if wanted is None:
            return
        self._compare_with_server(wanted)
        present = {p.name for p in self._models.iterdir() if not p.name.startswith(".")}
        now = time.monotonic()
        for name in sorted(present - wanted.keys()):
            if now >= self._next_try.get(name, 0.0):
                self._begin(name, partial(self._remove, name))
        for name, spec in wanted.items():
            current = name in self._loaded and self._fetched.get(name) == spec
            if not current and now >= self._next_try.get(name, 0.0):
                is_here = self._fetched.get(name) == spec
                self._begin(name, partial(self._bring, name, spec, is_here=is_here))

    def rest(self, seconds: float) -> None:
        """Waits for something to be done, or so long."""
        if self._working:
            wait(self._working.values(), seconds, return_when=FIRST_COMPLETED)
        else:
            time.sleep(seconds)

    def _begin(self, name: str, work: Callable[[], Callable[[], None]]) -> None:
        """What finds no thread now is found missing again by the next look, if it still is."""
        if name not in self._working and len(self._working) < _AT_ONCE:
            self._working[name] = self._threads.submit(work)

    def _take_notes(self) -> None:
        for name, work in list(self._working.items()):
            if work.done():
                del self._working[name]
                work.result()()

    def _compare_with_server(self, wanted: Mapping[str, ModelSpec]) -> None:
        """A server that was started anew has lost its models."""
        now = time.monotonic()
        if not self._loaded & wanted.keys() or now < self._next_index:
            return
        self._next_index = now + _INDEX_SECONDS
        try:
            index = json.loads(self._call("index", _INDEX_SECONDS))
        except (OSError, ValueError) as error:
            # One that is slow to answer has what it had.
            if isinstance(getattr(error, "reason", None), ConnectionError):
                self._loaded.clear()
            return
        self._loaded &= {entry["name"] for entry in index if entry.get("state") == "READY"}

    def _bring(self, name: str, spec: ModelSpec, *, is_here: bool) -> Callable[[], None]:
        """In a thread; what is returned notes how it went."""
        try:
            if not is_here:
                self._fetch(name, spec)
            is_here = True
            self._call(f"models/{name}/load")
        except Exception as error:
            # Whatever is wrong with one model, the others go on.
            starting = isinstance(getattr(error, "reason", None), ConnectionError)
            pause = _LOOK_SECONDS if starting else _AGAIN_SECONDS
            said = f"model {name}: waiting for the server" if starting else ""
            print(said or failed_line(name, _said(error)), file=sys.stderr, flush=True)
            return partial(self._note, name, spec if is_here else None, pause)
        print(f"loaded {name} from {shown_address(spec.uri)}", flush=True)
        return partial(self._note, name, spec)

    def _note(self, name: str, fetched: ModelSpec | None, pause: float | None = None) -> None:
        if fetched is not None:
            self._fetched[name] = fetched
        if pause is None:
            assert fetched is not None
            self._loaded.add(name)
            self._sources[name] = fetched.digest
            write_sources(self._models, self._sources)
        else:
            # What the server has, if anything, is the model of that name there was before.
            self._loaded.discard(name)
            self._next_try[name] = time.monotonic() + pause

    def _fetch(self, name: str, spec: ModelSpec) -> None:
        new, old = self._models / f".new-{name}", self._models / f".old-{name}"
        for leftover in (new, old):
            shutil.rmtree(leftover, ignore_errors=True)
        download(spec.uri, new, os.environ)
        if (self._models / name).exists():
            (self._models / name).rename(old)
        new.rename(self._models / name)
        shutil.rmtree(old, ignore_errors=True)

    def _remove(self, name: str) -> Callable[[], None]:
        try:
            self._call(f"models/{name}/unload")
        except Exception as error:
            # A server that is being started will not load what is not there.
            starting = isinstance(getattr(error, "reason", None), ConnectionRefusedError)
            if not starting and getattr(error, "code", 0) != 404:
                print(failed_line(name, f"unloading: {_said(error)}"), file=sys.stderr, flush=True)
                return partial(self._note, name, None, _AGAIN_SECONDS)
        shutil.rmtree(self._models / name, ignore_errors=True)
        print(f"unloaded {name}", flush=True)
        return partial(self._forget, name)

    def _forget(self, name: str) -> None:
        self._fetched.pop(name, None)
        self._loaded.discard(name)
        self._next_try.pop(name, None)
        self._sources.pop(name, None)
        write_sources(self._models, self._sources)

    def _call(self, path: str, timeout: float = _CALL_SECONDS) -> bytes:
        request = urllib.request.Request(
            f"{self._server}/v2/repository/{path}",
            b"{}",
            {"Content-Type": "application/json"},
        )
        try:
            with _OPEN(request, timeout=timeout) as answer:
                found: bytes = answer.read()
        except http.client.HTTPException as error:
            raise OSError(f"the server broke off: {type(error).__name__}") from error
        return found


def _said(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answered {error.code}: {error.read().decode(errors='replace')}"
    if isinstance(error, (ArtifactError, OSError)):
        return str(error)
    return f"{type(error).__name__}: {error}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs until it is ended."""
    parser = argparse.ArgumentParser(prog="model-agent", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="the list of models")
    parser.add_argument("--models", type=Path, required=True, help="where to put them")
    parser.add_argument("--server", required=True, help="base address of the server")
    options = parser.parse_args(arguments)
    agent = Agent(options.config, options.models, options.server)
    while True:
        agent.look()
        agent.rest(_LOOK_SECONDS)


if __name__ == "__main__":
    sys.exit(main())

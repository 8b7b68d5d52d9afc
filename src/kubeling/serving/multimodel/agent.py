"""The model agent: keeps a server's models as a file lists them (``-m …multimodel.agent``).

It compares, again and again, what is listed with what it has brought and with what the server says
it has; so a list that changes, a server that starts anew and an agent that does are one case. A
model is put in place whole before the server is told, and one that cannot be had is tried again
later while the others go on.
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
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from kubeling.artifacts.addresses import shown_address
from kubeling.artifacts.errors import ArtifactError
from kubeling.serving.storage.download import download

__all__ = ["Agent", "main"]

_OPEN: Final = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
"""The server is here: no proxy leads to it."""
_LOOK_SECONDS: Final = 1.0
_INDEX_SECONDS: Final = 5.0
_AGAIN_SECONDS: Final = 10.0
_CALL_SECONDS: Final = 600.0


class Agent:
    """Brings models to one server."""

    def __init__(self, config: Path, models: Path, server: str) -> None:
        self._config = config
        self._models = models
        self._server = server.rstrip("/")
        self._fetched: dict[str, Any] = {}
        self._loaded: set[str] = set()
        self._next_try: dict[str, float] = {}
        self._next_index = 0.0

    def look(self) -> None:
        """Compares once, and does what is missing."""
        wanted = self._wanted()
        present = {p.name for p in self._models.iterdir() if not p.name.startswith(".")}
        for name in sorted(present - wanted.keys()):
            self._remove(name)
        self._compare_with_server(wanted)
        for name, spec in wanted.items():
            current = name in self._loaded and self._fetched.get(name) == spec
            if not current and time.monotonic() >= self._next_try.get(name, 0.0):
                self._bring(name, spec)

    def _wanted(self) -> dict[str, Any]:
        try:
            listed = json.loads(self._config.read_bytes())
        except FileNotFoundError:
            return {}
        return {entry["modelName"]: entry["modelSpec"] for entry in listed}

    def _compare_with_server(self, wanted: dict[str, Any]) -> None:
        """A server that was started anew has lost its models."""
        now = time.monotonic()
        if not self._loaded & wanted.keys() or now < self._next_index:
            return
        self._next_index = now + _INDEX_SECONDS
        try:
            index = json.loads(self._call("index"))
        except (OSError, ValueError):
            self._loaded.clear()
            return
        self._loaded &= {entry["name"] for entry in index if entry.get("state") == "READY"}

    def _bring(self, name: str, spec: Any) -> None:
        try:
            if self._fetched.get(name) != spec:
                self._fetch(name, spec)
            self._call(f"models/{name}/load")
        except Exception as error:
            # Whatever is wrong with one model, the others go on.
            starting = isinstance(getattr(error, "reason", None), ConnectionError)
            pause = _LOOK_SECONDS if starting else _AGAIN_SECONDS
            self._next_try[name] = time.monotonic() + pause
            print(f"model {name}: {_said(error)}; trying again", file=sys.stderr, flush=True)
            return
        self._loaded.add(name)
        print(f"loaded {name} from {shown_address(spec['storageUri'])}", flush=True)

    def _fetch(self, name: str, spec: Any) -> None:
        new, old = self._models / f".new-{name}", self._models / f".old-{name}"
        for leftover in (new, old):
            shutil.rmtree(leftover, ignore_errors=True)
        download(spec["storageUri"], new, os.environ)
        if (self._models / name).exists():
            (self._models / name).rename(old)
        new.rename(self._models / name)
        shutil.rmtree(old, ignore_errors=True)
        self._fetched[name] = spec

    def _remove(self, name: str) -> None:
        try:
            self._call(f"models/{name}/unload")
        except urllib.error.HTTPError as error:
            if error.code != 404:
                print(f"model {name}: {_said(error)}", file=sys.stderr, flush=True)
        except OSError:
            # The server is being started, and will not load what is not there.
            pass
        shutil.rmtree(self._models / name, ignore_errors=True)
        self._fetched.pop(name, None)
        self._loaded.discard(name)
        print(f"unloaded {name}", flush=True)

    def _call(self, path: str) -> bytes:
        request = urllib.request.Request(
            f"{self._server}/v2/repository/{path}",
            b"{}",
            {"Content-Type": "application/json"},
        )
        try:
            with _OPEN(request, timeout=_CALL_SECONDS) as answer:
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
        time.sleep(_LOOK_SECONDS)


if __name__ == "__main__":
    sys.exit(main())

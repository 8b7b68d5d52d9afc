"""Requests to a served model, through the platform's inference gateway."""

from __future__ import annotations

import http.client
import json
import shlex
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any, Final

from kubeling.gateway.models.signature import Signature, signature_of

__all__ = ["Answer", "ask", "curl_line", "signature"]

_SECONDS: Final = 630.0
"""A little more than the gateway waits, so that its own words come through."""
_SHORT: Final = 30.0
_OPEN: Final = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
"""The platform is on this machine: no proxy leads to it."""
_REVISION: Final = "X-Kubeling-Revision"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as it came; ``revision`` is the one that gave it."""

    status: int
    body: bytes
    revision: str = ""

    @property
    def error(self) -> str:
        """What a refusal says."""
        try:
            found = json.loads(self.body)
            return str(found.get("error") or found.get("detail") or found)
        except (ValueError, AttributeError):
            return self.body.decode(errors="replace").strip()


def ask(url: str, body: bytes | None = None, seconds: float = _SECONDS) -> Answer:
    """Sends a request; raises :class:`OSError` if nobody answers."""
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    try:
        with _OPEN(request, timeout=seconds) as answer:
            return Answer(answer.status, answer.read(), answer.headers.get(_REVISION, ""))
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.read(), error.headers.get(_REVISION, ""))
    except http.client.HTTPException as error:
        raise OSError(f"the answer broke off: {type(error).__name__}: {error}") from error


def signature(base: str, model: str) -> Signature | None:
    """What the model at a service's address says it takes."""
    try:
        answer = ask(f"{base}/v2/models/{model}", seconds=_SHORT)
        found: Any = json.loads(answer.body)
    except (OSError, ValueError):
        return None
    return signature_of(found) if answer.status == 200 and isinstance(found, dict) else None


def curl_line(base: str, model: str, found: Signature | None) -> str:
    """A command that asks the model; without a signature, for what it says of itself."""
    if found is None or found.is_large:
        return f"curl {shlex.quote(f'{base}/v1/models/{model}')}"
    target = shlex.quote(base + found.path(model))
    kind = shlex.quote("Content-Type: application/json")
    return f"curl -H {kind} -d {shlex.quote(found.sample_text())} {target}"

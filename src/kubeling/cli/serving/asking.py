"""Requests to a served model, through the platform's inference gateway."""

from __future__ import annotations

import asyncio
import http.client
import json
import shlex
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any, Final

import click

from kubeling.cli.serving.identity import account_in, grant_of, header_of, token_of
from kubeling.gateway.models.graph import first_service
from kubeling.gateway.models.signature import Signature, signature_of
from kubeling.kube.client import Client
from kubeling.kube.objects import Obj, name
from kubeling.serving.arguments import model_name
from kubeling.serving.resources import INFERENCE_SERVICES

__all__ = ["Answer", "ask", "curl_line", "fitting_graph_line", "fitting_line"]

_SECONDS: Final = 630.0
"""A little more than the gateway waits, so that its own words come through."""
_SHORT: Final = 30.0
_OPEN: Final = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
"""The platform is on this machine: no proxy leads to it."""
_REVISION: Final = "X-Kubeling-Revision"
_STEP: Final = "X-Kubeling-Step"
_OK: Final = 200
_FORBIDDEN: Final = 403


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as it came; ``revision`` is the one that gave it, or the ``step`` that failed."""

    status: int
    body: bytes
    revision: str = ""
    step: str = ""

    @property
    def asks_who(self) -> bool:
        """Whether the gateway wants to know who asks: no pod has seen the request."""
        return self.status == _FORBIDDEN and not self.revision

    @property
    def error(self) -> str:
        """What a refusal says."""
        try:
            found = json.loads(self.body)
            said = str(found.get("error") or found.get("detail") or found)
            return f"{said}: {found['cause']}" if found.get("cause") else said
        except (ValueError, AttributeError):
            return self.body.decode(errors="replace").strip()


def ask(
    url: str, body: bytes | None = None, seconds: float = _SECONDS, *, token: str = ""
) -> Answer:
    """Sends a request; raises :class:`OSError` if nobody answers."""
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    if token:
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    try:
        with _OPEN(request, timeout=seconds) as answer:
            return Answer(answer.status, answer.read(), answer.headers.get(_REVISION, ""))
    except urllib.error.HTTPError as error:
        with error:
            revision, step = (error.headers.get(header, "") for header in (_REVISION, _STEP))
            return Answer(error.code, error.read(), revision, step)
    except http.client.HTTPException as error:
        raise OSError(f"the answer broke off: {type(error).__name__}: {error}") from error


async def fitting_line(
    client: Client, namespace: str, kubeconfig: str, base: str, model: str
) -> str:
    """A command that asks the model of a service at an address."""
    found, header = await _signature_at(client, namespace, kubeconfig, base, model)
    return curl_line(base, model, found, header)


async def fitting_graph_line(
    client: Client, namespace: str, kubeconfig: str, gateway: str, graph: Obj
) -> str:
    """A command that asks a graph for what the first service takes that gets the request."""
    first, found, header = first_service(graph), None, ""
    if first:
        base = f"{gateway}/serving/{namespace}/{first}"
        isvc = await client.find(INFERENCE_SERVICES, first, namespace) or {}
        model = model_name(isvc) if isvc else first
        found, header = await _signature_at(client, namespace, kubeconfig, base, model)
    body = "@request.json" if found is None or found.is_large else found.sample_text()
    return _posting(f"{gateway}/serving/{namespace}/{name(graph)}", body, header)


async def _signature_at(
    client: Client, namespace: str, kubeconfig: str, base: str, model: str
) -> tuple[Signature | None, str]:
    """What a model says it takes, and the header by which it is asked, if it wants one."""
    answer = await asyncio.to_thread(_metadata, base, model)
    header = ""
    if answer is not None and answer.asks_who:
        account = await account_in(client, namespace)
        header = header_of(account, namespace, kubeconfig)
        token = await token_of(client, namespace, account)
        answer = await asyncio.to_thread(_metadata, base, model, token)
        if answer is not None and answer.asks_who:
            grant = grant_of(account, namespace)
            click.echo(f"{account} may not ask {model} yet. Let it ask: {grant}", err=True)
    found = _signature(answer)
    if found is not None and found.skew is not None:
        click.echo(f"Note: {found.skew}", err=True)
    return found, header


def curl_line(base: str, model: str, found: Signature | None, header: str = "") -> str:
    """A command that asks the model; without a signature, for what it says of itself.

    ``header`` is another one, as a shell reads it.
    """
    if found is None or found.is_large:
        return f"{_curl(header)} {shlex.quote(f'{base}/v1/models/{model}')}"
    return _posting(base + found.path(model), found.sample_text(), header)


def _curl(header: str) -> str:
    return f"curl -H {header}" if header else "curl"


def _posting(url: str, body: str, header: str) -> str:
    kind = shlex.quote("Content-Type: application/json")
    return f"{_curl(header)} -H {kind} -d {shlex.quote(body)} {shlex.quote(url)}"


def _metadata(base: str, model: str, token: str = "") -> Answer | None:
    """What the model says of itself, if anybody answers."""
    try:
        return ask(f"{base}/v2/models/{model}", seconds=_SHORT, token=token)
    except OSError:
        return None


def _signature(answer: Answer | None) -> Signature | None:
    """What the model takes, if it says so."""
    if answer is None or answer.status != _OK:
        return None
    try:
        found: Any = json.loads(answer.body)
    except ValueError:
        return None
    return signature_of(found) if isinstance(found, dict) else None

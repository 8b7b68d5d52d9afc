"""``http`` templates: one request, and whether its answer is a success (``executor/agent.go``)."""

from __future__ import annotations

import asyncio
import base64
import binascii
from typing import Any, Final

import aiohttp

from kubeling.kube.client import Client
from kubeling.kube.objects import Obj
from kubeling.kube.resources import SECRETS
from kubeling.workflows.errandlog import ErrandLog
from kubeling.workflows.errands import Errand, ErrandFailed
from kubeling.workflows.expressions import ExpressionError, exprlang
from kubeling.workflows.outbound import ServiceNames, proxy_for
from kubeling.workflows.resources import Outputs

__all__ = ["do_http"]

_TIMEOUT: Final = 30
_MAX_BODY: Final = 1 << 20


async def do_http(
    client: Client,
    namespace: str,
    names: ServiceNames,
    errand: Errand,
    gate: asyncio.Semaphore,
    log: ErrandLog,
) -> Outputs:
    """Sends the request; ``client`` acts for the Workflow, whose secrets the headers may name."""
    wanted: Obj = errand.raw["http"]
    headers = await _headers(client, namespace, wanted)
    seconds = wanted.get("timeoutSeconds") or _TIMEOUT
    timeout = aiohttp.ClientTimeout(total=seconds)
    log.say(f"{wanted.get('method') or 'GET'} {wanted['url']}")
    connector = aiohttp.TCPConnector(ssl=not wanted.get("insecureSkipVerify"), resolver=names)
    try:
        async with (
            gate,
            aiohttp.ClientSession(timeout=timeout, connector=connector) as session,
            session.request(
                wanted.get("method") or "GET",
                wanted["url"],
                headers=headers,
                data=_body(wanted),
                proxy=await proxy_for(wanted["url"], names),
            ) as response,
        ):
            body = await _read(response)
    except TimeoutError:
        raise ErrandFailed(f"{wanted['url']} did not answer within {seconds} s") from None
    except (aiohttp.ClientError, ValueError) as error:
        raise ErrandFailed(f"{wanted['url']}: {error or type(error).__name__}") from None
    log.say(f"{response.status} {response.reason or ''}, {len(body)} characters")
    _judge(wanted, headers, response, body, log)
    return Outputs(result=body)


async def _headers(client: Client, namespace: str, wanted: Obj) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for header in wanted.get("headers") or ():
        value = str(header.get("value") or "")
        if reference := (header.get("valueFrom") or {}).get("secretKeyRef"):
            value = await _secret(client, namespace, reference)
        found.append((str(header["name"]), value))
    return found


async def _secret(client: Client, namespace: str, reference: Obj) -> str:
    name, key = reference.get("name") or "", reference.get("key") or ""
    data = (await client.get(SECRETS, name, namespace)).get("data") or {}
    if key not in data:
        raise ErrandFailed(f'Secret "{name}" has no key "{key}"')
    return base64.b64decode(data[key]).decode(errors="replace").strip()


def _body(wanted: Obj) -> bytes:
    source = wanted.get("bodyFrom")
    if source is None:
        return str(wanted.get("body") or "").encode()
    try:
        return base64.b64decode(source.get("bytes") or "", validate=True)
    except binascii.Error as error:
        raise ErrandFailed(f"bodyFrom.bytes is not base64: {error}") from None


async def _read(response: aiohttp.ClientResponse) -> str:
    content = bytearray()
    async for chunk in response.content.iter_any():
        content += chunk
        if len(content) > _MAX_BODY:
            raise ErrandFailed(
                f"the answer is larger than {_MAX_BODY >> 10} KiB; fetch it in a container, as an "
                "artifact"
            )
    return content.decode(response.charset or "utf-8", errors="replace")


def _judge(
    wanted: Obj,
    headers: list[tuple[str, str]],
    response: aiohttp.ClientResponse,
    body: str,
    log: ErrandLog,
) -> None:
    condition = wanted.get("successCondition")
    if not condition:
        if not 200 <= response.status < 300:
            raise ErrandFailed(f"received non-2xx response code: {response.status}")
        return
    environment: dict[str, Any] = {
        "request": {
            "method": wanted.get("method") or "",
            "url": wanted["url"],
            "body": wanted.get("body") or "",
            "headers": _grouped(headers),
        },
        "response": {
            "statusCode": response.status,
            "body": body,
            "headers": _grouped(list(response.headers.items())),
        },
    }
    try:
        succeeded = exprlang.evaluate(condition, environment)
    except ExpressionError as error:
        raise ErrandFailed(f"successCondition '{condition}': {error}") from None
    log.say(f"successCondition '{condition}' evaluated {str(succeeded is True).lower()}")
    if succeeded is not True:
        raise ErrandFailed(f"successCondition '{condition}' evaluated false")


def _grouped(headers: list[tuple[str, str]]) -> dict[str, list[str]]:
    """Headers as Go spells them: a canonical name and all its values."""
    found: dict[str, list[str]] = {}
    for name, value in headers:
        canonical = "-".join(part.capitalize() for part in name.split("-"))
        found.setdefault(canonical, []).append(value)
    return found

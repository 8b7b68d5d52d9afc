"""Answers only to the platform's own names.

Whoever owns a name can let it lead to this machine's loopback address, after a browser has loaded a
page from it (DNS rebinding): that page is then of the same origin as the dashboard, and no check of
origins stops it. It cannot change the name its browser asks for, so a name that is not ours is
answered with 421. An address in place of a name was not looked up, so nobody can have turned it.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection
from html import escape
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

__all__ = ["AllowedHosts", "known_hosts"]

_SYSTEM: Final = "kubeflow"
"""The namespace of the Services by which pods reach the gateway."""
_REMEDY: Final = (
    "If it is, set gateway.allowed_hosts: [{name}] in config.yaml, or "
    "KUBELING_GATEWAY_ALLOWED_HOSTS='[{name}]', and start the platform again."
)
_PAGE: Final = """<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="color-scheme" content="light dark"><title>Not answered under this name</title>
<style>body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 40rem; margin: 4rem auto }}</style>
<h1>Not answered under this name</h1><p>{reason}</p><p>{remedy}</p></html>"""


class AllowedHosts:
    """The names a gateway answers to."""

    def __init__(self, names: Collection[str] = (), cluster_domain: str = "cluster.local") -> None:
        self._any = "*" in names
        self._names = {"localhost", socket.gethostname().lower()}
        self._names |= {name.lower() for name in names if not name.startswith("*")}
        self._below = (
            ".localhost",
            *(f".{_SYSTEM}{rest}" for rest in ("", ".svc", f".svc.{cluster_domain}")),
            *(name[1:].lower() for name in names if name.startswith("*.")),
        )

    def allows(self, host: str) -> bool:
        """Whether a ``Host`` header, with or without a port, names this gateway."""
        name = _name_of(host)
        if self._any or name in self._names or _is_address(name):
            return True
        # A wildcard stands for labels in front of the dot, never for none.
        return any(name.endswith(end) and name != end for end in self._below)


def known_hosts(allowed: AllowedHosts) -> Middleware:
    """Answers 421 to requests for other names."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if allowed.allows(request.host):
            return await handler(request)
        return _refusal(
            _name_of(request.host), html="text/html" in request.headers.get("Accept", "")
        )

    return middleware


def _refusal(name: str, *, html: bool) -> web.Response:
    reason = f'This is Kubeling, which was not told that "{name}" is a name of its own.'
    remedy = _REMEDY.format(name=name)
    if html:
        text = _PAGE.format(reason=escape(reason), remedy=escape(remedy))
        return web.Response(status=421, text=text, content_type="text/html")
    return web.Response(status=421, text=f"{reason} {remedy}\n")


def _name_of(host: str) -> str:
    """The name alone: in small letters, without a port, brackets or the root's dot."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower().rstrip(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True

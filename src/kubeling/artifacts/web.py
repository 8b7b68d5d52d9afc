"""Plain HTTP for artifacts on web servers: urllib is enough, and is there before anything is
installed."""

from __future__ import annotations

import base64
import ssl
import urllib.error
import urllib.request
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any, BinaryIO, Final
from urllib.parse import unquote, urlsplit, urlunsplit

from kubeling.artifacts.errors import ArtifactAway

__all__ = ["Answer", "HttpStatus", "fetch", "get", "post", "put", "save"]

_TIMEOUT: Final = 60.0
_PIECE: Final = 1 << 20
_SECRETS: Final = frozenset({"Authorization", "Cookie"})
"""What Go takes off as well, whose client upstream uses; as urllib spells them."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer in memory."""

    body: bytes
    headers: Mapping[str, str]


class HttpStatus(Exception):
    """The server answered with an error status."""

    def __init__(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.body = body
        self.headers = headers or {}


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Keeps credentials from other hosts, as browsers and curl do: stores send one to a CDN."""

    def __init__(self, secrets: Collection[str]) -> None:
        self._secrets = {name.capitalize() for name in (*_SECRETS, *secrets)}

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """The next request, with the credentials only where the first host is asked again."""
        following = super().redirect_request(req, fp, code, msg, headers, newurl)
        if following is not None and not _is_same(req, following):
            for secret in self._secrets & following.headers.keys():
                following.remove_header(secret)
        return following


def _is_same(one: urllib.request.Request, other: urllib.request.Request) -> bool:
    """Whether both go to the same host, and the second no less safely."""
    return one.host == other.host and (other.type == "https" or one.type == "http")


def get(
    url: str,
    headers: Mapping[str, str] | None = None,
    context: ssl.SSLContext | None = None,
) -> Answer:
    """Reads a small answer; raises :class:`HttpStatus` or :class:`ArtifactError`."""
    return _answered(urllib.request.Request(url, headers=dict(headers or {})), context)


def post(url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
    """Posts a small body; raises :class:`HttpStatus` or :class:`ArtifactError`."""
    return _answered(
        urllib.request.Request(url, data=body, headers=dict(headers), method="POST"), None
    )


def _answered(request: urllib.request.Request, context: ssl.SSLContext | None) -> Answer:
    with fetch(request, context) as response:
        try:
            return Answer(response.read(), dict(response.headers))
        except (HTTPException, OSError) as error:
            raise _broke_off(request.host, error) from None


def put(
    url: str,
    body: BinaryIO,
    size: int,
    headers: Mapping[str, str],
    context: ssl.SSLContext | None = None,
) -> None:
    """Streams a body of ``size`` bytes; raises :class:`HttpStatus` or :class:`ArtifactError`."""
    sent = {"Content-Type": "application/octet-stream", **headers, "Content-Length": str(size)}
    with fetch(urllib.request.Request(url, data=body, headers=sent, method="PUT"), context):
        return


def save(
    url: str,
    target: Path,
    headers: Mapping[str, str] | None = None,
    context: ssl.SSLContext | None = None,
    secrets: Collection[str] = (),
) -> Mapping[str, str]:
    """Streams an answer into a file and returns its headers.

    ``secrets`` names headers that no other host is sent, besides those that it never is.
    """
    request = urllib.request.Request(url, headers=dict(headers or {}))
    with fetch(request, context, secrets) as response:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            _copy(response, file, request.host)
        return dict(response.headers)


def _copy(response: HTTPResponse, file: BinaryIO, host: str) -> None:
    while True:
        try:
            piece = response.read(_PIECE)
        except (HTTPException, OSError) as error:
            raise _broke_off(host, error) from None
        if not piece:
            break
        file.write(piece)
    if response.length:
        # Reading in pieces does not tell the end of an answer from the end of a connection.
        raise ArtifactAway(f"{host} broke off: {response.length} more bytes were to come")


def _broke_off(host: str, error: Exception) -> ArtifactAway:
    return ArtifactAway(f"{host} broke off: {str(error) or type(error).__name__}")


def fetch(
    request: urllib.request.Request,
    context: ssl.SSLContext | None = None,
    secrets: Collection[str] = (),
) -> HTTPResponse:
    """Opens a request; the caller closes it. A user in the address signs in, as in Go's client."""
    parts = urlsplit(request.full_url)
    user, at, host = parts.netloc.rpartition("@")
    if at:
        # Out of the address, too: it is what relative redirects are resolved against.
        request.full_url = urlunsplit(parts._replace(netloc=host))
        if not request.has_header("Authorization"):
            token = base64.b64encode(unquote(user).encode()).decode()
            request.add_header("Authorization", f"Basic {token}")
    try:
        https = urllib.request.HTTPSHandler(context=context or ssl.create_default_context())
        opener = urllib.request.build_opener(https, _Redirects(secrets))
        response: HTTPResponse = opener.open(request, timeout=_TIMEOUT)
        return response
    except urllib.error.HTTPError as error:
        raise HttpStatus(error.code, error.read(), dict(error.headers)) from None
    except (HTTPException, OSError) as error:
        reason = getattr(error, "reason", error)
        host = request.host
        raise ArtifactAway(
            f"cannot reach {host}: {reason}; check the address and this machine's network or proxy"
        ) from None

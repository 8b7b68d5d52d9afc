"""URLs: absolute ones with a scheme, or absolute paths."""

from __future__ import annotations

from typing import Final
from urllib.parse import SplitResult, parse_qs, quote, unquote, urlsplit

from kubeling.apiserver.cel.errors import EvalError
from kubeling.apiserver.cel.library import Library

__all__ = ["URLS", "Url"]

URLS: Final = Library()
define = URLS.define


class Url:
    """An address, taken apart."""

    cel_name = "kubernetes.URL"

    def __init__(self, text: str) -> None:
        self.parts: SplitResult = urlsplit(text)
        _ = self.parts.port
        if not self.parts.scheme and not text.startswith("/"):
            raise ValueError("invalid URI for request")
        if any(mark in text for mark in ' <>"{}|\\^`') or not text.isprintable():
            raise ValueError("invalid character in URL")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Url) and self.parts == other.parts

    def __hash__(self) -> int:
        return hash(self.parts)


@define("url(string) -> URL", linear=True)
def _url(text: str) -> Url:
    try:
        return Url(text)
    except ValueError as error:
        raise EvalError(
            f'URL parse error during conversion from string: parse "{text}": {error}'
        ) from None


@define("isURL(string) -> bool", linear=True)
def _is_url(text: str) -> bool:
    try:
        Url(text)
    except ValueError:
        return False
    return True


def _host(url: Url) -> str:
    return url.parts.netloc.rpartition("@")[2]


def _hostname(url: Url) -> str:
    host = _host(url)
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


define("URL.getScheme() -> string")(lambda url: url.parts.scheme)
define("URL.getHost() -> string")(_host)
define("URL.getHostname() -> string")(_hostname)
define("URL.getPort() -> string")(lambda url: "" if url.parts.port is None else str(url.parts.port))
define("URL.getEscapedPath() -> string")(
    lambda url: quote(unquote(url.parts.path), safe="/~!$&'()*+,;=:@")
)
define("URL.getQuery() -> map(string, list(string))")(
    lambda url: parse_qs(url.parts.query, keep_blank_values=True)
)

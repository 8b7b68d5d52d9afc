"""Requests that are not about resources: discovery, versions, health, OpenAPI, metrics."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable
from typing import Final

import msgspec

from kubeling import __version__
from kubeling.apiserver import openapi_protobuf
from kubeling.apiserver.discovery import Discovery
from kubeling.apiserver.documents import OpenApiDocuments
from kubeling.apiserver.representation import negotiate
from kubeling.apiserver.requests import (
    Answer,
    ApiRequest,
    BytesAnswer,
    ObjectAnswer,
    parse_path,
)
from kubeling.apiserver.tokens import ISSUER, Tokens
from kubeling.kube.errors import MethodNotAllowed, NotFound
from kubeling.kube.objects import Obj
from kubeling.kube.version import KUBERNETES_VERSION

__all__ = ["VERSION", "Plain"]

_MAJOR, _MINOR, _ = KUBERNETES_VERSION.removeprefix("v").split(".")
VERSION: Final[Obj] = {
    "major": _MAJOR,
    "minor": _MINOR,
    "gitVersion": KUBERNETES_VERSION,
    "gitCommit": __version__,
    "gitTreeState": "clean",
    "buildDate": "2026-01-01T00:00:00Z",
    "goVersion": "none",
    "compiler": "kubeling",
    "platform": "linux/amd64",
}

_HEALTH: Final = ("healthz", "livez", "readyz")
_CHECKS: Final = ("ping", "storage", "admission")


class Plain:
    """Answers them all; a path nobody knows is :class:`NotFound`."""

    def __init__(
        self,
        discovery: Discovery,
        documents: OpenApiDocuments,
        tokens: Tokens,
        metrics: Callable[[], bytes],
    ) -> None:
        self._discovery = discovery
        self._documents = documents
        self._tokens = tokens
        self._metrics = metrics

    def handle(self, request: ApiRequest) -> Answer:
        """Answers one request; only reading is possible here."""
        if request.method not in ("GET", "HEAD"):
            raise MethodNotAllowed(
                "the server does not allow this method on the requested resource"
            )
        answer = self._answer(request)
        if isinstance(answer, ObjectAnswer):
            answer.yaml = negotiate(request.accept).media == "application/yaml"
        return answer

    def _answer(self, request: ApiRequest) -> Answer:
        parts = [part for part in request.path.split("/") if part]
        match parts:
            case []:
                return ObjectAnswer({"paths": self._paths()})
            case ["version"]:
                return ObjectAnswer(VERSION)
            case [health] if health in _HEALTH:
                return _healthy(health, verbose="verbose" in request.query)
            case [health, check] if health in _HEALTH and check in _CHECKS:
                return BytesAnswer(b"ok")
            case ["metrics"]:
                return BytesAnswer(self._metrics(), "text/plain; version=0.0.4; charset=utf-8")
            case ["openapi", "v2"]:
                return self._whole_document(request)
            case ["openapi", "v3"]:
                return ObjectAnswer(self._documents.index())
            case ["openapi", "v3", *rest]:
                return self._document("/".join(rest), request)
            case [".well-known", "openid-configuration"]:
                return ObjectAnswer(_issuer())
            case ["openid", "v1", "jwks"]:
                return ObjectAnswer(self._tokens.jwks())
            case ["api"] | ["apis"]:
                return self._roots(parts[0], request)
            case ["apis", group]:
                return ObjectAnswer(self._discovery.group(group))
            case _:
                target = parse_path(request.path)
                if target is None or target.plural:
                    raise NotFound("the server could not find the requested resource")
                return ObjectAnswer(self._discovery.resources(target.group, target.version))

    def _roots(self, root: str, request: ApiRequest) -> Answer:
        wanted = negotiate(request.accept)
        if wanted.kind == "APIGroupDiscoveryList":
            obj = self._discovery.aggregated(root == "api", wanted.version)
            kind = (
                f"application/json;g=apidiscovery.k8s.io;v={wanted.version};"
                "as=APIGroupDiscoveryList"
            )
            return _with_tag(msgspec.json.encode(obj), kind, request)
        if root == "api":
            return ObjectAnswer(self._discovery.api_versions())
        return ObjectAnswer(self._discovery.groups())

    def _whole_document(self, request: ApiRequest) -> Answer:
        """In protobuf to who asks for that form by its media type, which no other can replace."""
        if openapi_protobuf.ACCEPTED in request.accept:
            document = self._documents.whole(protobuf=True)
            return _packed(*document, request, openapi_protobuf.MEDIA_TYPE)
        negotiate(request.accept)
        return _packed(*self._documents.whole(), request)

    def _document(self, path: str, request: ApiRequest) -> Answer:
        return _packed(*self._documents.document(path), request)

    def _paths(self) -> list[str]:
        groups = self._discovery.groups()["groups"]
        below = [
            path
            for group in groups
            for path in (
                f"/apis/{group['name']}",
                *(f"/apis/{version['groupVersion']}" for version in group["versions"]),
            )
        ]
        others = [
            "/healthz",
            "/livez",
            "/metrics",
            "/openapi/v2",
            "/openapi/v3",
            "/readyz",
            "/version",
        ]
        return ["/api", "/api/v1", "/apis", *below, *others]


def _packed(
    compressed: bytes, tag: str, request: ApiRequest, media: str = "application/json"
) -> Answer:
    headers = {"ETag": f'"{tag}"', "Vary": "Accept, Accept-Encoding"}
    if request.query.get("hash"):
        headers["Cache-Control"] = "public, immutable"
    if request.headers.get("If-None-Match", "").strip('"') == tag:
        return BytesAnswer(b"", media, 304, headers)
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        headers["Content-Encoding"] = "gzip"
        return BytesAnswer(compressed, media, 200, headers)
    return BytesAnswer(gzip.decompress(compressed), media, 200, headers)


def _with_tag(body: bytes, content_type: str, request: ApiRequest) -> Answer:
    tag = hashlib.sha256(body).hexdigest().upper()
    headers = {"ETag": f'"{tag}"', "Vary": "Accept", "Cache-Control": "public"}
    if request.headers.get("If-None-Match", "").strip('"') == tag:
        return BytesAnswer(b"", content_type, 304, headers)
    return BytesAnswer(body, content_type, 200, headers)


def _healthy(name: str, *, verbose: bool) -> Answer:
    if not verbose:
        return BytesAnswer(b"ok")
    lines = [*(f"[+]{check} ok" for check in _CHECKS), f"{name} check passed"]
    return BytesAnswer(("\n".join(lines) + "\n").encode())


def _issuer() -> Obj:
    return {
        "issuer": ISSUER,
        "jwks_uri": f"{ISSUER}/openid/v1/jwks",
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    }

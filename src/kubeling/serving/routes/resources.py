"""The Gateway API's kinds of routes."""

from __future__ import annotations

from typing import Final

from kubeling.kube.resources import Resource

__all__ = ["GRPC_ROUTES", "HTTP_ROUTES", "ROUTES", "definition_of"]

HTTP_ROUTES: Final = Resource("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes")
GRPC_ROUTES: Final = Resource("gateway.networking.k8s.io", "v1", "GRPCRoute", "grpcroutes")
ROUTES: Final = (HTTP_ROUTES, GRPC_ROUTES)


def definition_of(resource: Resource) -> str:
    """The name of a kind's CustomResourceDefinition."""
    return f"{resource.plural}.{resource.group}"

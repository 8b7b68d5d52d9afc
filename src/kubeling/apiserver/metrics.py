"""What the server says about itself, as Prometheus reads it."""

from __future__ import annotations

from collections.abc import Mapping

from kubeling.apiserver.storage import Store

__all__ = ["render_metrics"]


def render_metrics(store: Store, answers: Mapping[tuple[str, int], int]) -> bytes:
    """The metrics, under the names kube-apiserver gives them."""
    lines = [
        "# HELP apiserver_request_total Answers given over HTTPS.",
        "# TYPE apiserver_request_total counter",
        *(
            f'apiserver_request_total{{verb="{method}",code="{code}"}} {count}'
            for (method, code), count in sorted(answers.items())
        ),
        "# HELP apiserver_storage_objects Objects stored.",
        "# TYPE apiserver_storage_objects gauge",
        *(
            f'apiserver_storage_objects{{resource="{_name(resource)}"}} {store.count(resource)}'
            for resource in sorted(store.resources())
        ),
        "# HELP apiserver_longrunning_requests Watches open.",
        "# TYPE apiserver_longrunning_requests gauge",
        *(
            f'apiserver_longrunning_requests{{verb="WATCH",resource="{_name(resource)}"}} {count}'
            for resource, count in sorted(store.watchers().items())
        ),
    ]
    return ("\n".join(lines) + "\n").encode()


def _name(resource: str) -> str:
    group, _, plural = resource.partition("/")
    return f"{plural}.{group}" if group else plural

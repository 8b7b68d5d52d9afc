"""What a run's pipeline, object and namespace say about how it is carried out. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kubeling.kube import objects
from kubeling.kube.objects import Obj
from kubeling.pipelines.caching import MAX_AGE, AgeLimit, CacheRules, parse_age
from kubeling.pipelines.kubernetes import executor_settings

__all__ = ["cache_rules"]


def cache_rules(
    platform: dict[str, Any], run: Obj, namespace: Obj | None, limit: str
) -> CacheRules:
    """Who limits the cache: the platform's own setting, the namespace, the run, its tasks.

    Raises :class:`ValueError` for an age that cannot be read.
    """
    return CacheRules(
        tuple(_limits(run, namespace, limit)),
        {
            label: AgeLimit(parse_age(given), f"the task's annotation says {given}")
            for label, settings in executor_settings(platform).items()
            if (
                given := ((settings.get("podMetadata") or {}).get("annotations") or {}).get(MAX_AGE)
            )
        },
    )


def _limits(run: Obj, namespace: Obj | None, limit: str) -> Iterator[AgeLimit]:
    if limit:
        yield AgeLimit(parse_age(limit), f"the platform's settings say {limit}")
    for what, obj in (("namespace", namespace), ("run", run)):
        if obj is not None and (given := objects.annotations(obj).get(MAX_AGE)):
            yield AgeLimit(parse_age(given), f"the {what}'s annotation says {given}")

"""The objects a binding hands to its policy as ``params``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubeling.apiserver.catalog import Catalog
from kubeling.apiserver.served import Served
from kubeling.apiserver.storage import Store
from kubeling.kube import selectors
from kubeling.kube.objects import Obj

__all__ = ["ParamsError", "collect_params"]


class ParamsError(Exception):
    """A binding whose parameters cannot be had."""


def collect_params(
    store: Store,
    catalog: Catalog,
    kind: Mapping[str, Any] | None,
    reference: Mapping[str, Any] | None,
    namespace: str,
) -> list[Obj | None]:
    """One entry for each evaluation; ``None`` for one without params.

    Raises :class:`ParamsError` where there should be some and are none.
    """
    if not kind or not reference:
        return [None]
    served = catalog.of_kind(kind["apiVersion"], kind["kind"])
    if served is None:
        raise ParamsError(
            f"failed to find resource referenced by paramKind: "
            f"'{kind['apiVersion']}, Kind={kind['kind']}'"
        )
    found = _find(store, served, reference, _namespace(served, reference, namespace))
    if found:
        return list(found)
    if reference.get("parameterNotFoundAction", "Deny") == "Deny":
        raise ParamsError("no params found for policy binding with `Deny` parameterNotFoundAction")
    return []


def _namespace(served: Served, reference: Mapping[str, Any], requested: str) -> str:
    named = str(reference.get("namespace") or "")
    if not served.resource.namespaced:
        if named:
            raise ParamsError(
                "paramRef.namespace must not be provided for a cluster-scoped `paramKind`"
            )
        return ""
    if not (named or requested):
        raise ParamsError(
            "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources"
        )
    return named or requested


def _find(store: Store, served: Served, reference: Mapping[str, Any], namespace: str) -> list[Obj]:
    if name := reference.get("name"):
        record = store.get(served.key(namespace, name))
        return [served.present(record.obj)] if record else []
    wanted = selectors.from_object(reference.get("selector") or {})
    return [
        served.present(record.obj)
        for record in store.list(served.storage, namespace)
        if wanted.matches(record.obj["metadata"].get("labels") or {})
    ]

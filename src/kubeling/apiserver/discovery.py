"""Discovery: what is served, as lists of groups, versions and resources, plain and aggregated."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from typing import Final

from kubeling.apiserver.aggregation.delegate import Delegate, Delegates
from kubeling.apiserver.catalog import Catalog
from kubeling.apiserver.served import SUBRESOURCE_VERBS, Served
from kubeling.kube.errors import NotFound
from kubeling.kube.objects import Obj

__all__ = ["Discovery"]

_SUBRESOURCE_KINDS: Final = {
    "scale": ("autoscaling", "v1", "Scale"),
    "exec": ("", "v1", "PodExecOptions"),
    "attach": ("", "v1", "PodAttachOptions"),
    "portforward": ("", "v1", "PodPortForwardOptions"),
    "binding": ("", "v1", "Binding"),
    "eviction": ("policy", "v1", "Eviction"),
    "token": ("authentication.k8s.io", "v1", "TokenRequest"),
}
_PREFERRED_ORDER: Final = ("", "apps", "batch", "autoscaling", "policy", "networking.k8s.io")


_Versions = Mapping[str, list[Served] | Delegate]
_Groups = dict[str, dict[str, list[Served] | Delegate]]


class Discovery:
    """Answers discovery from the catalogue, remembering each answer until it changes."""

    def __init__(self, catalog: Catalog, delegates: Delegates, address: str) -> None:
        self._catalog = catalog
        self._delegates = delegates
        self._address = address
        self._generation = (-1, -1)
        self._groups: _Groups = {}

    def api_versions(self) -> Obj:
        """``/api``."""
        return {
            "kind": "APIVersions",
            "versions": ["v1"],
            "serverAddressByClientCIDRs": [
                {"clientCIDR": "0.0.0.0/0", "serverAddress": self._address}
            ],
        }

    def groups(self) -> Obj:
        """``/apis``."""
        found = [_group(name, versions) for name, versions in self._tree().items() if name]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": found}

    def group(self, name: str) -> Obj:
        """``/apis/GROUP``."""
        versions = self._tree().get(name)
        if not name or versions is None:
            raise NotFound("the server could not find the requested resource")
        return {"kind": "APIGroup", "apiVersion": "v1", **_group(name, versions)}

    def resources(self, group: str, version: str) -> Obj:
        """``/apis/GROUP/VERSION`` and ``/api/v1``."""
        served = self._tree().get(group, {}).get(version)
        if served is None or not isinstance(served, list):
            raise NotFound("the server could not find the requested resource")
        return {
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": f"{group}/{version}" if group else version,
            "resources": [entry for one in served for entry in _resources(one)],
        }

    def aggregated(self, core: bool, version: str) -> Obj:
        """``/api`` and ``/apis`` in one document with everything below them."""
        items = [
            _group_discovery(name, versions)
            for name, versions in self._tree().items()
            if bool(name) != core
        ]
        return {
            "kind": "APIGroupDiscoveryList",
            "apiVersion": f"apidiscovery.k8s.io/{version}",
            "metadata": {},
            "items": items,
        }

    def _tree(self) -> _Groups:
        generation = (self._catalog.generation, self._delegates.generation)
        if self._generation != generation:
            self._generation = generation
            self._groups = _tree(self._catalog, self._delegates)
        return self._groups


def _tree(catalog: Iterable[Served], delegates: Delegates) -> _Groups:
    own: dict[str, dict[str, list[Served]]] = {}
    for served in catalog:
        resource = served.resource
        own.setdefault(resource.group, {}).setdefault(resource.version, []).append(served)
    groups: _Groups = {group: dict(versions) for group, versions in own.items()}
    for (group, version), delegate in delegates:
        groups.setdefault(group, {})[version] = delegate
    ordered = sorted(groups, key=_group_order)
    return {
        name: {version: groups[name][version] for version in sorted(groups[name], key=_age)}
        for name in ordered
    }


def _group_order(group: str) -> tuple[int, str]:
    known = group in _PREFERRED_ORDER
    return (_PREFERRED_ORDER.index(group) if known else len(_PREFERRED_ORDER), group)


def _age(version: str) -> tuple[int, int, int, str]:
    """Kubernetes' order of versions: v2 v1 v1beta2 v1beta1 v1alpha1, then the rest."""
    for rank, word in ((1, "beta"), (2, "alpha")):
        main, found, minor = version.partition(word)
        if found and main[1:].isdigit() and minor.isdigit():
            return rank, -int(main[1:]), -int(minor), version
    if version[1:].isdigit():
        return 0, -int(version[1:]), 0, version
    return 3, 0, 0, version


def _group(name: str, versions: Iterable[str]) -> Obj:
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def _resources(served: Served) -> Iterable[Obj]:
    resource = served.resource
    entry: Obj = {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(served.verbs),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    if served.verbs != ("create",):
        entry["storageVersionHash"] = _hash(served)
    yield entry
    for subresource in sorted(served.subresources):
        group, version, kind = _subresource_kind(served, subresource)
        below: Obj = {
            "name": f"{resource.plural}/{subresource}",
            "singularName": "",
            "namespaced": resource.namespaced,
            "kind": kind,
            "verbs": list(SUBRESOURCE_VERBS[subresource]),
        }
        if (group, version) != (resource.group, resource.version):
            below |= {"group": group, "version": version}
        yield below


def _subresource_kind(served: Served, subresource: str) -> tuple[str, str, str]:
    resource = served.resource
    own = (resource.group, resource.version, resource.kind)
    return _SUBRESOURCE_KINDS.get(subresource, own)


def _group_discovery(name: str, versions: _Versions) -> Obj:
    return {
        "metadata": {"name": name, "creationTimestamp": None},
        "versions": [
            _version_discovery(name, version, served) for version, served in versions.items()
        ],
    }


def _version_discovery(group: str, version: str, served: list[Served] | Delegate) -> Obj:
    if isinstance(served, list):
        resources = [_resource_discovery(one) for one in served]
        return {"version": version, "resources": resources, "freshness": "Current"}
    if served.stale:
        # Clients say that they do not know what is there, rather than that there is nothing.
        return {"version": version, "freshness": "Stale"}
    resources = list(_delegated(group, version, served.resources))
    return {"version": version, "resources": resources, "freshness": "Current"}


def _delegated(group: str, version: str, entries: Iterable[Obj]) -> Iterable[Obj]:
    """Entries of plain discovery as aggregated discovery has them."""
    below: dict[str, list[Obj]] = {}
    found: dict[str, Obj] = {}
    for entry in entries:
        name, _, subresource = entry["name"].partition("/")
        kind = _kind(
            entry.get("group") or group, entry.get("version") or version, entry.get("kind", "")
        )
        verbs = list(entry.get("verbs") or ())
        if subresource:
            part = {"subresource": subresource, "responseKind": kind, "verbs": verbs}
            below.setdefault(name, []).append(part)
        scope = "Namespaced" if entry.get("namespaced") else "Cluster"
        if subresource and name not in found:
            found[name] = {"resource": name, "scope": scope, "verbs": []}
        elif not subresource:
            found[name] = {
                "resource": name,
                "responseKind": kind,
                "scope": scope,
                "singularResource": entry.get("singularName", ""),
                "verbs": verbs,
                **{key: entry[key] for key in ("shortNames", "categories") if entry.get(key)},
            }
    for name, resource in found.items():
        if name in below:
            resource["subresources"] = below[name]
        yield resource


def _resource_discovery(served: Served) -> Obj:
    resource = served.resource
    entry: Obj = {
        "resource": resource.plural,
        "responseKind": _kind(resource.group, resource.version, resource.kind),
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": list(served.verbs),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    if served.subresources:
        entry["subresources"] = [
            {
                "subresource": subresource,
                "responseKind": _kind(*_subresource_kind(served, subresource)),
                "verbs": list(SUBRESOURCE_VERBS[subresource]),
            }
            for subresource in sorted(served.subresources)
        ]
    return entry


def _kind(group: str, version: str, kind: str) -> Obj:
    return {"group": group, "version": version, "kind": kind}


def _hash(served: Served) -> str:
    stored = served.stored
    text = f"{stored.group}/{stored.version}/{stored.kind}".encode()
    return base64.b64encode(hashlib.sha256(text).digest()[:8]).decode()

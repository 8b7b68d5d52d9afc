"""What extension API servers read to know whom they may believe.

Upstream publishes it as ``kube-system/extension-apiserver-authentication``; a role of that name
lets their accounts read it. Without it they do not start.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from kubeling.kube.objects import Obj
from kubeling.kube.resources import CONFIG_MAPS, ROLES, Resource

__all__ = ["FRONT_PROXY", "trust_objects"]

FRONT_PROXY: Final = "front-proxy-client"
"""The user in whose name this server passes requests on."""
_NAME: Final = "extension-apiserver-authentication"
_NAMESPACE: Final = "kube-system"


def trust_objects(clients: str, front_proxy: str) -> Iterator[tuple[Resource, Obj]]:
    """The objects; both arguments are certificates of authorities."""
    yield (
        CONFIG_MAPS,
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": _NAME, "namespace": _NAMESPACE},
            "data": {
                "client-ca-file": clients,
                "requestheader-client-ca-file": front_proxy,
                "requestheader-allowed-names": json.dumps([FRONT_PROXY]),
                "requestheader-username-headers": json.dumps(["X-Remote-User"]),
                "requestheader-uid-headers": json.dumps(["X-Remote-Uid"]),
                "requestheader-group-headers": json.dumps(["X-Remote-Group"]),
                "requestheader-extra-headers-prefix": json.dumps(["X-Remote-Extra-"]),
            },
        },
    )
    rule = {
        "apiGroups": [""],
        "resources": ["configmaps"],
        "resourceNames": [_NAME],
        "verbs": ["get", "list", "watch"],
    }
    yield (
        ROLES,
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": {
                "name": f"{_NAME}-reader",
                "namespace": _NAMESPACE,
                "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
            },
            "rules": [rule],
        },
    )

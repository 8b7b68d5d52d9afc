"""What a pod gets from its service account: a token to speak to the API with, and pull secrets.

The volume, its name and its place are those of Kubernetes' ServiceAccount admission, because every
client library looks there when it runs in a cluster.
"""

from __future__ import annotations

from typing import Final

from kubeling.apiserver.metadata import generated_name
from kubeling.kube.objects import Obj

__all__ = ["give_account"]

_PLACE: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
_SECONDS: Final = 3607


def give_account(pod: Obj, account: Obj) -> None:
    """Mounts the account's token into all containers, unless the pod or the account declines."""
    spec = pod["spec"]
    if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
        spec["imagePullSecrets"] = [dict(secret) for secret in account["imagePullSecrets"]]
    wanted = spec.get("automountServiceAccountToken")
    if wanted is None:
        wanted = account.get("automountServiceAccountToken", True)
    lists = (spec.get("initContainers"), spec.get("containers"))
    without = [c for containers in lists for c in containers or () if not _has_token(c)]
    if not wanted or not without:
        return
    name = generated_name("kube-api-access-")
    spec["volumes"] = [*(spec.get("volumes") or ()), _volume(name)]
    for container in without:
        mount = {"name": name, "readOnly": True, "mountPath": _PLACE}
        container["volumeMounts"] = [*(container.get("volumeMounts") or ()), mount]


def _has_token(container: Obj) -> bool:
    return any(m.get("mountPath") == _PLACE for m in container.get("volumeMounts") or ())


def _volume(name: str) -> Obj:
    authority = {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}
    reference = {"apiVersion": "v1", "fieldPath": "metadata.namespace"}
    sources = [
        {"serviceAccountToken": {"expirationSeconds": _SECONDS, "path": "token"}},
        {"configMap": authority},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": reference}]}},
    ]
    return {"name": name, "projected": {"defaultMode": 0o644, "sources": sources}}

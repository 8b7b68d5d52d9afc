"""Credentials for model storage, from secrets to a storage initializer's environment.

Two ways, both upstream's: secrets listed by the pod's service account, recognised by their keys and
annotations; and entries of the secret ``storage-config``, named by ``storage.key``. Values stay in
the secrets: pods refer to them, and nothing is copied.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from kubeling.kube.objects import Obj, name
from kubeling.serving.storage.uris import StorageNotFound

__all__ = ["STORAGE_CONFIG", "Access", "from_secrets", "from_storage_config"]

_GCLOUD: Final = "gcloud-application-credentials.json"
_GCLOUD_MOUNT: Final = "/var/secrets"
_ANNOTATION: Final = "serving.kserve.io/"
_OLD_ANNOTATION: Final = "serving.kubeflow.org/"
_KEYS: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
STORAGE_CONFIG: Final = "storage-config"


@dataclass(frozen=True, slots=True)
class Access:
    """Environment, volumes and mounts that let an initializer read a store."""

    env: Sequence[Obj] = ()
    volumes: Sequence[Obj] = ()
    mounts: Sequence[Obj] = field(default=())


def from_secrets(secrets: Sequence[Obj]) -> Access:
    """What the secrets of a service account give."""
    env: list[Obj] = []
    volumes: list[Obj] = []
    mounts: list[Obj] = []
    for secret in secrets:
        data = secret.get("data") or {}
        env += [_reference(key, name(secret), key) for key in _KEYS if key in data]
        if "AWS_ACCESS_KEY_ID" in data:
            env += _s3_settings(secret["metadata"].get("annotations") or {})
        if _GCLOUD in data:
            volumes.append({"name": "storage-credentials", "secret": {"secretName": name(secret)}})
            mounts.append(
                {"name": "storage-credentials", "mountPath": _GCLOUD_MOUNT, "readOnly": True}
            )
            path = f"{_GCLOUD_MOUNT}/{_GCLOUD}"
            env.append({"name": "GOOGLE_APPLICATION_CREDENTIALS", "value": path})
    return Access(env, volumes, mounts)


def from_storage_config(
    secret: Obj | None,
    key: str,
    parameters: Mapping[str, str],
    field: str = "spec.predictor.model.storage.key",
) -> Access:
    """What an entry of ``storage-config`` and ``storage.parameters`` give.

    A named key that is missing raises :class:`StorageNotFound`; a missing default does not.
    """
    entry = key or "default"
    env: list[Obj] = []
    if entry in ((secret or {}).get("data") or {}):
        env.append(_reference("STORAGE_CONFIG", STORAGE_CONFIG, entry))
    elif key:
        raise StorageNotFound(f'{field}: secret "{STORAGE_CONFIG}" has no key "{key}"')
    if parameters:
        text = json.dumps(dict(parameters), sort_keys=True)
        env.append({"name": "STORAGE_OVERRIDE_CONFIG", "value": text})
    return Access(env)


def _s3_settings(found: Mapping[str, str]) -> list[Obj]:
    def value(setting: str) -> str:
        return found.get(_ANNOTATION + setting) or found.get(_OLD_ANNOTATION + setting) or ""

    env: list[Obj] = []
    if endpoint := value("s3-endpoint"):
        if "://" not in endpoint:
            secure = value("s3-usehttps") not in ("0", "false")
            endpoint = f"{'https' if secure else 'http'}://{endpoint}"
        env.append({"name": "AWS_ENDPOINT_URL", "value": endpoint})
    if region := value("s3-region"):
        env.append({"name": "AWS_DEFAULT_REGION", "value": region})
    if value("s3-useanoncredential").lower() == "true":
        env.append({"name": "awsAnonymousCredential", "value": "true"})
    return env


def _reference(variable: str, secret: str, key: str) -> Obj:
    return {"name": variable, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}

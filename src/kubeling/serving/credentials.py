"""Credentials for model storage, from secrets to a storage initializer's environment.

Two ways, both upstream's: secrets listed by the pod's service account, recognised by their keys and
annotations; and entries of the secret ``storage-config``, named by ``storage.key``. Values stay in
the secrets: pods refer to them, and nothing is copied.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from kubeling.kube import objects
from kubeling.kube.objects import Obj, name
from kubeling.serving.s3_settings import AUTHORITY, ROLE, add_authority, s3_settings
from kubeling.serving.storage.uris import StorageNotFound

__all__ = [
    "SECRET_NAME",
    "STORAGE_CONFIG",
    "Access",
    "Conventions",
    "from_secrets",
    "from_storage_config",
]

_GCLOUD: Final = "gcloud-application-credentials.json"
_GCLOUD_MOUNT: Final = "/var/secrets"
_HDFS_MOUNT: Final = "/var/secrets/kserve-hdfscreds"
_DOCKER_MOUNT: Final = "/mnt/oci-fetch-auth"
_KEYS: Final[Mapping[str, Sequence[str]]] = {
    "AWS_ACCESS_KEY_ID": ("AWS_ACCESS_KEY_ID", "awsAccessKeyID"),
    "AWS_SECRET_ACCESS_KEY": ("AWS_SECRET_ACCESS_KEY", "awsSecretAccessKey"),
    "AWS_SESSION_TOKEN": ("AWS_SESSION_TOKEN",),
    "AZURE_SUBSCRIPTION_ID": ("AZURE_SUBSCRIPTION_ID", "AZ_SUBSCRIPTION_ID"),
    "AZURE_TENANT_ID": ("AZURE_TENANT_ID", "AZ_TENANT_ID"),
    "AZURE_CLIENT_ID": ("AZURE_CLIENT_ID", "AZ_CLIENT_ID"),
    "AZURE_CLIENT_SECRET": ("AZURE_CLIENT_SECRET", "AZ_CLIENT_SECRET"),
    "AZURE_STORAGE_ACCESS_KEY": ("AZURE_STORAGE_ACCESS_KEY",),
    "AZURE_ACCESS_TOKEN": ("AZURE_ACCESS_TOKEN",),
    "AZURE_ACCESS_EXPIRES_ON_SECONDS": ("AZURE_ACCESS_EXPIRES_ON_SECONDS",),
    "AZURE_ACCOUNT_NAME": ("AZURE_ACCOUNT_NAME",),
    "AZURE_SERVICE_URL": ("AZURE_SERVICE_URL",),
    "HF_TOKEN": ("HF_TOKEN",),
    "MODELSCOPE_API_TOKEN": ("MODELSCOPE_API_TOKEN",),
    "GIT_USERNAME": ("GIT_USERNAME",),
    "GIT_PASSWORD": ("GIT_PASSWORD",),
}
"""Variables of an initializer, and the keys of a secret that they are known by."""
STORAGE_CONFIG: Final = "storage-config"
SECRET_NAME: Final = "serving.kserve.io/storageSecretName"
"""The annotation of a service that names a secret instead of ``storage-config``."""
_STATED: Final = ("type", "bucket", "cabundle_configmap")
_KEY_FIELD: Final = "spec.predictor.model.storage.key"
_DOCKER_TYPE: Final = "kubernetes.io/dockerconfigjson"


@dataclass(frozen=True, slots=True)
class Access:
    """Environment, volumes and mounts that let an initializer read a store."""

    env: Sequence[Obj] = ()
    volumes: Sequence[Obj] = ()
    mounts: Sequence[Obj] = ()
    stated: Mapping[str, str] = field(default_factory=dict)
    """What an entry of ``storage-config`` says of the store itself: its type and bucket."""


@dataclass(frozen=True, slots=True)
class Conventions:
    """What an installation calls secrets and their keys, and how its S3 store is asked."""

    secret: str = STORAGE_CONFIG
    annotation: str = SECRET_NAME
    access_key: str = ""
    secret_key: str = ""
    google: str = _GCLOUD
    s3: Mapping[str, str] = field(default_factory=dict)
    """Variables that a secret of S3 need not say."""

    def keys(self, variable: str) -> Sequence[str]:
        """The keys that a variable is known by, the installation's own first."""
        own = {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key}
        return [key for key in (own.get(variable, ""), *_KEYS[variable]) if key]


def from_secrets(
    secrets: Sequence[Obj], account: Obj | None = None, conventions: Conventions | None = None
) -> Access:
    """What the secrets of a service ``account``, and those for pulling images, give.

    The account itself says where its store is, if its pods act as a role of AWS.

    Of two that give one variable the last holds, as in a pod; of two volumes the first is mounted.
    Both names once: what is applied may not have them twice.
    """
    said_by_all = conventions or Conventions()
    env: list[Obj] = []
    volumes: list[Obj] = []
    mounts: list[Obj] = []

    def mount(title: str, secret: Obj, place: str, **how: object) -> None:
        if any(found["name"] == title for found in volumes):
            return
        volumes.append({"name": title, "secret": {"secretName": name(secret), **how}})
        mounts.append({"name": title, "mountPath": place, "readOnly": True})

    if account is not None and ROLE in (said := objects.annotations(account)):
        env += s3_settings(said, {}, said_by_all.s3)
    for secret in secrets:
        data = secret.get("data") or {}
        for variable in _KEYS:
            keys = said_by_all.keys(variable)
            env += [_reference(variable, name(secret), key) for key in keys if key in data][:1]
        if any(key in data for key in said_by_all.keys("AWS_ACCESS_KEY_ID")):
            env += s3_settings(objects.annotations(secret), data, said_by_all.s3)
        if said_by_all.google in data:
            mount("storage-credentials", secret, _GCLOUD_MOUNT)
            path = f"{_GCLOUD_MOUNT}/{said_by_all.google}"
            env.append({"name": "GOOGLE_APPLICATION_CREDENTIALS", "value": path})
        if "HDFS_NAMENODE" in data:
            mount("hdfs-secrets", secret, _HDFS_MOUNT)
        if "https-host" in data and "headers" in data:
            # It is looked up by the address's host: without a port, in lower case.
            given = base64.b64decode(data["https-host"]).decode().strip()
            host = given.partition(":")[0].lower()
            env.append(_reference(f"{host}-headers", name(secret), "headers"))
        if secret.get("type") == _DOCKER_TYPE:
            items = [{"key": ".dockerconfigjson", "path": "config.json"}]
            mount("oci-fetch-auth", secret, _DOCKER_MOUNT, items=items)
            config = f"{_DOCKER_MOUNT}/config.json"
            env.append({"name": "KSERVE_OCI_DOCKER_CONFIG", "value": config})
    env = [*{variable["name"]: variable for variable in env}.values()]
    add_authority(env, volumes, mounts)
    return Access(env, volumes, mounts)


def storage_entry(
    secret: Obj | None,
    key: str,
    kind: str,
    field: str = _KEY_FIELD,
    title: str = STORAGE_CONFIG,
) -> str:
    """The key of the entry of the secret ``title`` that is used, or nothing.

    A named key that is missing raises :class:`StorageNotFound`; a missing default does not.
    """
    entry = key or (f"default_{kind}" if kind else "default")
    if entry in ((secret or {}).get("data") or {}):
        return entry
    if key:
        lacks = "is not there" if secret is None else f'has no key "{key}"'
        raise StorageNotFound(f'{field}: secret "{title}" {lacks}')
    return ""


def stated(secret: Obj | None, entry: str, parameters: Mapping[str, str]) -> dict[str, str]:
    """An entry's fields under ``storage.parameters``; secrets stay where they are."""
    found: Any = {}
    if secret is not None and entry:
        try:
            found = json.loads(base64.b64decode(secret["data"][entry]))
        except ValueError as error:
            raise StorageNotFound(
                f'key "{entry}" of the secret "{name(secret)}" is not valid JSON: {error}'
            ) from None
    if not isinstance(found, dict):
        raise StorageNotFound(f'key "{entry}" of the secret "{name(secret or {})}" is no object')
    return {key: str(found[key]) for key in _STATED if key in found} | dict(parameters)


def from_storage_config(
    secret: Obj | None,
    key: str,
    parameters: Mapping[str, str],
    field: str = _KEY_FIELD,
    title: str = STORAGE_CONFIG,
) -> Access:
    """What an entry of the secret ``title`` and ``storage.parameters`` give."""
    env: list[Obj] = []
    entry = storage_entry(secret, key, parameters.get("type", ""), field, title)
    if entry:
        env.append(_reference("STORAGE_CONFIG", title, entry))
    if parameters:
        text = json.dumps(dict(parameters), sort_keys=True)
        env.append({"name": "STORAGE_OVERRIDE_CONFIG", "value": text})
    volumes: list[Obj] = []
    mounts: list[Obj] = []
    found = stated(secret, entry, parameters)
    if authority := found.get("cabundle_configmap"):
        env.append({"name": AUTHORITY, "value": authority})
        add_authority(env, volumes, mounts)
    return Access(env, volumes, mounts, found)


def _reference(variable: str, secret: str, key: str) -> Obj:
    return {"name": variable, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}

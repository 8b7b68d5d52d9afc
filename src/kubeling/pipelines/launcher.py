"""The ConfigMap ``kfp-launcher``: a namespace's pipeline root, and how to reach its stores. Pure.

Upstream: ``backend/src/v2/config``. A step sees an artifact of a store below a folder that the SDK
derives from its address: ``s3://bucket/key`` is ``/s3/bucket/key``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from kubeling.artifacts.locations import GCS, S3, Location, Secret
from kubeling.artifacts.patience import PATIENCE
from kubeling.kube import yaml
from kubeling.kube.objects import Obj

__all__ = ["CONFIG_MAP", "MOUNTED", "Launcher", "LauncherError", "is_stored", "launcher"]

CONFIG_MAP: Final = "kfp-launcher"
MOUNTED: Final = {"gs": "gcs", "minio": "minio", "s3": "s3"}
"""The schemes of stores that steps can use, with the folders that the SDK looks into."""

_MINIO: Final[Obj] = {
    "endpoint": "minio-service.kubeflow:9000",
    "region": "minio",
    "disableSSL": True,
    "credentials": {
        "secretRef": {
            "secretName": "mlpipeline-minio-artifact",
            "accessKeyKey": "accesskey",
            "secretKeyKey": "secretkey",
        }
    },
}


class LauncherError(ValueError):
    """A store cannot be reached as it is described; the message says what to write where."""


@dataclass(frozen=True, slots=True)
class Launcher:
    """What a namespace says about its stores."""

    default_root: str = ""
    providers: Mapping[str, Any] = field(default_factory=dict)
    patience: float = PATIENCE
    """Seconds for which a store may be away."""

    def location(self, uri: str, env: list[Obj], own_env: list[Obj]) -> Location:
        """Where an artifact lies; its secrets, or the step's own, are added to ``env``."""
        scheme, _, rest = uri.partition("://")
        bucket, _, key = rest.partition("/")
        if not bucket or not key or "?" in key:
            raise LauncherError(
                f'"{uri}": write {scheme}://BUCKET/PATH; what else a store needs goes into the '
                f"ConfigMap {CONFIG_MAP}"
            )
        settings = self._settings(scheme, bucket, key)
        credentials = settings.get("credentials") or {}
        if credentials.get("fromEnv"):
            _add(env, own_env)
        secrets = {} if credentials.get("fromEnv") else credentials.get("secretRef") or {}
        from_env = bool(credentials.get("fromEnv"))
        if scheme == "gs":
            account = _secret(env, secrets, "tokenKey")
            return GCS(
                bucket=bucket,
                key=key,
                endpoint=settings.get("endpoint") or "",
                service_account_key_secret=account,
                use_sdk_creds=from_env,
            )
        return S3(
            bucket=bucket,
            key=key,
            endpoint=settings.get("endpoint") or "",
            region=settings.get("region") or "",
            insecure=bool(settings.get("disableSSL")),
            addressing_style="virtual-hosted" if settings.get("forcePathStyle") is False else "",
            access_key_secret=_secret(env, secrets, "accessKeyKey"),
            secret_key_secret=_secret(env, secrets, "secretKeyKey"),
            use_sdk_creds=from_env,
        )

    def _settings(self, scheme: str, bucket: str, key: str) -> Obj:
        provider = self.providers.get(scheme) or {}
        found: Obj = dict(provider.get("default") or (_MINIO if scheme == "minio" else {}))
        for override in provider.get("overrides") or provider.get("Overrides") or ():
            prefix = str(override.get("keyPrefix") or "")
            if override.get("bucketName") == bucket and key.startswith(prefix):
                found |= {name: value for name, value in override.items() if value is not None}
                break
        return found


def is_stored(uri: str) -> bool:
    """Whether an address names something in a store that steps can use."""
    scheme, separator, _ = uri.partition("://")
    return bool(separator) and scheme in MOUNTED


def launcher(config_map: Obj | None) -> Launcher:
    """What a namespace's ConfigMap says; raises :class:`LauncherError`."""
    data = (config_map or {}).get("data") or {}
    try:
        providers = yaml.load(data.get("providers") or "{}")
        checked = msgspec.convert(providers or {}, dict[str, dict[str, Any] | None])
    except ValueError as error:
        raise LauncherError(f"ConfigMap {CONFIG_MAP}: providers: {error}") from None
    return Launcher(data.get("defaultPipelineRoot") or "", checked)


def _secret(env: list[Obj], reference: Mapping[str, str], field_name: str) -> Secret | None:
    if not reference.get("secretName") or not reference.get(field_name):
        return None
    source = {"name": reference["secretName"], "key": reference[field_name]}
    for known in env:
        if (known.get("valueFrom") or {}).get("secretKeyRef") == source:
            return Secret(env=known["name"])
    name = f"KUBELING_SECRET_{len(env)}"
    env.append({"name": name, "valueFrom": {"secretKeyRef": source}})
    return Secret(env=name)


def _add(env: list[Obj], own_env: list[Obj]) -> None:
    """The step's own variables for a store's SDK."""
    known = {variable["name"] for variable in env}
    env += [
        variable
        for variable in own_env
        if variable["name"].startswith(("AWS_", "GOOGLE_")) and variable["name"] not in known
    ]

"""What says how an S3 store is asked: annotations of a secret or an account, or a secret's keys.

Source: ``BuildS3EnvVars`` of kserve. An annotation wins over a key; an endpoint with a scheme says
itself whether it is HTTPS. A ConfigMap with the store's certificate authority is mounted.
"""

from __future__ import annotations

import base64
import posixpath
from collections.abc import Mapping
from typing import Final

from kubeling.kube.objects import Obj

__all__ = ["AUTHORITY", "ROLE", "add_authority", "s3_settings"]

ROLE: Final = "eks.amazonaws.com/role-arn"
"""On an account: its pods act as a role of AWS, whose keys come by themselves."""
AUTHORITY: Final = "AWS_CA_BUNDLE_CONFIGMAP"
_GROUPS: Final = ("serving.kserve.io/", "serving.kubeflow.org/")
_ENDPOINT: Final = ("s3-endpoint", "S3_ENDPOINT")
_HTTPS: Final = ("s3-usehttps", "S3_USE_HTTPS")
_SETTINGS: Final = (
    ("s3-region", "AWS_DEFAULT_REGION"),
    ("s3-verifyssl", "S3_VERIFY_SSL"),
    ("s3-usevirtualbucket", "S3_USER_VIRTUAL_BUCKET"),
    ("s3-useaccelerate", "S3_USE_ACCELERATE"),
    ("s3-useanoncredential", "awsAnonymousCredential"),
    ("s3-cabundle", "AWS_CA_BUNDLE"),
    ("s3-cabundle-configmap", AUTHORITY),
)
"""Annotations, and the variables that they become; a secret's keys are called as these."""
_SCHEMES: Final[Mapping[str, str]] = {"https": "1", "http": "0"}
_PLACE: Final = "/etc/ssl/custom-certs"
_FILE: Final = "cabundle.crt"
_VOLUME: Final = "cabundle-cert"


def s3_settings(
    annotations: Mapping[str, str], data: Mapping[str, str], usual: Mapping[str, str]
) -> list[Obj]:
    """The variables that an initializer finds its store by; ``usual`` ones where none is said."""

    def value(setting: tuple[str, str]) -> str:
        title, key = setting
        found = next((annotations[g + title] for g in _GROUPS if annotations.get(g + title)), "")
        # A file that became a secret ends with a line feed.
        kept = base64.b64decode(data.get(key) or "").decode(errors="replace").strip()
        return found or kept or usual.get(key, "")

    env: dict[str, str] = {}
    if endpoint := value(_ENDPOINT).strip():
        scheme, divider, host = endpoint.partition("://")
        secure = _SCHEMES.get(scheme.lower(), "") if divider else value(_HTTPS)
        if not divider:
            plain = secure.lower() in ("0", "false")
            endpoint, host = f"{'http' if plain else 'https'}://{endpoint}", endpoint
        env |= {"S3_USE_HTTPS": secure} if secure else {}
        env |= {"S3_ENDPOINT": host, "AWS_ENDPOINT_URL": endpoint}
    for setting in _SETTINGS:
        if given := value(setting):
            env[setting[1]] = given
    return [{"name": title, "value": text} for title, text in env.items()]


def add_authority(env: list[Obj], volumes: list[Obj], mounts: list[Obj]) -> None:
    """Mounts the ConfigMap that one of the variables names, and says where its file is."""
    said = {variable["name"]: variable.get("value") for variable in env}
    if not (title := said.get(AUTHORITY)):
        return
    file = said.get("AWS_CA_BUNDLE") or f"{_PLACE}/{_FILE}"
    place = posixpath.dirname(file)
    volumes.append({"name": _VOLUME, "configMap": {"name": title}})
    mounts.append({"name": _VOLUME, "mountPath": place, "readOnly": True})
    for variable, text in (
        ("AWS_CA_BUNDLE", file),
        ("CA_BUNDLE_CONFIGMAP_NAME", title),
        ("CA_BUNDLE_VOLUME_MOUNT_POINT", place),
    ):
        if variable not in said:
            env.append({"name": variable, "value": text})

"""Artifacts of a step that lie elsewhere: what the containers beside it are told about them.

Only a step with such artifacts gets the containers (:mod:`kubeling.artifacts.movers`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from kubeling.artifacts.locations import Location
from kubeling.artifacts.movers import EXCHANGE_PATH, EXCHANGE_VOLUME, LOADER, mover
from kubeling.artifacts.plan import Packing, Transfer
from kubeling.kube.objects import Obj
from kubeling.workflows.places import InvalidPlace
from kubeling.workflows.resources import Artifact

__all__ = ["LOADER", "add_exchange", "moving", "packing_of", "transfer"]


def add_exchange(
    pod_spec: Obj, mounts: list[Obj], loaded: list[Artifact], kept: list[Artifact]
) -> None:
    """Adds the containers and the folder they share with the step, whose ``mounts`` these are."""
    pod_spec.setdefault("volumes", []).append({"name": EXCHANGE_VOLUME, "emptyDir": {}})
    mount = {"name": EXCHANGE_VOLUME, "mountPath": EXCHANGE_PATH}
    mounts.append(mount)
    movers = [
        moving(action, artifacts, mount)
        for action, artifacts in (("load", loaded), ("keep", kept))
        if artifacts
    ]
    pod_spec["initContainers"] = [*movers, *(pod_spec.get("initContainers") or ())]


def moving(action: str, artifacts: list[Artifact], mount: Obj | None = None) -> Obj:
    """A container that loads, keeps or deletes artifacts; raises :class:`InvalidPlace`."""
    env: list[Obj] = []
    content = [transfer(artifact, env, outgoing=action == "keep") for artifact in artifacts]
    return mover(action, content, env, [mount] if mount else ())


def transfer(artifact: Artifact, env: list[Obj], *, outgoing: bool) -> Transfer:
    """What a mover has to know; its secrets are added to ``env``."""
    kind, content = next(
        (kind, value)
        for kind in ("s3", "gcs", "azure", "oss", "git", "http", "artifactory")
        if (value := getattr(artifact, kind)) is not None
    )
    packing, level = packing_of(artifact.archive, outgoing=outgoing)
    known = _with_variables({**content, **_encryption(content), "kind": kind}, env)
    try:
        location = msgspec.convert(known, Location, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidPlace(f"artifact {artifact.name}: {kind}: {error}") from None
    return Transfer(
        name=artifact.name,
        location=location,
        packing=packing,
        level=level,
        optional=bool(artifact.optional),
    )


def packing_of(archive: Obj | None, *, outgoing: bool) -> tuple[Packing, int | None]:
    """How an artifact is, or is to be, packed, and gzip's level."""
    archive = archive or {}
    if "none" in archive:
        return "none", None
    if "zip" in archive:
        return "zip", None
    if "tar" in archive:
        level = (archive["tar"] or {}).get("compressionLevel")
        return "tar", None if level is None else int(level)
    return ("tar", None) if outgoing else ("auto", None)


def _encryption(content: Mapping[str, Any]) -> Obj:
    options = content.get("encryptionOptions") or {}
    if options.get("kmsKeyId"):
        return {"kmsKeyId": options["kmsKeyId"]}
    return {"encrypted": True} if options.get("enableEncryption") else {}


def _with_variables(content: Any, env: list[Obj]) -> Any:
    """References to secrets as names of variables, which are added to ``env``."""
    if isinstance(content, list):
        return [_with_variables(part, env) for part in content]
    if not isinstance(content, dict):
        return content
    found: Obj = {}
    for key, value in content.items():
        if key.endswith("Secret") and isinstance(value, dict) and "key" in value:
            name = f"KUBELING_SECRET_{len(env)}"
            env.append({"name": name, "valueFrom": {"secretKeyRef": value}})
            found[key] = {"env": name}
        elif value is not None:
            found[key] = _with_variables(value, env)
    return found

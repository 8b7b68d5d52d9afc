"""Keeps a reference profile where the model is: beside its files, or with it in the Model Registry.

    from kubeling.serving.drift.keeping import keep

    keep(training_rows, "/models/iris", names=["a", "b"], predictions=model.predict(rows))
    keep(training_rows, "model-registry://iris/v2")

A folder gets a file that the model server finds there; in the registry the profile is a property of
the version's artifact, so that it goes where the model's address goes.
"""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from kubeling.artifacts import web
from kubeling.artifacts.errors import ArtifactError
from kubeling.serving.drift.profile import PROFILE_FILE, Profile, profile_of
from kubeling.serving.storage.registry import artifact_of, base_url
from kubeling.serving.storage.uris import parse_uri

__all__ = ["keep", "keep_profile", "profile_in_registry"]

_PROPERTY: Final = "reference_profile"
_REGISTRY: Final = "model-registry://"


def keep(
    data: Any, where: str | Path, *, names: Sequence[str] = (), predictions: Any = None
) -> Profile:
    """Makes the profile of training data, a table or a data frame, and keeps it."""
    titles = list(names) or [str(title) for title in getattr(data, "columns", ())]
    answers = None if predictions is None else np.asarray(predictions)
    profile = profile_of(np.asarray(data), titles, answers)
    keep_profile(profile, str(where))
    return profile


def keep_profile(profile: Profile, where: str, env: Mapping[str, str] = os.environ) -> None:
    """Keeps a profile in a folder, a file ``*.json``, or at ``model-registry://MODEL/VERSION``."""
    if where.startswith(_REGISTRY):
        _register(profile, where, env)
        return
    path = Path(where)
    if path.suffix != ".json":
        path = path / PROFILE_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(profile)) + b"\n")


def profile_in_registry(where: str, env: Mapping[str, str]) -> Profile | None:
    """The profile of a registered version, if it was kept; raises :class:`ArtifactError`."""
    properties = artifact_of(parse_uri(where), env).get("customProperties") or {}
    text = (properties.get(_PROPERTY) or {}).get("string_value")
    try:
        return msgspec.json.decode(text, type=Profile) if text else None
    except msgspec.MsgspecError as error:
        raise ArtifactError(f"the property {_PROPERTY} of {where} is no profile: {error}") from None


def _register(profile: Profile, where: str, env: Mapping[str, str]) -> None:
    artifact = artifact_of(parse_uri(where), env)
    text = msgspec.json.encode(profile).decode()
    value = {"string_value": text, "metadataType": "MetadataStringValue"}
    properties = {**(artifact.get("customProperties") or {}), _PROPERTY: value}
    request = urllib.request.Request(
        f"{base_url(env)}/model_artifacts/{artifact['id']}",
        data=msgspec.json.encode(
            {"artifactType": "model-artifact", "customProperties": properties}
        ),
        headers={"Content-Type": "application/json"},
        method="PATCH",
    )
    try:
        web.fetch(request).close()
    except web.HttpStatus as error:
        raise ArtifactError(
            f"the Model Registry answered HTTP {error.status}: {error.body[:200].decode()}"
        ) from None

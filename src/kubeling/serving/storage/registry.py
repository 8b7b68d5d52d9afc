"""``model-registry://model/version``: where the Model Registry says the model's files are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

from kubeling.artifacts import web
from kubeling.artifacts.errors import ArtifactError
from kubeling.serving.storage.uris import ModelUri

__all__ = ["artifact_of", "base_url", "resolve"]

_API: Final = "/api/model_registry/v1alpha3"
_DEFAULT: Final = "http://model-registry-service.kubeflow.svc.cluster.local:8080"


def base_url(env: Mapping[str, str]) -> str:
    """Where the registry's REST API is."""
    return env.get("MODEL_REGISTRY_BASE_URL", _DEFAULT).rstrip("/") + _API


def resolve(uri: ModelUri, env: Mapping[str, str]) -> str:
    """The address of a version's artifact; without a version, of the newest one."""
    return str(artifact_of(uri, env)["uri"])


def artifact_of(uri: ModelUri, env: Mapping[str, str]) -> dict[str, Any]:
    """The artifact of a version that has an address; without a version, of the newest one."""
    base = base_url(env)
    version_name = uri.path.strip("/")
    model = _find(base, "registered_model", name=uri.root)
    if model is None:
        raise ArtifactError(f'the Model Registry has no model "{uri.root}"; register it first')
    version = _version(base, model["id"], version_name)
    if version is None:
        wanted = f'version "{version_name}"' if version_name else "version"
        raise ArtifactError(f'model "{uri.root}" has no {wanted} in the Model Registry')
    artifacts = _get(f"{base}/model_versions/{version['id']}/artifacts").get("items") or []
    found = next((item for item in artifacts if item.get("uri")), None)
    if found is None:
        raise ArtifactError(
            f'version "{version["name"]}" of model "{uri.root}" has no artifact with a uri'
        )
    return dict(found)


def _version(base: str, model_id: str, wanted: str) -> dict[str, Any] | None:
    if wanted:
        return _find(base, "model_version", name=wanted, parentResourceId=model_id)
    query = urlencode({"orderBy": "CREATE_TIME", "sortOrder": "DESC", "pageSize": 1})
    found = _get(f"{base}/registered_models/{model_id}/versions?{query}").get("items") or []
    return found[0] if found else None


def _find(base: str, kind: str, **query: str) -> dict[str, Any] | None:
    try:
        return _get(f"{base}/{kind}?{urlencode(query)}")
    except web.HttpStatus as error:
        if error.status == 404:
            return None
        raise ArtifactError(f"the Model Registry answered HTTP {error.status}") from None


def _get(url: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(web.get(url).body)
    return found

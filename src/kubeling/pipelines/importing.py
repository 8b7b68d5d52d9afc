"""Importers: artifacts that exist already and become part of the lineage. No pod runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from msgspec import UNSET

from kubeling.artifacts.store import local_path
from kubeling.pipelines.bindings import BindingError
from kubeling.pipelines.ir_executors import ImporterSpec
from kubeling.pipelines.nodes import ArtifactRef, TaskNode, artifact_id
from kubeling.pipelines.placeholders import PlaceholderScope, resolve
from kubeling.pipelines.values import normalize, to_text
from kubeling.pipelines.workspace import IN_WORKSPACE

if TYPE_CHECKING:
    from kubeling.pipelines.run_facts import RunFacts

__all__ = ["imported_artifact"]


def imported_artifact(
    importer: ImporterSpec, node: TaskNode, facts: RunFacts, identify: Callable[[str], str]
) -> ArtifactRef:
    """The artifact; without ``reimport`` the same address is the same artifact in every run."""
    scope = PlaceholderScope(
        {"inputs": {"parameterValues": node.inputs.parameters}}, facts.job(node)
    )
    uri = _uri(importer, node, scope)
    metadata = {key: _resolved(value, scope) for key, value in importer.metadata.items()}
    if importer.download_to_workspace:
        if not facts.has_workspace:
            raise BindingError("importer: downloadToWorkspace: the pipeline has no workspace")
        metadata[IN_WORKSPACE] = True
    kind = importer.type_schema.schema_title or "system.Artifact"
    identity = ["imported", facts.namespace, kind, uri, to_text(metadata)]
    if importer.reimport:
        identity += [facts.run_id, node.path]
    return ArtifactRef(
        artifact_id(*identity),
        "artifact",
        kind,
        uri,
        metadata,
        schema_version=importer.type_schema.schema_version or "0.0.1",
        digest=identify(uri),
    )


def _uri(importer: ImporterSpec, node: TaskNode, scope: PlaceholderScope) -> str:
    source = importer.artifact_uri
    value: Any = normalize(source.constant) if source.constant is not UNSET else None
    if source.runtime_parameter:
        value = node.inputs.parameters.get(source.runtime_parameter)
    elif value is None and source.constant_value:
        value = source.constant_value.get("stringValue")
    if not isinstance(value, str) or not value:
        raise BindingError("importer: artifactUri is empty; give the address of the artifact")
    uri = resolve(value, scope)
    path = local_path(uri)
    return str(path) if path is not None else uri


def _resolved(value: Any, scope: PlaceholderScope) -> Any:
    """Metadata with placeholders replaced; one that is all of a value keeps the value's type."""
    if isinstance(value, dict):
        return {resolve(str(k), scope): _resolved(v, scope) for k, v in value.items()}
    if isinstance(value, list):
        return [_resolved(item, scope) for item in value]
    if isinstance(value, str):
        for name, given in scope.parameters.items():
            if value == f"{{{{$.inputs.parameters['{name}']}}}}":
                return normalize(given)
        return resolve(value, scope)
    return normalize(value)

"""What a step is told, and where it leaves what it made: the SDK's ExecutorInput and its answer.

Every attempt has a folder of its own in the artifact store: artifacts under their names, output
parameters under ``.parameters``, and ``executor_output.json``, whose entries win over the files.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from kubeling.artifacts.store import ArtifactError, ArtifactNotFound, ArtifactStore
from kubeling.kube.objects import Obj
from kubeling.pipelines.ir import ComponentSpec
from kubeling.pipelines.mirror import as_steps_see
from kubeling.pipelines.nodes import ArtifactRef, Inputs, Outputs, TaskNode, artifact_id
from kubeling.pipelines.values import ValueMismatch, coerce, from_text

__all__ = ["OutputsError", "attempt_folder", "executor_input", "output_folders", "read_outputs"]

_OUTPUT_FILE: Final = "executor_output.json"
_PARAMETERS: Final = ".parameters"


class OutputsError(ValueError):
    """A step did not leave what it declares; the message names it."""


def attempt_folder(run_folder: str, node: TaskNode) -> str:
    """Where one attempt at a task keeps its outputs."""
    number = f"{node.epoch}.{node.attempt}" if node.epoch else str(node.attempt)
    return f"{run_folder}/{node.path}/{number}"


def output_folders(folder: str) -> list[str]:
    """The folders that have to be there before the step starts."""
    return [folder, f"{folder}/{_PARAMETERS}"]


def executor_input(
    component: ComponentSpec,
    inputs: Inputs,
    folder: str,
    artifact_folder: str,
    volume_folder: str,
) -> Obj:
    """The ExecutorInput message in JSON; inputs that were not given are left out.

    Artifacts go below ``artifact_folder``, which may be the address of a store, the rest below
    ``folder``. Copies of what lies on the web are below ``volume_folder``.
    """
    outputs = component.output_definitions
    given = {k: v for k, v in inputs.parameters.items() if v is not None}
    message: Obj = {
        "inputs": {
            "parameterValues": given,
            "artifacts": {
                name: {"artifacts": [_runtime_artifact(one, volume_folder) for one in artifacts]}
                for name, artifacts in inputs.artifacts.items()
            },
        },
        "outputs": {
            "parameters": {
                name: {"outputFile": f"{folder}/{_PARAMETERS}/{name}"}
                for name in outputs.parameters
            },
            "artifacts": {
                name: {
                    "artifacts": [
                        {
                            "name": name,
                            "type": {
                                "schemaTitle": declared.artifact_type.schema_title,
                                "schemaVersion": declared.artifact_type.schema_version,
                            },
                            "uri": f"{artifact_folder}/{name}",
                            "metadata": dict(declared.metadata),
                        }
                    ]
                }
                for name, declared in outputs.artifacts.items()
            },
            "outputFile": f"{folder}/{_OUTPUT_FILE}",
        },
    }
    return message


def read_outputs(
    store: ArtifactStore,
    component: ComponentSpec,
    folder: str,
    artifact_folder: str,
    identity: Iterable[str],
) -> Outputs:
    """What a step left (blocking); raises :class:`OutputsError`."""
    answer = _answer(store, f"{folder}/{_OUTPUT_FILE}")
    parameters: dict[str, Any] = {}
    for name, declared in component.output_definitions.parameters.items():
        values = answer.get("parameterValues") or {}
        try:
            if name in values:
                parameters[name] = coerce(values[name], declared.kind)
            else:
                text = store.read(f"{folder}/{_PARAMETERS}/{name}").decode(errors="replace")
                parameters[name] = from_text(text, declared.kind)
        except ArtifactNotFound:
            raise OutputsError(
                f'the step ended without writing its output parameter "{name}"'
            ) from None
        except (ValueMismatch, ArtifactError) as error:
            raise OutputsError(f'output parameter "{name}": {error}') from None
    artifacts: dict[str, list[ArtifactRef]] = {}
    for name, output in component.output_definitions.artifacts.items():
        told = ((answer.get("artifacts") or {}).get(name) or {}).get("artifacts") or [{}]
        artifacts[name] = [
            _artifact(
                store,
                name,
                output.artifact_type,
                told_one,
                artifact_folder,
                (*identity, name, place),
            )
            for place, told_one in enumerate(told)
        ]
    return Outputs(parameters, artifacts)


def _artifact(
    store: ArtifactStore,
    name: str,
    kind: Any,
    told: Obj,
    folder: str,
    identity: tuple[str | int, ...],
) -> ArtifactRef:
    uri = str(told.get("uri") or f"{folder}/{name}")
    return ArtifactRef(
        artifact_id(*identity),
        str(told.get("name") or name),
        kind.schema_title or "system.Artifact",
        uri,
        told.get("metadata") or {},
        kind.schema_version or "0.0.1",
        _digest(store, uri),
    )


def _digest(store: ArtifactStore, uri: str) -> str:
    """What the artifact holds; empty where it is elsewhere or the step wrote no file for it."""
    try:
        return store.digest(uri)
    except ArtifactError:
        return ""


def _answer(store: ArtifactStore, uri: str) -> Obj:
    try:
        data = store.read(uri)
    except ArtifactNotFound:
        return {}
    except ArtifactError as error:
        raise OutputsError(str(error)) from None
    try:
        answer: Obj = msgspec.json.decode(data, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise OutputsError(f"{_OUTPUT_FILE}: {error}") from None
    return answer


def _runtime_artifact(artifact: ArtifactRef, volume_folder: str) -> Obj:
    return {
        "name": artifact.name,
        "type": {"schemaTitle": artifact.type, "schemaVersion": artifact.schema_version},
        "uri": as_steps_see(artifact.uri, volume_folder),
        "metadata": artifact.metadata,
    }

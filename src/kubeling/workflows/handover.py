"""What a step hands over: inputs into its container, outputs out of it, and where they lie."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Final

from msgspec import to_builtins
from msgspec.json import encode

from kubeling.kube.objects import Obj
from kubeling.workflows.containers import PodError
from kubeling.workflows.places import (
    InvalidPlace,
    Repository,
    is_elsewhere,
    store_key,
    with_place,
)
from kubeling.workflows.resources import Artifact, Node, Template
from kubeling.workflows.wrapper import (
    InputFile,
    OutputArtifact,
    OutputParameter,
    StagedArtifact,
    WrapPlan,
)

__all__ = ["Moved", "Store", "handover", "moved_artifacts", "reports_progress"]

_STORE_VOLUME: Final = "kubeling-artifacts"


@dataclass(frozen=True, slots=True)
class Store:
    """The artifact store as pods see it: a folder of the node, empty where there is none."""

    folder: str

    def volume(self, namespace: str) -> Obj:
        """The volume with the namespace's artifacts."""
        if not self.folder:
            raise PodError(
                "this step hands over parameters, artifacts or its result, which needs an artifact "
                "store that is a folder; set the artifact root to a file:// address"
            )
        path = str(PurePosixPath(self.folder) / namespace)
        source = {"path": path, "type": "DirectoryOrCreate"}
        return {"name": _STORE_VOLUME, "hostPath": source}


@dataclass(slots=True)
class Moved:
    """A step's artifacts by what has to be done with them."""

    staged: list[StagedArtifact] = field(default_factory=list)
    files: list[InputFile] = field(default_factory=list)
    stored: list[OutputArtifact] = field(default_factory=list)
    loaded: list[Artifact] = field(default_factory=list)
    kept: list[Artifact] = field(default_factory=list)


def moved_artifacts(node: Node, template: Template, repository: Repository) -> Moved:
    """Sorts them; raises :class:`~.containers.PodError` where a place makes no sense."""
    moved = Moved()
    try:
        _sort(node, template, repository, moved)
    except InvalidPlace as problem:
        raise PodError(str(problem)) from None
    return moved


def _sort(node: Node, template: Template, repository: Repository, moved: Moved) -> None:
    for artifact in node.inputs.artifacts if node.inputs else ():
        _sort_input(artifact, repository, moved)
    for artifact in template.outputs.artifacts if template.outputs else ():
        place = repository.located(to_builtins(artifact)) or {}
        if is_elsewhere(place):
            moved.kept.append(with_place(artifact, place))
            moved.stored.append(OutputArtifact(artifact.name, artifact.path))
        else:
            key = store_key(place) or ""
            moved.stored.append(OutputArtifact(artifact.name, artifact.path, key))


def _sort_input(artifact: Artifact, repository: Repository, moved: Moved) -> None:
    place = repository.located(to_builtins(artifact))
    if place is None:
        return
    if artifact.raw is not None:
        text = str(artifact.raw.get("data", ""))
        moved.files.append(InputFile(artifact.path, text, artifact.mode))
    elif is_elsewhere(place):
        moved.loaded.append(with_place(artifact, place))
        moved.staged.append(_staged(artifact.name, artifact, loaded=True))
    elif key := store_key(place):
        moved.staged.append(_staged(key, artifact))


def _staged(key: str, artifact: Artifact, *, loaded: bool = False) -> StagedArtifact:
    return StagedArtifact(
        key,
        artifact.path,
        optional=bool(artifact.optional),
        mode=artifact.mode,
        recurse=bool(artifact.recurse_mode),
        loaded=loaded,
    )


def reports_progress(raw: Obj) -> bool:
    """Whether a step says how far it is, in the file that ``$ARGO_PROGRESS_FILE`` names."""
    return b"ARGO_PROGRESS_FILE" in encode(raw)


def handover(
    raw: Obj, template: Template, moved: Moved, pod: str, workflow: str, *, capture_result: bool
) -> WrapPlan:
    """What has to happen around the main container's command."""
    outputs = template.outputs
    spill = f"{workflow}/{pod}/outputs"
    parameters = [
        OutputParameter(p.name, p.value_from.path, f"{spill}/{p.name}")
        for p in (outputs.parameters if outputs else ())
        if p.value_from is not None and p.value_from.path
    ]
    return WrapPlan(
        artifacts_in=tuple(moved.staged),
        files_in=tuple(moved.files),
        parameters=tuple(parameters),
        artifacts=tuple(moved.stored),
        result=f"{spill}/result" if capture_result else "",
        source=(raw.get("script") or {}).get("source") or None,
        progress=f"{workflow}/{pod}/progress" if reports_progress(raw) else "",
    )

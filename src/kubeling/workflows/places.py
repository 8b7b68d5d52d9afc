"""Where artifacts lie: in the platform's store, in the manifest, or in a place of the user's.

Upstream: ``ArtifactLocation`` with ``Get``, ``HasLocation`` and ``Relocate`` in
``workflow_types.go``, and ``workflow/artifactrepositories``. A place is an object with one key, the
kind: ``{"s3": {…}}``. Of the platform's store only the key is given: ``{"s3": {"key": …}}``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Final

import msgspec

from kubeling.kube import yaml
from kubeling.kube.objects import Obj
from kubeling.workflows.resources import Artifact, Outputs, Template
from kubeling.workflows.scope import Scope
from kubeling.workflows.templates import Library

__all__ = [
    "KEYS",
    "KINDS",
    "LOGS",
    "OWN",
    "InvalidPlace",
    "Repository",
    "is_elsewhere",
    "keeps_logs",
    "known_repository",
    "place_of",
    "placed_outputs",
    "repository_of",
    "store_key",
    "with_place",
]

KINDS: Final = (
    "raw", "s3", "gcs", "azure", "oss", "git", "http", "artifactory", "hdfs", "plugin",
)  # fmt: skip
KEYS: Final = {"s3": "key", "gcs": "key", "oss": "key", "azure": "blob"}
"""The kinds that a repository can be of, with the field that names an artifact in it."""

_NEEDED: Final = {
    "s3": ("endpoint", "bucket"),
    "gcs": ("bucket",),
    "azure": ("endpoint", "container"),
    "oss": ("endpoint", "bucket"),
}
_CONFIG_MAP: Final = "artifact-repositories"
_DEFAULT: Final = "workflows.argoproj.io/default-artifact-repository"
_KEY_FORMAT: Final = "{{workflow.name}}/{{pod.name}}"


class InvalidPlace(ValueError):
    """Nothing can lie there; the message names what is wrong."""


@dataclass(frozen=True, slots=True)
class Repository:
    """Where artifacts go that do not say themselves: a place without a key.

    An empty ``place`` is the platform's store. ``reference`` is what the status says about it.
    """

    place: Obj = field(default_factory=dict)
    key_format: str = _KEY_FORMAT
    reference: Obj = field(default_factory=lambda: {"default": True})

    def located(self, artifact: Mapping[str, Any]) -> Obj | None:
        """An artifact's place, a bare key completed; ``None`` where it says nothing."""
        place = place_of(artifact)
        if place is None:
            return None
        [(kind, content)] = place.items()
        name = KEYS.get(kind)
        if name is None or all(content.get(part) for part in _NEEDED[kind]):
            return place
        key = content.get(name)
        return self.keyed(str(key)) if key else None

    def keyed(self, key: str) -> Obj:
        """The place of a key in this repository."""
        if not self.place:
            return {"s3": {"key": key.strip("/")}}
        [(kind, content)] = self.place.items()
        return {kind: {**content, KEYS[kind]: key}}


LOGS: Final = "main-logs"
"""The output artifact that is what a step's main container printed."""

OWN: Final = Repository()
"""The platform's own store."""


def place_of(artifact: Mapping[str, Any]) -> Obj | None:
    """What an artifact, or ``archiveLocation``, says about its place."""
    for kind in KINDS:
        if artifact.get(kind) is not None:
            return {kind: artifact[kind]}
    return None


def with_place(artifact: Artifact, place: Mapping[str, Any]) -> Artifact:
    """The artifact as one that lies there."""
    kinds = {kind: place.get(kind) for kind in KINDS}
    return msgspec.structs.replace(artifact, from_="", from_expression="", sub_path="", **kinds)


def is_elsewhere(place: Mapping[str, Any]) -> bool:
    """Whether it takes a loader or a keeper to get there."""
    return "raw" not in place and store_key(place) is None


def store_key(place: Mapping[str, Any]) -> str | None:
    """The key in the platform's store; raises :class:`InvalidPlace` where it leads out of it."""
    content = place.get("s3")
    if content is None or content.get("bucket"):
        return None
    key = str(content.get("key") or "").strip("/")
    if ".." in PurePosixPath(key).parts:
        raise InvalidPlace(f'artifact key "{key}" leads out of the artifact store; leave ".." out')
    return key


def keeps_logs(spec: Obj, template: Template, repository: Repository) -> bool:
    """Whether a step's log is an artifact, too (``IsArchiveLogs``)."""
    if (repository.reference.get("artifactRepository") or {}).get("archiveLogs"):
        return True
    own = (template.archive_location or {}).get("archiveLogs")
    return bool(own if own is not None else spec.get("archiveLogs"))


def placed_outputs(
    spec: Obj, template: Template, repository: Repository, workflow: str, pod: str, scope: Scope
) -> Outputs | None:
    """What a template gives, each artifact with its place."""
    outputs = template.outputs or Outputs()
    if keeps_logs(spec, template, repository):
        logs = Artifact(LOGS, archive={"none": {}}, optional=True)
        outputs = msgspec.structs.replace(outputs, artifacts=[*outputs.artifacts, logs])
    if not outputs.artifacts:
        return template.outputs
    folder = scope.render(repository.key_format) if repository.place else f"{workflow}/{pod}"
    base = repository.located(template.archive_location or {}) or repository.keyed(folder)
    artifacts = [with_place(a, _output_place(a, base, repository)) for a in outputs.artifacts]
    return msgspec.structs.replace(outputs, artifacts=artifacts)


def _output_place(artifact: Artifact, base: Obj, repository: Repository) -> Obj:
    """An artifact's own place, or one below ``base``.

    As upstream, of a place in the repository only the key is told: the rest is in the Workflow's
    status.
    """
    place = place_of(msgspec.to_builtins(artifact))
    if place is not None:
        [(kind, content)] = place.items()
        if kind not in KEYS or content.get(KEYS[kind]):
            return place
    [(kind, content)] = base.items()
    if kind not in KEYS:
        raise InvalidPlace(f"archiveLocation: {kind} has no place for several artifacts")
    name = KEYS[kind]
    file = "main.log" if artifact.name == LOGS else f"{artifact.name}{_suffix(artifact, base)}"
    key = f"{content.get(name, '')}/{file}"
    told = base == repository.keyed(str(content.get(name)))
    return {kind: {name: key}} if told else {kind: {**content, name: key}}


def _suffix(artifact: Artifact, place: Obj) -> str:
    """What upstream adds to a default key; in the platform's store nothing is packed."""
    if not is_elsewhere(place):
        return ""
    archive = artifact.archive or {}
    return "" if "none" in archive else ".zip" if "zip" in archive else ".tgz"


def repository_of(spec: Obj, library: Library, scope: Scope) -> Repository:
    """The repository a Workflow names, its namespace's default, or the platform's store.

    Raises :class:`InvalidPlace`, and :class:`~.templates.Missing` until the ConfigMap was fetched.
    """
    reference = scope.render(spec.get("artifactRepositoryRef") or {})
    name = reference.get("configMap") or _CONFIG_MAP
    found = library.config_map(name)
    if found is None:
        if reference:
            raise InvalidPlace(f'artifactRepositoryRef: ConfigMap "{name}" not found')
        return OWN
    default = (found["metadata"].get("annotations") or {}).get(_DEFAULT, "")
    key = reference.get("key") or default
    if not key:
        if reference:
            raise InvalidPlace(
                f'artifactRepositoryRef: no key, and ConfigMap "{name}" has no default'
            )
        return OWN
    text = (found.get("data") or {}).get(key)
    if text is None:
        raise InvalidPlace(f'artifactRepositoryRef: ConfigMap "{name}" has no key "{key}"')
    whose = {"configMap": name, "key": key, "namespace": found["metadata"].get("namespace", "")}
    return _parsed(text, f'ConfigMap "{name}", key "{key}"', whose)


def known_repository(status: Obj) -> Repository | None:
    """The repository that a status says a Workflow uses."""
    reference = status.get("artifactRepositoryRef")
    if not reference:
        return None
    if reference.get("default"):
        return OWN
    return _described(reference["artifactRepository"], "status.artifactRepositoryRef", reference)


def _parsed(text: str, where: str, reference: Obj) -> Repository:
    try:
        content = yaml.load(text)
    except ValueError as error:
        raise InvalidPlace(f"{where}: {error}") from None
    return _described(content, where, {**reference, "artifactRepository": content})


def _described(content: Any, where: str, reference: Obj) -> Repository:
    place = place_of(content) if isinstance(content, dict) else None
    kind = next(iter(place)) if place else ""
    if place is None or kind not in KEYS:
        raise InvalidPlace(f"{where}: describe the repository under one of {', '.join(KEYS)}")
    settings = dict(place[kind])
    key_format = settings.pop("keyFormat", "") or settings.pop("blobNameFormat", "")
    lacking = [part for part in _NEEDED[kind] if not settings.get(part)]
    if lacking:
        raise InvalidPlace(f"{where}: {kind}.{lacking[0]} is missing")
    return Repository(
        {kind: settings},
        key_format or _KEY_FORMAT,
        reference,
    )

"""Reading manifests from files, folders and standard input."""

from __future__ import annotations

import sys
from pathlib import Path

from kubeling.cli.errors import CliError
from kubeling.kube import yaml
from kubeling.kube.objects import Obj

__all__ = ["read_manifests"]

_SUFFIXES = (".yaml", ".yml", ".json")


def read_manifests(sources: tuple[str, ...]) -> list[Obj]:
    """All objects in the sources, ``List`` objects opened; raises :class:`CliError`."""
    objects: list[Obj] = []
    for source in sources:
        for where, text in _texts(source):
            try:
                documents = yaml.load_all(text)
            except ValueError as error:
                raise CliError(f"{where}: {error}") from None
            for number, document in enumerate(documents, start=1):
                objects += _objects(f"{where}, document {number}", document)
    if not objects:
        raise CliError("no objects found in " + ", ".join(sources))
    return objects


def _texts(source: str) -> list[tuple[str, str]]:
    if source == "-":
        return [("standard input", sys.stdin.read())]
    path = Path(source)
    try:
        if path.is_dir():
            files = sorted(p for p in path.iterdir() if p.suffix in _SUFFIXES)
            return [(str(file), file.read_text()) for file in files]
        return [(source, path.read_text())]
    except OSError as error:
        raise CliError(f"cannot read {source}: {error.strerror}") from None


def _objects(where: str, document: object) -> list[Obj]:
    if not isinstance(document, dict):
        raise CliError(f"{where}: an object is expected, not {type(document).__name__}")
    if "stages" in document and "kind" not in document:
        raise CliError(
            f"{where}: this is a file of stages, not a Kubernetes object",
            "Run it with: kubeling run FILE",
        )
    if str(document.get("kind", "")).endswith("List") and "items" in document:
        return [obj for item in document["items"] for obj in _objects(where, item)]
    missing = [key for key in ("apiVersion", "kind", "metadata") if not document.get(key)]
    if missing:
        raise CliError(f"{where}: {' and '.join(missing)} not set")
    return [document]

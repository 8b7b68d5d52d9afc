"""Image names and what they stand for here: entries of a catalogue, matched by pattern.

A pod's image is a name for an environment, not a file to unpack. The catalogue that comes with the
package knows the common ones; users add their own in ``images.yaml`` or in the configuration.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Final

import msgspec

from kubeling.kube import objects, yaml
from kubeling.kube.objects import Obj

__all__ = [
    "Catalogue",
    "ImageEntry",
    "PythonEnvironment",
    "UnknownImage",
    "repository",
    "with_declared_packages",
]

_CATALOGUE: Final = Path(__file__).with_name("catalogue.yaml")
_PACKAGES: Final = "kubeling.io/python-packages"
_PACKAGES_READY: Final = "KUBELING_PACKAGES_READY"


class PythonEnvironment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A Python environment; without requirements, the platform's own.

    With ``platform`` it sees the platform's packages too, behind its own: for images whose program
    is part of the platform but needs more than the platform does. The ``bare`` requirements are
    installed without what they depend on; where they are all that the platform lacks, its packages
    are seen, too. An environment that has to be installed gets the ``optional`` ones as well, if
    they can be had: what it is for works without them.
    """

    requirements: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    version: str = ""
    platform: bool = False
    bare: tuple[str, ...] = ()


class ImageEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the images that match a pattern stand for.

    ``ahead`` are modules that its Python programs import: an interpreter that is kept for them has
    imported these already (:mod:`.templates`). ``keeps`` is a folder that outlives its pods, by the
    variable that tells where it is: the node has one of that name for each namespace.
    """

    images: tuple[str, ...] = ()
    host: bool = False
    container: bool = False
    python: PythonEnvironment | None = None
    programs: dict[str, str] = {}
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    workdir: str = ""
    env: dict[str, str] = {}
    ahead: tuple[str, ...] = ()
    keeps: dict[str, str] = {}

    def command(self, container: Mapping[str, Any]) -> list[str]:
        """What to execute: a container's ``command`` also replaces the image's ``cmd``."""
        command = container.get("command") or []
        args = container.get("args") or []
        if command:
            return [*command, *args]
        return [*self.entrypoint, *(args or self.cmd)]


class UnknownImage(Exception):
    """No entry matches; ``advice`` says what to add where."""

    def __init__(self, message: str, advice: str) -> None:
        super().__init__(message)
        self.advice = advice


class Catalogue:
    """All entries in order of precedence: configuration, the user's file, the package's own."""

    def __init__(self, user_file: Path, configured: Mapping[str, Any]) -> None:
        self._file = user_file
        self._configured = _from_mapping(configured, "images in the configuration")

    def find(self, image: str) -> ImageEntry:
        """The entry for an image; raises :class:`UnknownImage` or :class:`ValueError`.

        The user's file is read anew each time, so that adding an entry needs no restart.
        """
        own = _first((*self._configured, *self._from_file()), image)
        if (found := own or _first_built_in(image)) is not None:
            return found
        name = repository(image)
        raise UnknownImage(
            f'image "{image}" is not in the catalogue',
            f"say what it stands for in {self._file}, "
            f'for example\n"{name}": {{python: {{requirements: [scikit-learn]}}}}   # or\n'
            f'"{name}": {{host: true}}',
        )

    def _from_file(self) -> tuple[ImageEntry, ...]:
        try:
            document = yaml.load(self._file.read_text())
        except FileNotFoundError:
            return ()
        except ValueError as error:
            raise ValueError(f"{self._file}: {error}") from None
        if isinstance(document, dict) and set(document) == {"images"}:
            document = document["images"]
        return _from_mapping(document or {}, str(self._file))


@cache
def _built_in() -> tuple[ImageEntry, ...]:
    return msgspec.convert(yaml.load(_CATALOGUE.read_text()), tuple[ImageEntry, ...])


@lru_cache(maxsize=1024)
def _first_built_in(image: str) -> ImageEntry | None:
    return _first(_built_in(), image)


def _first(entries: Iterable[ImageEntry], image: str) -> ImageEntry | None:
    for entry in entries:
        if any(_matches(pattern, image) for pattern in entry.images):
            return entry
    return None


def _from_mapping(document: Any, origin: str) -> tuple[ImageEntry, ...]:
    try:
        if isinstance(document, Sequence) and not isinstance(document, str):
            entries = msgspec.convert(document, tuple[ImageEntry, ...])
        else:
            named = msgspec.convert(document, dict[str, dict[str, Any]])
            entries = tuple(
                msgspec.convert({**entry, "images": [pattern]}, ImageEntry)
                for pattern, entry in named.items()
            )
    except msgspec.ValidationError as error:
        raise ValueError(f"{origin}: {error}") from None
    for entry in entries:
        if entry.container and entry != ImageEntry(images=entry.images, container=True):
            text = "container: true leaves nothing else to say, because the image itself is run"
            raise ValueError(f"{origin}: {', '.join(entry.images)}: {text}")
    return entries


def with_declared_packages(entry: ImageEntry, pod: Obj, container: str) -> ImageEntry:
    """The entry with the Python packages that the pod declares for the container.

    A variable tells the container that it has them, so that its command need not install them.
    Raises :class:`ValueError` for a declaration that cannot be read.
    """
    text = objects.annotations(pod).get(_PACKAGES)
    if not text or entry.python is None:
        return entry
    try:
        declared = msgspec.json.decode(text, type=dict[str, PythonEnvironment]).get(container)
    except msgspec.DecodeError as error:
        raise ValueError(f"annotation {_PACKAGES}: {error}") from None
    if declared is None:
        return entry
    python = msgspec.structs.replace(
        entry.python,
        requirements=(*entry.python.requirements, *declared.requirements),
        bare=(*entry.python.bare, *declared.bare),
    )
    return msgspec.structs.replace(entry, python=python, env={**entry.env, _PACKAGES_READY: "true"})


def repository(image: str) -> str:
    """The image's name without tag, digest and the default registry."""
    name = image.partition("@")[0]
    head, slash, tail = name.rpartition("/")
    name = head + slash + tail.partition(":")[0]
    for prefix in ("docker.io/", "index.docker.io/", "library/"):
        name = name.removeprefix(prefix)
    return name


def _matches(pattern: str, image: str) -> bool:
    name = repository(image)
    first, slash, rest = name.partition("/")
    names = {name, image}
    if slash and ("." in first or ":" in first or first == "localhost"):
        names.add(rest)
    return any(fnmatchcase(candidate, pattern) for candidate in names)

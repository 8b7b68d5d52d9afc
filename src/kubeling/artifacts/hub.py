"""Snapshots from the Hugging Face Hub, over its HTTP API.

The library that upstream uses would have to be installed for every initializer; what is needed of
it is one listing and the files. ``HF_ENDPOINT`` names a mirror, as it does for the library.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from urllib.parse import quote

import msgspec

from kubeling.artifacts import web
from kubeling.artifacts.errors import ArtifactError
from kubeling.artifacts.places import place_inside

__all__ = ["Repository", "names", "snapshot"]

_HUB: Final = "https://huggingface.co"
_REVISION: Final = "main"
_DENIED: Final = (401, 403)
_AT_ONCE: Final = 4


class _File(msgspec.Struct):
    rfilename: str


class _Listing(msgspec.Struct):
    sha: str = _REVISION
    siblings: list[_File] = []


Fetch = Callable[[str, Path, Callable[[Path], None]], None]
"""Puts a file of a version in its place, or lets it be saved there."""


def _fetched(_: str, target: Path, save: Callable[[Path], None]) -> None:
    save(target)


def _save(url: str, target: Path, headers: Mapping[str, str]) -> None:
    web.save(url, target, headers)


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository at a revision; ``advice`` is what to do where it may not be read."""

    name: str
    revision: str = ""
    kind: Literal["model", "dataset"] = "model"
    advice: str = ""


def snapshot(
    repository: Repository,
    target: Path,
    takes: Callable[[str], bool],
    env: Mapping[str, str],
    fetch: Fetch = _fetched,
) -> None:
    """Fetches the files of a repository that are wanted, several at once.

    ``fetch`` may know a file by its version, which is the commit's.
    """
    base, headers = _asked(env)
    found = _listing(base, repository, headers)
    part = "datasets/" if repository.kind == "dataset" else ""
    root = f"{base}/{part}{repository.name}"
    wanted = [file.rfilename for file in found.siblings if takes(file.rfilename)]
    if not wanted:
        raise ArtifactError(f"{repository.name} has no file that is wanted")

    def save(name: str) -> None:
        place = place_inside(target, name)
        url = f"{root}/resolve/{found.sha}/{quote(name)}"
        version = url if found.sha != _REVISION else ""
        try:
            fetch(version, place, lambda path: _save(url, path, headers))
        except web.HttpStatus as error:
            raise _refused(error.status, repository) from None

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for saved in [pool.submit(save, name) for name in wanted]:
            saved.result()


def names(repository: Repository, env: Mapping[str, str]) -> list[str]:
    """The files of a repository."""
    base, headers = _asked(env)
    return [file.rfilename for file in _listing(base, repository, headers).siblings]


def _asked(env: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """The Hub's address, and what a request says."""
    token = env.get("ACCESS_TOKEN") or env.get("HF_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return (env.get("HF_ENDPOINT") or _HUB).rstrip("/"), headers


def _listing(base: str, repository: Repository, headers: Mapping[str, str]) -> _Listing:
    revision = quote(repository.revision or _REVISION, safe="")
    address = f"{base}/api/{repository.kind}s/{repository.name}/revision/{revision}"
    try:
        return msgspec.json.decode(web.get(address, headers).body, type=_Listing)
    except web.HttpStatus as error:
        raise _refused(error.status, repository) from None
    except msgspec.DecodeError as error:
        raise ArtifactError(f"{address} does not answer as the Hub does: {error}") from None


def _refused(status: int, repository: Repository) -> ArtifactError:
    if status in _DENIED:
        return ArtifactError(f"{repository.name} may not be read so; {repository.advice}")
    where = f"{repository.name}@{repository.revision}" if repository.revision else repository.name
    return ArtifactError(f"the Hub answered HTTP {status} for {where}; check storageUri")

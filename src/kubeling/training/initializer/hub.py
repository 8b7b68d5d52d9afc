"""Snapshots from the Hugging Face Hub, over its HTTP API.

The library that upstream uses would have to be installed for every initializer; what is needed of
it is one listing and the files. ``HF_ENDPOINT`` names a mirror, as it does for the library.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

import msgspec

from kubeling.artifacts import web
from kubeling.artifacts.errors import ArtifactError

__all__ = ["snapshot"]

_HUB: Final = "https://huggingface.co"
_REVISION: Final = "main"
_DENIED: Final = (401, 403)
_REPOSITORY_PARTS: Final = 2


class _File(msgspec.Struct):
    rfilename: str


class _Listing(msgspec.Struct):
    sha: str = _REVISION
    siblings: list[_File] = []


def snapshot(
    uri: str, kind: str, target: Path, takes: Callable[[str], bool], env: Mapping[str, str]
) -> None:
    """Fetches the files of ``hf://OWNER/NAME[@REVISION]`` that are wanted."""
    split = urlsplit(uri)
    parts = [split.netloc, *split.path.strip("/").split("/")][:_REPOSITORY_PARTS]
    repository, _, revision = "/".join(filter(None, parts)).partition("@")
    base = (env.get("HF_ENDPOINT") or _HUB).rstrip("/")
    token = env.get("ACCESS_TOKEN") or env.get("HF_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    plural = "datasets" if kind == "dataset" else "models"
    found = _listing(f"{base}/api/{plural}/{repository}", revision, repository, headers)
    root = f"{base}/datasets/{repository}" if kind == "dataset" else f"{base}/{repository}"
    wanted = [file.rfilename for file in found.siblings if takes(file.rfilename)]
    if not wanted:
        raise ArtifactError(f"{repository} has no file that is wanted")
    for name in wanted:
        place = (target / name).resolve()
        if not place.is_relative_to(target.resolve()):
            raise ArtifactError(f"{name} would be written outside of {target}")
        _save(f"{root}/resolve/{found.sha}/{quote(name)}", place, repository, headers)


def _listing(url: str, revision: str, repository: str, headers: Mapping[str, str]) -> _Listing:
    address = f"{url}/revision/{quote(revision or _REVISION, safe='')}"
    try:
        return msgspec.json.decode(web.get(address, headers).body, type=_Listing)
    except web.HttpStatus as error:
        raise _refused(error.status, repository) from None
    except msgspec.DecodeError as error:
        raise ArtifactError(f"{address} does not answer as the Hub does: {error}") from None


def _save(url: str, target: Path, repository: str, headers: Mapping[str, Any]) -> None:
    try:
        web.save(url, target, headers)
    except web.HttpStatus as error:
        raise _refused(error.status, repository) from None


def _refused(status: int, repository: str) -> ArtifactError:
    if status in _DENIED:
        return ArtifactError(
            f"{repository} may not be read so; put a token that may into a secret as ACCESS_TOKEN "
            "and name the secret in secretRef"
        )
    return ArtifactError(f"the Hub answered HTTP {status} for {repository}; check storageUri")

"""Models in Git repositories: ``https://HOST/PATH.git``, shallow, by the ``git`` command.

As upstream's, with ``GIT_USERNAME`` (or the address's user) and ``GIT_PASSWORD``, and without
submodules. Git's own folder is left out, and a file that Git only has a pointer to is said to be
missing: a server could only fail on it.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit, urlunsplit

from kubeling.artifacts import git
from kubeling.artifacts.errors import ArtifactError
from kubeling.artifacts.locations import Git, Secret
from kubeling.serving.storage.uris import ModelUri

__all__ = ["clone"]

_POINTER: Final = b"version https://git-lfs.github.com/spec/"
_LARGEST_POINTER: Final = 1024
_USER, _PASSWORD = "GIT_USERNAME", "GIT_PASSWORD"


def clone(address: ModelUri, target: Path, env: Mapping[str, str]) -> None:
    """Checks the repository's default branch out into ``target``."""
    parts = urlsplit(address.text)
    known = dict(env)
    if parts.username:
        known[_USER] = unquote(parts.username)
    location = Git(
        repo=urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])),
        depth=1,
        disable_submodules=True,
        username_secret=Secret(env=_USER) if known.get(_USER) else None,
        password_secret=Secret(env=_PASSWORD) if known.get(_PASSWORD) else None,
    )
    try:
        git.checkout(location, target, known)
    except ArtifactError as error:
        raise ArtifactError(
            f"{error}; where it may not be read anonymously, put GIT_USERNAME and GIT_PASSWORD "
            "into a secret of the service account"
        ) from None
    for path in target.rglob("*"):
        if path.is_file() and _is_pointer(path):
            name = path.relative_to(target)
            raise ArtifactError(
                f"{name} is kept by Git LFS, and the repository only has a pointer to it; serve "
                "the model from a bucket, a hub or a release's address"
            )
    shutil.rmtree(target / ".git", ignore_errors=True)


def _is_pointer(path: Path) -> bool:
    if path.stat().st_size > _LARGEST_POINTER or ".git" in path.parts:
        return False
    with path.open("rb") as file:
        return file.read(len(_POINTER)) == _POINTER

"""Static bearer tokens from a file, as kube-apiserver's ``--token-auth-file`` reads it.

Lines of ``token,user,uid,"group1,group2"``. The file is read once, when the server starts.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

from kubeling.apiserver.settings import SettingsError
from kubeling.apiserver.user import AUTHENTICATED, User

__all__ = ["load_tokens"]

_LEAST_COLUMNS = 3


def load_tokens(path: Path) -> dict[str, User]:
    """The users by token; raises :class:`SettingsError`."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return _users(path, file)
    except OSError as error:
        raise SettingsError(f"api.token_auth_file: {path}: {error.strerror}") from None


def _users(path: Path, lines: Iterable[str]) -> dict[str, User]:
    found: dict[str, User] = {}
    for number, row in enumerate(csv.reader(lines, skipinitialspace=True), start=1):
        if not row:
            continue
        if len(row) < _LEAST_COLUMNS:
            raise SettingsError(
                f"{path}: line {number} has {len(row)} columns: it needs a token, a user and a "
                'uid, and may have "group1,group2"'
            )
        token, name, uid, *rest = row
        if not token:
            raise SettingsError(f"{path}: line {number} has no token")
        if token in found:
            raise SettingsError(f"{path}: line {number} has the token of an earlier line")
        groups = [group for group in (rest[0] if rest else "").split(",") if group]
        found[token] = User(name, (*groups, AUTHENTICATED), uid)
    return found

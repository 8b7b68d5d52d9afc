"""The artifact store as workflows use it: a folder that pods mount."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from kubeling.workflows.handover import Store
from kubeling.workflows.observation import PodObservation

__all__ = ["fetch_stored", "read_progress", "store_of"]

_MAX_PROGRESS: Final = 100
_MAX_VALUE: Final = 1 << 20


def store_of(artifacts_uri: str) -> Store:
    """The store at an address; only ``file://`` ones can be mounted."""
    parts = urlsplit(artifacts_uri)
    return Store(unquote(parts.path) if parts.scheme == "file" else "")


def read_progress(files: Mapping[str, str], store: Store, namespace: str) -> dict[str, str]:
    """What running steps say about how far they are, by node (blocking)."""
    found: dict[str, str] = {}
    for node_id, key in files.items():
        with contextlib.suppress(OSError), (Path(store.folder) / namespace / key).open() as file:
            found[node_id] = file.read(_MAX_PROGRESS)
    return found


def fetch_stored(seen: PodObservation, store: Store, namespace: str) -> None:
    """Reads the values that were too large for the termination message (blocking)."""
    for (kind, name), key in seen.report.stored.items():
        path = Path(store.folder) / namespace / key
        try:
            if path.stat().st_size > _MAX_VALUE:
                raise OSError(
                    f"{kind} {name} is larger than {_MAX_VALUE >> 10} KiB; use an artifact"
                )
            seen.report.give(kind, name, path.read_text(errors="replace"))
        except OSError as error:
            seen.phase = "Error"
            seen.message = f"cannot read {kind} {name} from the artifact store: {error}"
    seen.report.stored.clear()

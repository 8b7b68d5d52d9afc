"""Files of batches, named and laid out as upstream's agent does it.

``PREFIX/NAMESPACE/SERVICE/COMPONENT/PATH/ID-request.json`` in a bucket or a folder; a batch is
named by its first event. Source: kserve's pkg/logger, store.go and the marshallers.
"""

from __future__ import annotations

import asyncio
import base64
import csv
import functools
import hashlib
import io
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import msgspec

from kubeling.artifacts.errors import ArtifactError
from kubeling.serving.requestlog.delivery import SinkAway
from kubeling.serving.requestlog.events import Event, Origin
from kubeling.serving.requestlog.record import Counts, LogSettings

if TYPE_CHECKING:
    from kubeling.artifacts.buckets import Bucket

__all__ = ["FileSink", "bucket_writer", "encoded", "folder_writer"]

_TEXTS: Final = (
    "url",
    "bytes",
    "contentType",
    "reqType",
    "id",
    "sourceUri",
    "inferenceService",
    "namespace",
    "component",
    "endpoint",
    "metadata",
    "annotations",
    "certName",
)
"""Upstream's columns; the last one is ``tlsSkipVerify``."""

_LONGEST_NAME: Final = 200

Write = Callable[[str, bytes], None]
"""Writes an object at a path; raises :class:`ArtifactError` or :class:`OSError`."""


class FileSink:
    """Writes a file for each batch."""

    def __init__(self, settings: LogSettings, origin: Origin, counts: Counts, write: Write) -> None:
        self.size = max(1, settings.batch_size)
        self.interval = settings.batch_interval
        self._settings = settings
        self._origin = origin
        self._counts = counts
        self._write = write

    async def send(self, events: Sequence[Event]) -> Sequence[Event]:
        """Writes the batch, or all of it is to be written later."""
        try:
            await asyncio.to_thread(self._write_batch, events)
        except (ArtifactError, OSError) as error:
            raise SinkAway(f"{self._settings.url}: {error}") from None
        self._counts.written += len(events)
        return ()

    async def close(self) -> None:
        """Nothing is kept open."""

    def _write_batch(self, events: Sequence[Event]) -> None:
        first, kind = events[0], self._settings.format or "json"
        origin, settings = self._origin, self._settings
        folder = (origin.namespace, origin.service, origin.component, settings.path.strip("/"))
        name = f"{_file_name(first.id)}-{first.kind}.{kind}"
        path = "/".join([part for part in folder if part] + [name])
        self._write(path, encoded(kind, events, settings, origin))


def _file_name(given: str) -> str:
    """An id as a name: clients choose it, and names have an end."""
    name = quote(given, safe="")
    if len(name) <= _LONGEST_NAME:
        return name
    return f"{name[:_LONGEST_NAME]}-{hashlib.sha256(given.encode()).hexdigest()[:16]}"


def folder_writer(folder: Path) -> Write:
    """Writes below a folder, whole files only."""

    def write(path: str, content: bytes) -> None:
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, fresh = tempfile.mkstemp(dir=target.parent, prefix=".")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            Path(fresh).chmod(0o644)
            Path(fresh).replace(target)
        except BaseException:
            Path(fresh).unlink(missing_ok=True)
            raise

    return write


def bucket_writer(url: str, env: Mapping[str, str]) -> Write:
    """Writes below ``s3://bucket/prefix`` or ``gs://bucket/prefix``."""
    from kubeling.serving.storage.buckets import model_bucket
    from kubeling.serving.storage.settings import store_settings
    from kubeling.serving.storage.uris import parse_uri

    address = parse_uri(url)

    @functools.cache
    def opened() -> Bucket:
        # Only when it is written to: settings that cannot be read must not keep the server down.
        return model_bucket(address, store_settings(env))

    def write(path: str, content: bytes) -> None:
        key = "/".join(part for part in (address.path.strip("/"), path) if part)
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            opened().store(Path(file.name), key)

    return write


def encoded(kind: str, events: Sequence[Event], settings: LogSettings, origin: Origin) -> bytes:
    """A batch in one of :data:`~.formats.FORMATS`."""
    return _ENCODERS[kind](events, settings, origin)


def _json(events: Sequence[Event], settings: LogSettings, origin: Origin) -> bytes:
    found = []
    for event in events:
        row: dict[str, Any] = _row(event, settings, origin)
        row |= {"metadata": msgspec.Raw(event.metadata.encode()), "occurrenceTime": event.time}
        row["annotations"] = settings.annotations
        row["status"] = event.status
        del row["certName"]
        found.append(row)
    return msgspec.json.encode(found[0] if len(found) == 1 else found)


def _csv(events: Sequence[Event], settings: LogSettings, origin: Origin) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*_TEXTS, "tlsSkipVerify"])
    for event in events:
        writer.writerow([*_row(event, settings, origin).values(), "false"])
    return text.getvalue().encode()


def _parquet(events: Sequence[Event], settings: LogSettings, origin: Origin) -> bytes:
    from kubeling.serving.requestlog.parquet import table_bytes

    rows = [_row(event, settings, origin) for event in events]
    columns = {title: [row[title] for row in rows] for title in _TEXTS}
    return table_bytes({**columns, "tlsSkipVerify": [False] * len(rows)})


def _row(event: Event, settings: LogSettings, origin: Origin) -> dict[str, str]:
    annotations = msgspec.json.encode(settings.annotations).decode() if settings.annotations else ""
    values = (
        settings.url,
        base64.b64encode(event.data).decode(),
        "application/json",
        event.kind,
        event.id,
        origin.source,
        origin.service or event.model,
        origin.namespace,
        origin.component,
        event.revision,
        event.metadata,
        annotations,
        "",
    )
    return dict(zip(_TEXTS, values, strict=True))


_ENCODERS: Final[Mapping[str, Callable[[Sequence[Event], LogSettings, Origin], bytes]]] = {
    "json": _json,
    "csv": _csv,
    "parquet": _parquet,
}

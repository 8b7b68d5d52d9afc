"""What users upload: compiled pipelines as YAML or JSON, plain or in an archive.

A pipeline with settings for Kubernetes has a second document, the platform spec. The API hands the
two out wrapped in one object, and takes that form, too.
"""

from __future__ import annotations

import io
import tarfile
import zipfile
import zlib
from typing import Any, Final

import msgspec

from kubeling.kube import yaml
from kubeling.pipelines.ir import PipelineSpec
from kubeling.pipelines.ir_reading import parse_spec

__all__ = ["MAX_SIZE", "Package", "read_package", "unwrap"]

MAX_SIZE: Final = 32 << 20
_NAMES: Final = (".yaml", ".yml", ".json")


class Package(msgspec.Struct, frozen=True):
    """A compiled pipeline: the documents as they were given, and what they mean."""

    document: dict[str, Any]
    platform: dict[str, Any]
    spec: PipelineSpec

    @property
    def wrapped(self) -> dict[str, Any]:
        """The form in which the API shows it."""
        if not self.platform:
            return self.document
        return {"pipeline_spec": self.document, "platform_spec": self.platform}


def unwrap(document: Any) -> Package:
    """Reads the API's form, wrapped or bare; raises :class:`ValueError`."""
    if not isinstance(document, dict):
        raise ValueError("not a compiled pipeline: a mapping is expected; compile it with kfp")
    platform: Any = {}
    if "pipeline_spec" in document or "pipelineSpec" in document:
        platform = document.get("platform_spec") or document.get("platformSpec") or {}
        document = document.get("pipeline_spec") or document.get("pipelineSpec")
    if not isinstance(document, dict) or "pipelineInfo" not in document:
        raise ValueError(
            "not a compiled pipeline: pipelineInfo is missing; compile it with the kfp SDK, "
            "version 2 or later"
        )
    return Package(document, platform, parse_spec(document))


def read_package(data: bytes) -> Package:
    """Reads an uploaded file; raises :class:`ValueError` saying what is expected."""
    text = _unpack(data)
    documents = yaml.load_all(text)
    if not documents:
        raise ValueError("the file is empty; a pipeline compiled by the kfp SDK is expected")
    if len(documents) == 1:
        return unwrap(documents[0])
    pipelines = [d for d in documents if isinstance(d, dict) and "pipelineInfo" in d]
    platforms = [d for d in documents if isinstance(d, dict) and "platforms" in d]
    if len(pipelines) != 1 or len(platforms) > 1 or len(documents) > 2:
        raise ValueError("one pipeline spec and at most one platform spec are expected in a file")
    return unwrap({"pipeline_spec": pipelines[0], "platform_spec": platforms[0]})


def _unpack(data: bytes) -> bytes:
    if data.startswith(b"PK\x03\x04"):
        return _from_zip(data)
    if data.startswith(b"\x1f\x8b"):
        return _from_tar(data)
    return data


def _from_zip(data: bytes) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            chosen = archive.getinfo(_choose([i.filename for i in archive.infolist()]))
            _check_size(chosen.file_size)
            return archive.read(chosen)
    except zipfile.BadZipFile as error:
        raise ValueError(f"the .zip file cannot be read: {error}") from None


def _from_tar(data: bytes) -> bytes:
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
            files = {m.name: m for m in archive.getmembers() if m.isfile()}
            chosen = files[_choose(list(files))]
            _check_size(chosen.size)
            opened = archive.extractfile(chosen)
            return opened.read() if opened else b""
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise ValueError(f"the .tar.gz file cannot be read: {error}") from None


def _choose(names: list[str]) -> str:
    found = [name for name in names if name.endswith(_NAMES)]
    preferred = [name for name in found if name.rpartition("/")[2] == "pipeline.yaml"]
    for candidates in (preferred, found):
        if len(candidates) == 1:
            return candidates[0]
    raise ValueError("the archive must hold one YAML file, or one named pipeline.yaml")


def _check_size(size: int) -> None:
    if size > MAX_SIZE:
        raise ValueError(f"the pipeline is {size} bytes unpacked; at most {MAX_SIZE} are allowed")

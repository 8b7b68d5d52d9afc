"""Addresses of models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit

from kubeling.artifacts.addresses import shown_address

__all__ = ["MOUNTED", "SCHEMES", "ModelUri", "StorageNotFound", "UnknownScheme", "parse_uri"]

SCHEMES: Final = (
    "gs",
    "s3",
    "minio",
    "https",
    "http",
    "hf",
    "modelscope",
    "hdfs",
    "webhdfs",
    "oci",
    "oci+fetch",
    "oci+native",
    "pvc",
    "file",
    "model-registry",
)
MOUNTED: Final = ("pvc", "oci+native")
"""What a pod mounts; everything else is fetched first."""


_WITHOUT_ROOT: Final = ("hdfs", "webhdfs")
"""All of the address is a path; the secret says of which file system."""


class UnknownScheme(ValueError):
    """The address names a store that is not known."""


class StorageNotFound(LookupError):
    """Nothing fetches an address, or what is to fetch it lacks something."""


@dataclass(frozen=True, slots=True)
class ModelUri:
    """``scheme://root/path``: ``root`` is a bucket, claim or host; a plain path is a file."""

    scheme: str
    root: str
    path: str
    text: str

    @property
    def shown(self) -> str:
        """The address without passwords and signatures, for messages."""
        return shown_address(self.text)


def parse_uri(text: str) -> ModelUri:
    """Reads an address; raises :class:`UnknownScheme` or :class:`ValueError`."""
    if not text:
        raise ValueError("is empty; give e.g. gs://bucket/folder or a path")
    scheme, separator, rest = text.partition("://")
    if not separator:
        if not text.startswith("/"):
            raise ValueError("a plain path must be absolute")
        return ModelUri("file", "", text, text)
    if scheme not in SCHEMES:
        raise UnknownScheme(scheme)
    if scheme == "file":
        path = unquote(urlsplit(text).path)
        if not path.startswith("/"):
            raise ValueError("must be file:///absolute/path")
        return ModelUri("file", "", path, text)
    root, _, path = rest.partition("/")
    if not root and not (path and scheme in _WITHOUT_ROOT):
        what = {"pvc": "the claim's name", "model-registry": "the model's name"}
        raise ValueError(f"names no {what.get(scheme, 'bucket or host')} after {scheme}://")
    return ModelUri(scheme, root, path, text)

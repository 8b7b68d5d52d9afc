"""Models in HDFS, over its REST interface: ``hdfs://PATH`` and ``webhdfs://PATH``.

Where the file system is comes from the secret, as upstream has it: the keys ``HDFS_NAMENODE`` (an
address such as ``https://namenode:9871``), ``HDFS_ROOTPATH``, ``USER_PROXY``, ``HEADERS`` (JSON)
and ``TLS_CA``, ``TLS_CERT``, ``TLS_KEY``, ``TLS_SKIP_VERIFY``. Kerberos needs tools of its own in
the pod, so it is refused.
"""

from __future__ import annotations

import base64
import json
import ssl
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from kubeling.artifacts import web
from kubeling.artifacts.errors import ArtifactError
from kubeling.artifacts.places import place_inside
from kubeling.serving.storage.patterns import Patterns
from kubeling.serving.storage.uris import ModelUri

__all__ = ["fetch_from_hdfs"]

_MOUNTED: Final = "/var/secrets/kserve-hdfscreds"
_FILES: Final = ("TLS_CA", "TLS_CERT", "TLS_KEY")
_KEYS: Final = (
    "HDFS_NAMENODE",
    "HDFS_ROOTPATH",
    "USER_PROXY",
    "HEADERS",
    "TLS_SKIP_VERIFY",
    "KERBEROS_PRINCIPAL",
    *_FILES,
)


@dataclass(frozen=True, slots=True)
class _FileSystem:
    """A name node, and how to speak to it."""

    base: str
    proxy: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    context: ssl.SSLContext | None = None

    def url(self, path: str, operation: str) -> str:
        query = {"op": operation, **({"doas": self.proxy} if self.proxy else {})}
        return f"{self.base}/webhdfs/v1{quote(path)}?{urlencode(query)}"

    def ask(self, path: str, operation: str) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = json.loads(
                web.get(self.url(path, operation), self.headers, self.context).body
            )
        except web.HttpStatus as error:
            raise _refused(path, error) from None
        except ValueError as error:
            raise ArtifactError(f"{self.base} does not answer as WebHDFS does: {error}") from None
        return answer

    def save(self, path: str, target: Path) -> None:
        try:
            web.save(self.url(path, "OPEN"), target, self.headers, self.context)
        except web.HttpStatus as error:
            raise _refused(path, error) from None


def fetch_from_hdfs(
    address: ModelUri, target: Path, patterns: Patterns, env: Mapping[str, str]
) -> None:
    """Fetches a file, or everything below a folder."""
    settings = _settings(env)
    files = _file_system(settings)
    root = settings.get("HDFS_ROOTPATH", "").rstrip("/")
    path = f"{root}/{address.root}/{address.path}".rstrip("/")
    path = path if path.startswith("/") else f"/{path}"
    if files.ask(path, "GETFILESTATUS")["FileStatus"]["type"] == "FILE":
        files.save(path, target / path.rpartition("/")[2])
        return
    wanted = [found for found in _below(files, path, "") if patterns.takes(found)]
    if not wanted:
        raise ArtifactError(f"there is nothing below {path}; check storageUri")
    for found in wanted:
        files.save(f"{path}/{found}", place_inside(target, found))


def _below(files: _FileSystem, path: str, relative: str) -> Iterator[str]:
    for entry in files.ask(path, "LISTSTATUS")["FileStatuses"]["FileStatus"]:
        title = f"{relative}{entry['pathSuffix']}"
        if entry["type"] == "DIRECTORY":
            yield from _below(files, f"{path}/{entry['pathSuffix']}", f"{title}/")
        else:
            yield title


def _settings(env: Mapping[str, str]) -> dict[str, str]:
    """The secret's keys, from where it is mounted, or from the entry of ``storage-config``."""
    folder = Path(env.get("HDFS_SECRET_DIR") or _MOUNTED)
    found = {key: (folder / key).read_text() for key in _KEYS if (folder / key).is_file()}
    for key in _KEYS:
        if value := env.get(key):
            encoded = key in _FILES and "-----BEGIN" not in value
            found[key] = _decoded(key, value) if encoded else value
    return {key: value.strip() for key, value in found.items()}


def _decoded(key: str, value: str) -> str:
    try:
        return base64.b64decode(value).decode()
    except ValueError as error:
        raise ArtifactError(f"{key} is neither PEM nor base64 of it: {error}") from None


def _file_system(settings: Mapping[str, str]) -> _FileSystem:
    if settings.get("KERBEROS_PRINCIPAL"):
        raise ArtifactError(
            "KERBEROS_PRINCIPAL: Kerberos is not spoken here; use a ClusterStorageContainer with "
            "an image that does"
        )
    node = settings.get("HDFS_NAMENODE", "").partition(";")[0].rstrip("/")
    if not node:
        raise ArtifactError(
            "HDFS_NAMENODE is not set: put the name node's address into a secret of the service "
            "account, or into the entry of storage-config"
        )
    try:
        headers = json.loads(settings.get("HEADERS") or "{}")
    except ValueError as error:
        raise ArtifactError(f"HEADERS is not valid JSON: {error}") from None
    return _FileSystem(node, settings.get("USER_PROXY", ""), headers, _context(settings))


def _context(settings: Mapping[str, str]) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cadata=settings.get("TLS_CA") or None)
        if certificate := settings.get("TLS_CERT"):
            with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
                file.write(f"{certificate}\n{settings.get('TLS_KEY', '')}\n")
                file.flush()
                context.load_cert_chain(file.name)
    except (ssl.SSLError, ValueError) as error:
        raise ArtifactError(f"TLS_CA, TLS_CERT or TLS_KEY cannot be used: {error}") from None
    if settings.get("TLS_SKIP_VERIFY", "").lower() == "true":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _refused(path: str, error: web.HttpStatus) -> ArtifactError:
    try:
        said = str(json.loads(error.body)["RemoteException"]["message"]).partition("\n")[0]
    except (ValueError, KeyError, TypeError):
        said = f"HTTP {error.status}"
    return ArtifactError(f"HDFS refused {path}: {said}; check storageUri")

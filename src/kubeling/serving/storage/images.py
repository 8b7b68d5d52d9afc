"""Models in OCI images: ``oci://REGISTRY/REPOSITORY[:TAG|@DIGEST]``, and ``oci+fetch://``.

Upstream runs such an image (a "modelcar") beside the server, or pulls it by ``oras`` and keeps what
is in ``/models``. Here the initializer asks the registry itself (the distribution API of OCI), so
that no container engine is needed; layers' files in ``models/`` are unpacked as they arrive.
"""

from __future__ import annotations

import base64
import hashlib
import json
import platform
import posixpath
import re
import tarfile
import urllib.request
from collections.abc import Collection, Mapping
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO, Any, Final, cast
from urllib.parse import urlencode

from kubeling.artifacts import web
from kubeling.artifacts.errors import ArtifactError
from kubeling.serving.storage.uris import ModelUri

__all__ = ["fetch_image"]

_MANIFESTS: Final = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_MODELS: Final = "models/"
_WHITEOUT: Final = ".wh."
_OPAQUE: Final = ".wh..wh..opq"
_CONFIG: Final = "/mnt/oci-fetch-auth/config.json"
_SERVERS: Final = {"docker.io": "registry-1.docker.io"}
_TITLES: Final = {"docker.io": "https://index.docker.io/v1/"}
"""Docker's own registry is elsewhere than it is named, and has an old name where users sign in."""
_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
_CHALLENGE: Final = re.compile(r'(\w+)="([^"]*)"')
_LOOPBACK: Final = re.compile(r"^(localhost|127(\.\d+){3})(:|$)")
_UNAUTHORIZED: Final = 401
_DENIED: Final = (401, 403)


class _Registry:
    """One repository of a registry; it signs in when it is asked to."""

    def __init__(self, host: str, repository: str, env: Mapping[str, str]) -> None:
        insecure = env.get("KSERVE_OCI_INSECURE_REGISTRY", "").lower() in ("1", "true", "yes")
        scheme = "http" if insecure or _LOOPBACK.match(host) else "https"
        self._base = f"{scheme}://{_SERVERS.get(host, host)}/v2/{repository}"
        self._host, self._repository = host, repository
        self._basic = _basic(host, env)
        self._headers: dict[str, str] = {}

    def manifest(self, reference: str) -> dict[str, Any]:
        with self.open(f"manifests/{reference}", ", ".join(_MANIFESTS)) as answer:
            body = answer.read()
        try:
            found: dict[str, Any] = json.loads(body)
        except ValueError as error:
            raise ArtifactError(f"{self._host} does not answer as a registry: {error}") from None
        return found

    def open(self, path: str, accept: str = "*/*") -> HTTPResponse:
        """Asks for something; once more with a token where one is asked for."""
        url = f"{self._base}/{path}"
        try:
            return web.fetch(self._request(url, accept))
        except web.HttpStatus as error:
            # A token may end while a large layer is fetched; then there is a new one.
            if error.status != _UNAUTHORIZED:
                raise self._refused(error.status, path) from None
            self._sign_in(error.headers.get("WWW-Authenticate", ""))
        try:
            return web.fetch(self._request(url, accept))
        except web.HttpStatus as error:
            raise self._refused(error.status, path) from None

    def _request(self, url: str, accept: str) -> urllib.request.Request:
        return urllib.request.Request(url, headers={"Accept": accept, **self._headers})

    def _sign_in(self, challenge: str) -> None:
        basic = {"Authorization": f"Basic {self._basic}"} if self._basic else {}
        if not challenge.lower().startswith("bearer"):
            self._headers = basic
            return
        asked = dict(_CHALLENGE.findall(challenge))
        query = {"scope": f"repository:{self._repository}:pull"}
        if "service" in asked:
            query["service"] = asked["service"]
        try:
            body = web.get(f"{asked.get('realm', '')}?{urlencode(query)}", basic).body
            found: dict[str, Any] = json.loads(body)
        except web.HttpStatus as error:
            raise self._refused(error.status, "token") from None
        except ValueError as error:
            raise ArtifactError(f"{self._host} gives no token as it says: {error}") from None
        token = found.get("token") or found.get("access_token") or ""
        self._headers = {"Authorization": f"Bearer {token}"}

    def _refused(self, status: int, path: str) -> ArtifactError:
        if status in _DENIED:
            return ArtifactError(
                f"{self._host}/{self._repository} may not be read so; name a secret of the type "
                "kubernetes.io/dockerconfigjson in imagePullSecrets"
            )
        return ArtifactError(
            f"{self._host} answered HTTP {status} for {self._repository} ({path}); check storageUri"
        )


def fetch_image(address: ModelUri, target: Path, env: Mapping[str, str]) -> None:
    """Unpacks what the image has in ``/models``."""
    name, reference = _reference(address)
    registry = _Registry(address.root, name, env)
    manifest = registry.manifest(reference)
    if "manifests" in manifest:
        manifest = registry.manifest(_of_this_machine(manifest["manifests"], address))
    found = False
    for layer in manifest.get("layers") or ():
        if "tar" not in layer.get("mediaType", ""):
            continue
        if "zstd" in layer["mediaType"]:
            raise ArtifactError(
                f"a layer of {address.shown} is compressed by zstd; build the image with gzip"
            )
        with registry.open(f"blobs/{layer['digest']}") as answer:
            found |= _unpack(answer, layer["digest"], target, address)
    if not found:
        raise ArtifactError(
            f"the image {address.shown} has nothing in /models; put the model there"
        )


def _reference(address: ModelUri) -> tuple[str, str]:
    """The repository, and a tag or digest."""
    if not address.path:
        raise ArtifactError(f"{address.shown} is not oci://REGISTRY/REPOSITORY[:TAG]")
    name, at, digest = address.path.partition("@")
    if at:
        return name, digest
    folder, slash, last = address.path.rpartition("/")
    title, _, tag = last.partition(":")
    return f"{folder}{slash}{title}", tag or "latest"


def _of_this_machine(manifests: list[dict[str, Any]], address: ModelUri) -> str:
    machine = _ARCHITECTURES.get(platform.machine(), platform.machine())
    for entry in manifests:
        wanted = entry.get("platform") or {}
        if (wanted.get("os"), wanted.get("architecture")) == ("linux", machine):
            return str(entry["digest"])
    raise ArtifactError(f"the image {address.shown} has no manifest for linux/{machine}")


class _Checked:
    """A stream that remembers the digest of what was read of it."""

    def __init__(self, stream: HTTPResponse) -> None:
        self._stream = stream
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        piece = self._stream.read(size)
        self.digest.update(piece)
        return piece


def _unpack(answer: HTTPResponse, digest: str, target: Path, address: ModelUri) -> bool:
    """Unpacks a layer as it arrives; whether it had anything of the model."""
    checked, fresh = _Checked(answer), set[Path]()
    try:
        with tarfile.open(fileobj=cast("IO[bytes]", checked), mode="r|*") as layer:
            for member in layer:
                path = _below_models(member.name)
                if path and not _hides(path, target, fresh):
                    _extract(layer, member, path, target)
                    fresh.add(target / path)
        while checked.read(1 << 20):
            pass
    except (tarfile.TarError, HTTPException, OSError, EOFError) as error:
        raise ArtifactError(f"a layer of {address.shown} cannot be unpacked: {error}") from None
    if digest != f"sha256:{checked.digest.hexdigest()}":
        raise ArtifactError(f"a layer of {address.shown} arrived damaged; try again")
    return bool(fresh)


def _below_models(name: str) -> str:
    """An entry's path in the model's folder, without ``..``; empty for all others."""
    path = posixpath.normpath(name).lstrip("/")
    return path.removeprefix(_MODELS) if path.startswith(_MODELS) else ""


def _extract(layer: tarfile.TarFile, member: tarfile.TarInfo, path: str, target: Path) -> None:
    """Puts an entry in the place of what a lower layer, or an earlier try, has there."""
    member.name, place = path, target / path
    if member.islnk():
        linked = _below_models(member.linkname)
        if not linked or not (target / linked).exists():
            raise tarfile.ExtractError(f"{path} is linked to {member.linkname}, which is not there")
        member.linkname = linked
    if _is_inside(place, target) and not (member.isdir() and place.is_dir()):
        _clear(place, ())
    layer.extract(member, target, filter="data")


def _hides(path: str, target: Path, fresh: Collection[Path]) -> bool:
    """Whether an entry stands for what lower layers have and is gone; then it goes.

    That is one file or folder or, for an "opaque" entry, all that is in its own folder.
    """
    folder, _, last = path.rpartition("/")
    if not last.startswith(_WHITEOUT):
        return False
    where, name = target / folder, last.removeprefix(_WHITEOUT)
    hidden = [where / name] if name not in ("", ".", "..") else []
    if last == _OPAQUE:
        hidden = [*where.iterdir()] if where.is_dir() else []
    for place in hidden:
        if _is_inside(place, target):
            _clear(place, fresh)
    return True


def _is_inside(place: Path, target: Path) -> bool:
    """Whether no link leads to a folder elsewhere."""
    return place.parent.resolve().is_relative_to(target.resolve())


def _clear(place: Path, fresh: Collection[Path]) -> None:
    """Removes a file or a folder, but what this layer itself has in it."""
    if place.is_dir() and not place.is_symlink():
        for found in [*place.iterdir()]:
            _clear(found, fresh)
        if place not in fresh and not any(place.iterdir()):
            place.rmdir()
    elif place not in fresh:
        place.unlink(missing_ok=True)


def _basic(host: str, env: Mapping[str, str]) -> str:
    """The user and password for a registry, from a Docker configuration."""
    try:
        found = json.loads(Path(env.get("KSERVE_OCI_DOCKER_CONFIG") or _CONFIG).read_text())
        entries = found["auths"]
        titles = (host, f"https://{host}", host.partition(":")[0], _TITLES.get(host))
        entry = next(entries[title] for title in titles if title in entries)
    except (OSError, ValueError, KeyError, TypeError, StopIteration):
        return ""
    if entry.get("auth"):
        return str(entry["auth"])
    if entry.get("username"):
        text = f"{entry['username']}:{entry.get('password', '')}"
        return base64.b64encode(text.encode()).decode()
    return ""

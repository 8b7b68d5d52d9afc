"""Artifacts that errands read: a manifest, or the list of what lies below a key.

Small things only, since the controller reads them itself. The secrets that a place names are read
with the controller's rights, in the Workflow's namespace only: a pod there may use them, too,
without its service account having any.
"""

from __future__ import annotations

import asyncio
import base64
import tempfile
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from kubeling.artifacts.errors import ArtifactError
from kubeling.artifacts.locations import AZURE, GCS, S3, Location
from kubeling.artifacts.plan import Transfer
from kubeling.kube.client import Client
from kubeling.kube.objects import Obj
from kubeling.kube.resources import SECRETS
from kubeling.workflows.errands import Errand, ErrandFailed
from kubeling.workflows.exchange import transfer
from kubeling.workflows.handover import Store
from kubeling.workflows.places import KEYS, InvalidPlace, is_elsewhere, store_key, with_place
from kubeling.workflows.resources import Artifact

__all__ = ["ErrandInputs"]

_LARGEST: Final = 1 << 20


class ErrandInputs:
    """What an errand of a namespace can read; ``client`` is the controller's own."""

    def __init__(self, client: Client, store: Store, namespace: str, errand: Errand) -> None:
        self._client = client
        self._store = store
        self._namespace = namespace
        self._errand = errand

    async def read(self, name: str) -> str:
        """The text of an input artifact; raises :class:`~.errands.ErrandFailed`."""
        given = self._errand.inputs.artifacts if self._errand.inputs is not None else ()
        artifact = next((found for found in given if found.name == name), None)
        if artifact is None:
            raise ErrandFailed(f'manifestFrom: there is no input artifact "{name}"')
        if artifact.raw is not None:
            return str(artifact.raw.get("data", ""))
        place = self._place(artifact)
        if not is_elsewhere(place):
            return await asyncio.to_thread(self._text, self._folder() / (store_key(place) or ""))
        described, env = await self._described(artifact, place)
        return await asyncio.to_thread(self._loaded, described, env)

    async def keys(self, source: Obj) -> list[str]:
        """The keys of all files at or below an artifact's, in order.

        Without a key all that the repository holds is listed, as upstream lists the whole bucket.
        """
        artifact = msgspec.convert({"name": "source", **source}, Artifact)
        place = self._place(artifact, self._errand.repository.keyed(""))
        if not is_elsewhere(place):
            return await asyncio.to_thread(self._files, store_key(place) or "")
        [(kind, content)] = place.items()
        described, env = await self._described(artifact, {kind: {KEYS[kind]: "", **content}})
        return await asyncio.to_thread(_listed, described, env)

    def _place(self, artifact: Artifact, otherwise: Obj | None = None) -> Obj:
        try:
            place = self._errand.repository.located(msgspec.to_builtins(artifact)) or otherwise
            if place is not None:
                store_key(place)
                return place
        except InvalidPlace as error:
            raise ErrandFailed(str(error)) from None
        raise ErrandFailed(f'artifact "{artifact.name}" says nothing of where it lies')

    def _folder(self) -> Path:
        if not self._store.folder:
            raise ErrandFailed(
                "what lies in the artifact store can be read here only where the store is a "
                "folder; set the artifact root to a file:// address"
            )
        return Path(self._store.folder) / self._namespace

    async def _described(self, artifact: Artifact, place: Obj) -> tuple[Transfer, dict[str, str]]:
        """How to get at an artifact elsewhere, and the secrets that takes."""
        env: list[Obj] = []
        try:
            described = transfer(with_place(artifact, place), env, outgoing=False)
        except InvalidPlace as error:
            raise ErrandFailed(str(error)) from None
        found = {entry["name"]: await self._secret(entry) for entry in env}
        return await self._reachable(described), found

    async def _reachable(self, described: Transfer) -> Transfer:
        """With the address of a store that is a Service: its name means nothing to this machine.

        Where there is TLS, the certificate is for the name, and the machine has to know it.
        """
        address = _plain_address(described.location)
        if not address:
            return described
        from kubeling.workflows.outbound import ServiceNames, near_address

        near = await near_address(address, ServiceNames(self._client, self._namespace))
        location = msgspec.structs.replace(described.location, endpoint=near)
        return msgspec.structs.replace(described, location=location)

    async def _secret(self, entry: Obj) -> str:
        reference = entry["valueFrom"]["secretKeyRef"]
        secret = await self._client.get(SECRETS, str(reference.get("name")), self._namespace)
        value = (secret.get("data") or {}).get(reference["key"])
        if value is None:
            raise ErrandFailed(f'Secret "{reference["name"]}" has no key "{reference["key"]}"')
        return base64.b64decode(value).decode()

    def _loaded(self, described: Transfer, env: dict[str, str]) -> str:
        from kubeling.artifacts.transfer import load

        with tempfile.TemporaryDirectory(prefix="kubeling-errand-") as folder:
            try:
                load([described], Path(folder), env)
            except ArtifactError as error:
                raise ErrandFailed(str(error)) from None
            return self._text(Path(folder) / described.name)

    def _text(self, path: Path) -> str:
        try:
            if path.stat().st_size > _LARGEST:
                raise ErrandFailed(f"{path.name}: a manifest has at most {_LARGEST >> 10} KiB")
            return path.read_text()
        except OSError as error:
            raise ErrandFailed(f'cannot read artifact "{path.name}": {error.strerror}') from None

    def _files(self, key: str) -> list[str]:
        folder = self._folder()
        root = folder / key
        found = [root] if root.is_file() else sorted(p for p in root.rglob("*") if p.is_file())
        return [str(path.relative_to(folder)) for path in found]


def _plain_address(location: Location) -> str:
    """Where a store answers without TLS, and without its name's being part of what is asked."""
    match location:
        case S3(insecure=True, endpoint=endpoint) if location.addressing_style != "virtual-hosted":
            return f"http://{endpoint}" if endpoint and "://" not in endpoint else endpoint
        case GCS(endpoint=endpoint) if endpoint.startswith("http://"):
            return endpoint
        case AZURE(endpoint=endpoint) if endpoint.startswith("http://") and urlsplit(
            endpoint
        ).path.strip("/"):
            return endpoint
    return ""


def _listed(described: Transfer, env: dict[str, str]) -> list[str]:
    from kubeling.artifacts.drivers import keys_below

    try:
        return keys_below(described.location, env)
    except ArtifactError as error:
        raise ErrandFailed(str(error)) from None

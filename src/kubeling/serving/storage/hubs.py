"""Models on hubs: ``hf://OWNER/MODEL[:REVISION]`` and ``modelscope://OWNER/MODEL[:REVISION]``.

Upstream's libraries would have to be installed for every pod; a listing and the files are all that
is needed of them. ``HF_ENDPOINT`` and ``MODELSCOPE_DOMAIN`` name mirrors, as for the libraries.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

import msgspec

from kubeling.artifacts import hub, web
from kubeling.artifacts.errors import ArtifactError
from kubeling.artifacts.places import place_inside
from kubeling.serving.storage.cache import ModelCache
from kubeling.serving.storage.patterns import Patterns
from kubeling.serving.storage.uris import ModelUri

__all__ = ["fetch_from_hugging_face", "fetch_from_model_scope"]

_MODEL_SCOPE: Final = "www.modelscope.cn"
_DENIED: Final = (401, 403)
_AT_ONCE: Final = 4
_PARTS: Final = 2


def fetch_from_hugging_face(
    address: ModelUri, target: Path, patterns: Patterns, env: Mapping[str, str], cache: ModelCache
) -> None:
    """Fetches a model's snapshot."""
    title, revision = _repository(address)
    advice = "put a token that may into a secret of the service account as HF_TOKEN"
    repository = hub.Repository(title, revision, advice=advice)
    hub.snapshot(repository, target, patterns.takes, env, cache.fetch)


def fetch_from_model_scope(
    address: ModelUri, target: Path, patterns: Patterns, env: Mapping[str, str], cache: ModelCache
) -> None:
    """Fetches a model's files."""
    title, revision = _repository(address)
    revision = revision or "master"
    domain = env.get("MODELSCOPE_DOMAIN") or _MODEL_SCOPE
    base = domain.rstrip("/") if "://" in domain else f"https://{domain}"
    token = env.get("MODELSCOPE_API_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    query = urlencode({"Revision": revision, "Recursive": "True"})
    found = _asked(f"{base}/api/v1/models/{title}/repo/files?{query}", title, headers)
    files = (found.get("Data") or {}).get("Files") or ()
    wanted = {
        entry["Path"]: str(entry.get("Sha256") or "")
        for entry in files
        if entry.get("Type") != "tree" and patterns.takes(entry["Path"])
    }
    if not wanted:
        raise ArtifactError(f"{title} has no file that is wanted")

    def save(name: str) -> None:
        place = place_inside(target, name)
        path = f"{title}/resolve/{quote(revision, safe='')}/{quote(name)}"

        def saved(file: Path) -> None:
            web.save(f"{base}/models/{path}", file, headers)

        try:
            digest = wanted[name]
            cache.fetch(f"{base}/models/{path} {digest}" if digest else "", place, saved)
        except web.HttpStatus as error:
            raise _refused(error.status, title) from None

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for saved in [pool.submit(save, name) for name in wanted]:
            saved.result()


def _repository(address: ModelUri) -> tuple[str, str]:
    """Owner and model, and the revision after a colon."""
    given = f"{address.root}/{address.path}".strip("/").split("/")
    if len(given) != _PARTS or not all(part.partition(":")[0] for part in given):
        raise ArtifactError(
            f"{address.shown} is not {address.scheme}://OWNER/MODEL[:REVISION]; check storageUri"
        )
    model, _, revision = given[1].partition(":")
    return f"{given[0]}/{model}", revision


def _asked(url: str, title: str, headers: Mapping[str, str]) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(web.get(url, headers).body)
    except web.HttpStatus as error:
        raise _refused(error.status, title) from None
    except msgspec.DecodeError as error:
        raise ArtifactError(f"ModelScope's answer for {title} is no JSON: {error}") from None
    if not isinstance(found, dict) or found.get("Code", 200) != 200:
        said = found.get("Message") if isinstance(found, dict) else found
        raise ArtifactError(f"ModelScope refused {title}: {said}; check storageUri")
    return found


def _refused(status: int, title: str) -> ArtifactError:
    if status in _DENIED:
        return ArtifactError(
            f"{title} may not be read so; put a token that may into a secret of the service "
            "account as MODELSCOPE_API_TOKEN"
        )
    return ArtifactError(f"ModelScope answered HTTP {status} for {title}; check storageUri")

"""Where data sets and models come from.

``hf://`` and ``s3://`` are upstream's, with its variables; ``file://``, ``http(s)://`` and ``gs://``
are ours.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import unquote, urlsplit

from kubeling.artifacts import hub, web
from kubeling.artifacts.addresses import shown_address
from kubeling.artifacts.buckets import Bucket
from kubeling.artifacts.errors import ArtifactError
from kubeling.artifacts.locations import GCS, S3, Secret
from kubeling.artifacts.places import place_inside

__all__ = ["Source", "fetch"]

_MODEL_FILES: Final = ("*.json", "*.safetensors", "*.model", "*.txt", "*.gguf")
"""What upstream takes of a model on the Hub."""
_REPOSITORY_PARTS: Final = 2
_ADVICE: Final = "put a token that may into a secret as ACCESS_TOKEN and name it in secretRef"


@dataclass(frozen=True, slots=True)
class Source:
    """What to fetch, and which files of it; ``env`` has the stores' credentials."""

    kind: str
    uri: str
    allow: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, kind: str, env: Mapping[str, str]) -> Source:
        """What the environment says."""
        uri = env.get("STORAGE_URI", "")
        if not uri:
            raise ArtifactError(
                "STORAGE_URI is not set; set spec.initializer's storageUri, or env in the runtime"
            )
        patterns = tuple(p.strip() for p in env.get("IGNORE_PATTERNS", "").split(",") if p.strip())
        return cls(
            kind,
            uri,
            allow=_MODEL_FILES if kind == "model" and uri.startswith("hf://") else (),
            ignore=patterns,
            env=env,
        )

    @property
    def shown(self) -> str:
        """The address without passwords and signatures, for logs."""
        return shown_address(self.uri)

    def takes(self, path: str) -> bool:
        """Whether a file is wanted."""
        if any(fnmatch(path, pattern) for pattern in self.ignore):
            return False
        return not self.allow or any(fnmatch(path, pattern) for pattern in self.allow)


def _repository(source: Source) -> hub.Repository:
    """The repository of ``hf://OWNER/NAME[@REVISION]``."""
    split = urlsplit(source.uri)
    parts = [split.netloc, *split.path.strip("/").split("/")][:_REPOSITORY_PARTS]
    title, _, revision = "/".join(filter(None, parts)).partition("@")
    return hub.Repository(
        title,
        revision,
        "dataset" if source.kind == "dataset" else "model",
        advice=_ADVICE,
    )


def fetch(source: Source, target: Path) -> list[Path]:
    """Fetches into a folder and returns the files; raises :class:`ArtifactError`."""
    target.mkdir(parents=True, exist_ok=True)
    split = urlsplit(source.uri)
    match split.scheme:
        case "file":
            _copy(source, Path(unquote(split.path)), target)
        case "http" | "https":
            _download(source, target / (PurePosixPath(split.path).name or source.kind))
        case "s3" | "gs":
            key = unquote(split.path).strip("/")
            bucket = _s3(split.netloc, source.env) if split.scheme == "s3" else _gcs(split.netloc)
            _copy_objects(source, bucket, key, target)
        case "hf":
            hub.snapshot(_repository(source), target, source.takes, source.env)
        case scheme:
            raise ArtifactError(
                f"{scheme or 'no scheme'} is not a known kind of storage for a {source.kind}; use "
                "file, http, https, s3, gs or hf"
            )
    return sorted(path for path in target.rglob("*") if path.is_file())


def _copy(source: Source, path: Path, target: Path) -> None:
    if path.is_file():
        shutil.copy2(path, target / path.name)
        return
    if not path.is_dir():
        raise ArtifactError(f"{path} does not exist on the machine the pod runs on")
    for found in path.rglob("*"):
        relative = found.relative_to(path)
        if found.is_file() and source.takes(relative.as_posix()):
            (target / relative).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(found, target / relative)


def _download(source: Source, target: Path) -> None:
    try:
        web.save(source.uri, target)
    except web.HttpStatus as error:
        text = f"the server answered HTTP {error.status} to {source.shown}"
        raise ArtifactError(text) from None


def _copy_objects(source: Source, bucket: Bucket, key: str, target: Path) -> None:
    files = bucket.files(key)
    wanted = {name: path for name, path in files.items() if source.takes(path)}
    if not wanted:
        raise ArtifactError(f"there is nothing to fetch at {source.shown}; check the address")
    bucket.save_files({name: place_inside(target, path) for name, path in wanted.items()})


def _s3(name: str, env: Mapping[str, str]) -> Bucket:
    """Upstream's names of variables come before those of AWS' SDK."""
    from kubeling.artifacts.object_stores import s3_bucket

    def either(ours: str, theirs: str) -> str:
        return ours if env.get(ours) else theirs

    key = either("ACCESS_KEY_ID", "AWS_ACCESS_KEY_ID")
    secret = either("SECRET_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY")
    known = bool(env.get(key) and env.get(secret))
    endpoint = env.get("ENDPOINT") or env.get("AWS_ENDPOINT_URL") or ""
    location = S3(
        bucket=name,
        key="",
        endpoint=endpoint,
        insecure=endpoint.startswith("http://"),
        region=env.get("REGION") or env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION") or "",
        access_key_secret=Secret(env=key) if known else None,
        secret_key_secret=Secret(env=secret) if known else None,
        role_arn=env.get("ROLE_ARN") or "",
    )
    return s3_bucket(location, env)


def _gcs(name: str) -> Bucket:
    from kubeling.artifacts.object_stores import gcs_bucket

    return gcs_bucket(GCS(bucket=name, key="", use_sdk_creds=True), {})

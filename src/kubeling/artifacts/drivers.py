"""One interface over all kinds of places that artifacts lie in.

Upstream: ``ArtifactDriver`` in argo-workflows' ``workflow/artifacts/common``.
"""

from __future__ import annotations

import base64
import json
import ssl
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qs, urlencode

from kubeling.artifacts import web
from kubeling.artifacts.buckets import Bucket
from kubeling.artifacts.errors import ArtifactAway, ArtifactError, ArtifactNotFound
from kubeling.artifacts.locations import (
    AZURE,
    GCS,
    HTTP,
    OSS,
    S3,
    Artifactory,
    BasicAuth,
    ClientCert,
    Git,
    HTTPAuth,
    Location,
    NewBucket,
    OAuth2,
    secret_value,
)

__all__ = ["Driver", "driver_of", "keys_below"]


class Driver(Protocol):
    """Reads and writes one artifact. All methods block; errors are :class:`ArtifactError`."""

    folders: bool
    """Whether a folder can be stored as it is, without being packed."""

    def load(self, target: Path) -> None:
        """Writes the artifact, a file or a folder, to ``target``."""
        ...

    def save(self, source: Path) -> None:
        """Stores a file, or a folder where the store has folders."""
        ...

    def delete(self) -> None:
        """Removes the artifact; what is not there is no error."""
        ...


def driver_of(location: Location, env: Mapping[str, str]) -> Driver:
    """What reads and writes a location; ``env`` has its secrets."""
    match location:
        case Git():
            return _Checkout(location, env)
        case HTTP() | Artifactory():
            return _WebFile(location, env)
        case S3(create_bucket_if_not_present=NewBucket() as new):
            return _InNewBucket(location, new, env)
        case _:
            return _Objects(*_bucket(location, env))


def keys_below(location: Location, env: Mapping[str, str]) -> list[str]:
    """The keys of all objects at or below a location's key, in order (upstream: ListObjects)."""
    if isinstance(location, Git | HTTP | Artifactory):
        raise ArtifactError("only stores of objects can be listed: s3, gcs, azure and oss")
    bucket, key = _bucket(location, env)
    return sorted(bucket.files(key))


def _bucket(location: S3 | GCS | AZURE | OSS, env: Mapping[str, str]) -> tuple[Bucket, str]:
    from kubeling.artifacts import object_stores

    match location:
        case S3():
            return object_stores.s3_bucket(location, env), location.key
        case GCS():
            return object_stores.gcs_bucket(location, env), location.key
        case OSS():
            return object_stores.oss_bucket(location, env), location.key
        case AZURE():
            return object_stores.azure_container(location, env), location.blob


class _Objects:
    folders = True

    def __init__(self, bucket: Bucket, key: str) -> None:
        self._bucket = bucket
        self._key = key

    def load(self, target: Path) -> None:
        self._bucket.load(self._key, target)

    def save(self, source: Path) -> None:
        self._bucket.store(source, self._key)

    def delete(self) -> None:
        self._bucket.delete(self._key)


class _InNewBucket(_Objects):
    """As upstream, the bucket is made before an artifact is stored, and never to read one."""

    def __init__(self, location: S3, new: NewBucket, env: Mapping[str, str]) -> None:
        super().__init__(*_bucket(location, env))
        self._location = location
        self._new = new
        self._env = env

    def save(self, source: Path) -> None:
        from kubeling.artifacts.new_buckets import create
        from kubeling.artifacts.object_stores import region_of

        if self._new.object_locking:
            raise ArtifactError(
                "createBucketIfNotPresent.objectLocking is not supported; make the bucket, with "
                "its lock, first"
            )
        certificate = secret_value(self._location.ca_secret, self._env)
        create(self._bucket, region_of(self._location, self._env), certificate)
        super().save(source)


class _Checkout:
    folders = True

    def __init__(self, location: Git, env: Mapping[str, str]) -> None:
        self._location = location
        self._env = env

    def load(self, target: Path) -> None:
        from kubeling.artifacts.git import checkout

        checkout(self._location, target, self._env)

    def save(self, source: Path) -> None:
        raise ArtifactError("a git artifact can only be an input; push from the step itself")

    def delete(self) -> None:
        raise ArtifactError("a git artifact cannot be deleted")


class _WebFile:
    folders = False

    def __init__(self, location: HTTP | Artifactory, env: Mapping[str, str]) -> None:
        self._url = location.url
        self._location = location
        self._env = env

    def load(self, target: Path) -> None:
        headers, context = self._request()
        try:
            web.save(self._url, target, headers, context)
        except web.HttpStatus as error:
            if error.status == 404:
                raise ArtifactNotFound(f"there is nothing at {self._url}") from None
            raise _answered(f"loading from {self._url} failed", error) from None

    def save(self, source: Path) -> None:
        headers, context = self._request()
        try:
            with source.open("rb") as file:
                web.put(self._url, file, source.stat().st_size, headers, context)
        except web.HttpStatus as error:
            raise _answered(f"saving to {self._url} failed", error) from None

    def delete(self) -> None:
        raise ArtifactError("artifacts on web servers cannot be deleted")

    def _request(self) -> tuple[dict[str, str], ssl.SSLContext | None]:
        location = self._location
        if isinstance(location, Artifactory):
            who = BasicAuth(
                username_secret=location.username_secret, password_secret=location.password_secret
            )
            return _basic(who, self._env), None
        headers = {header.name: header.value for header in location.headers}
        auth = location.auth or HTTPAuth()
        if auth.basic_auth is not None:
            headers |= _basic(auth.basic_auth, self._env)
        if auth.oauth2 is not None:
            headers["Authorization"] = f"Bearer {_token(auth.oauth2, self._env)}"
        if auth.client_cert is None:
            return headers, None
        return headers, _with_certificate(auth.client_cert, self._env)


def _answered(what: str, error: web.HttpStatus) -> ArtifactError:
    away = error.status == 429 or error.status >= 500
    return (ArtifactAway if away else ArtifactError)(f"{what}: {error}")


def _basic(auth: BasicAuth, env: Mapping[str, str]) -> dict[str, str]:
    user = secret_value(auth.username_secret, env)
    password = secret_value(auth.password_secret, env)
    if not user and not password:
        return {}
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def _token(auth: OAuth2, env: Mapping[str, str]) -> str:
    """A token by the client credentials grant."""
    form = {"grant_type": "client_credentials", "scope": " ".join(auth.scopes)}
    form |= {parameter.key: parameter.value for parameter in auth.endpoint_params}
    client = secret_value(auth.client_id_secret, env)
    who = f"{client}:{secret_value(auth.client_secret_secret, env)}"
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "Authorization": "Basic " + base64.b64encode(who.encode()).decode(),
    }
    url = secret_value(auth.token_url_secret, env)
    try:
        return _told_token(web.post(url, urlencode(form).encode(), headers))
    except web.HttpStatus as error:
        raise ArtifactError(f"{url} gave no token: {error}") from None
    except (ValueError, KeyError):
        raise ArtifactError(f"{url} gave no access_token") from None


def _told_token(answer: web.Answer) -> str:
    """Some servers answer with a form, which Go's client reads as well (``oauth2/internal``)."""
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind in ("application/x-www-form-urlencoded", "text/plain"):
        return parse_qs(answer.body.decode())["access_token"][0]
    return str(json.loads(answer.body)["access_token"])


def _with_certificate(auth: ClientCert, env: Mapping[str, str]) -> ssl.SSLContext:
    context = ssl.create_default_context()
    # The standard library loads certificates from files only.
    with tempfile.NamedTemporaryFile("w", prefix="client-") as file:
        file.write(secret_value(auth.client_cert_secret, env) + "\n")
        file.write(secret_value(auth.client_key_secret, env))
        file.flush()
        try:
            context.load_cert_chain(file.name)
        except ssl.SSLError as error:
            raise ArtifactError(f"the client certificate cannot be used: {error}") from None
    return context

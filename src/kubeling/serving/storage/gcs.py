"""Google Cloud Storage through its JSON API."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlencode, urlsplit

from kubeling.serving.storage import web
from kubeling.serving.storage.errors import StorageError

__all__ = ["GcsBucket"]

_SCOPE: Final = "https://www.googleapis.com/auth/devstorage.read_only"


class GcsBucket:
    """Reads one bucket, anonymously unless ``GOOGLE_APPLICATION_CREDENTIALS`` names a key."""

    def __init__(self, bucket: str, env: Mapping[str, str]) -> None:
        host = env.get("STORAGE_EMULATOR_HOST") or "https://storage.googleapis.com"
        host = host if "://" in host else f"http://{host}"
        self._bucket = bucket
        self._base = f"{host.rstrip('/')}/storage/v1/b/{quote(bucket, safe='')}/o"
        self._key_file = env.get("GOOGLE_APPLICATION_CREDENTIALS", "")
        self._token = ""

    def keys(self, prefix: str) -> Iterator[str]:
        """The names of the objects that begin with ``prefix``."""
        token = ""
        while True:
            query = {"prefix": prefix, "fields": "items(name),nextPageToken"}
            if token:
                query["pageToken"] = token
            try:
                answer = web.get(f"{self._base}?{urlencode(query)}", self._headers())
            except web.HttpStatus as error:
                raise self._refused(error, prefix) from None
            page = json.loads(answer.body)
            for item in page.get("items") or ():
                yield item["name"]
            token = page.get("nextPageToken", "")
            if not token:
                return

    def save(self, key: str, target: Path) -> None:
        """Writes an object to a file."""
        try:
            web.save(f"{self._base}/{quote(key, safe='')}?alt=media", target, self._headers())
        except web.HttpStatus as error:
            raise self._refused(error, key) from None

    def _headers(self) -> dict[str, str]:
        if not self._key_file:
            return {}
        self._token = self._token or _access_token(Path(self._key_file))
        return {"Authorization": f"Bearer {self._token}"}

    def _refused(self, error: web.HttpStatus, key: str) -> StorageError:
        if error.status == 404:
            return StorageError(
                f'there is no bucket "{self._bucket}" at {urlsplit(self._base).netloc}; check the '
                "name in storageUri"
            )
        if error.status in (401, 403):
            who = "with the given key" if self._key_file else "anonymously"
            return StorageError(
                f"gs://{self._bucket}/{key} may not be read {who}; put a service account's key "
                "into a secret as gcloud-application-credentials.json and name the secret in the "
                "pod's service account"
            )
        return StorageError(f"gs://{self._bucket}/{key}: HTTP {error.status}")


def _access_token(key_file: Path) -> str:
    """Exchanges a service account's key for an access token (RFC 7523)."""
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    try:
        account = json.loads(key_file.read_text())
        key = serialization.load_pem_private_key(account["private_key"].encode(), None)
    except (OSError, ValueError, KeyError) as error:
        raise StorageError(f"{key_file} is not a service account's key: {error}") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise StorageError(f"{key_file} does not hold an RSA key")
    now = int(time.time())
    endpoint = account.get("token_uri", "https://oauth2.googleapis.com/token")
    claims = {
        "iss": account["client_email"],
        "scope": _SCOPE,
        "aud": endpoint,
        "iat": now,
        "exp": now + 3600,
    }
    unsigned = f"{_part({'alg': 'RS256', 'typ': 'JWT'})}.{_part(claims)}".encode()
    signature = key.sign(unsigned, padding.PKCS1v15(), hashes.SHA256())
    assertion = unsigned + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")
    grant = {
        "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "assertion": assertion.decode(),
    }
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    try:
        answer = web.post(endpoint, urlencode(grant).encode(), kind)
    except web.HttpStatus as error:
        raise StorageError(
            f"{urlsplit(endpoint).netloc} refused the service account's key "
            f"(HTTP {error.status}); is it still valid?"
        ) from None
    return str(json.loads(answer.body)["access_token"])


def _part(value: Mapping[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

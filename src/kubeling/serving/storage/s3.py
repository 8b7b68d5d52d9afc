"""S3 and what speaks its API, over plain HTTP with Signature Version 4.

Two calls are needed, list and get; an SDK would cost more time to import than they take. The
environment's names are those of the AWS SDKs and of KServe.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlencode, urlsplit

from kubeling.serving.storage import web
from kubeling.serving.storage.errors import StorageError

__all__ = ["S3Bucket", "sign"]

_EMPTY: Final = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True)
class Credentials:
    """Keys of an account."""

    access_key: str
    secret_key: str
    token: str = ""


class S3Bucket:
    """Reads one bucket."""

    def __init__(self, bucket: str, env: Mapping[str, str]) -> None:
        self._bucket = bucket
        self._region = env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION") or "us-east-1"
        self._base = _base_url(bucket, self._region, env)
        self._credentials = _credentials(env)

    def keys(self, prefix: str) -> Iterator[str]:
        """The keys that begin with ``prefix``."""
        token = ""
        while True:
            query = {"list-type": "2", "prefix": prefix}
            if token:
                query["continuation-token"] = token
            page = ET.fromstring(self._get("", query))
            for element in page.iter():
                if element.tag.rpartition("}")[2] == "Key" and element.text:
                    yield element.text
            token = _text(page, "NextContinuationToken")
            if not token:
                return

    def save(self, key: str, target: Path) -> None:
        """Writes an object to a file."""
        url = f"{self._base}/{quote(key)}"
        try:
            web.save(url, target, self._headers(url))
        except web.HttpStatus as error:
            raise self._refused(error, key) from None

    def _get(self, key: str, query: Mapping[str, str]) -> bytes:
        url = f"{self._base}/{quote(key)}?{urlencode(sorted(query.items()), quote_via=quote)}"
        try:
            return web.get(url, self._headers(url)).body
        except web.HttpStatus as error:
            raise self._refused(error, query.get("prefix", key)) from None

    def _headers(self, url: str) -> dict[str, str]:
        if self._credentials is None:
            return {}
        return sign(url, self._credentials, self._region, dt.datetime.now(dt.UTC))

    def _refused(self, error: web.HttpStatus, key: str) -> StorageError:
        code = _error_code(error.body)
        if code == "NoSuchBucket":
            return StorageError(
                f'there is no bucket "{self._bucket}" at {_host(self._base)}; check the name, the '
                f"region ({self._region}) and AWS_ENDPOINT_URL"
            )
        if error.status in (401, 403):
            who = "anonymously" if self._credentials is None else "with the given keys"
            return StorageError(
                f"s3://{self._bucket}/{key} may not be read {who} ({code or error.status}); give "
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in a secret of the service account"
            )
        return StorageError(f"s3://{self._bucket}/{key}: HTTP {error.status} {code}".rstrip())


def _base_url(bucket: str, region: str, env: Mapping[str, str]) -> str:
    endpoint = (
        env.get("AWS_ENDPOINT_URL_S3") or env.get("AWS_ENDPOINT_URL") or env.get("S3_ENDPOINT")
    )
    if not endpoint:
        return f"https://{bucket}.s3.{region}.amazonaws.com"
    if "://" not in endpoint:
        secure = env.get("S3_USE_HTTPS", "1").lower() not in ("0", "false")
        endpoint = f"{'https' if secure else 'http'}://{endpoint}"
    return f"{endpoint.rstrip('/')}/{quote(bucket)}"


def _credentials(env: Mapping[str, str]) -> Credentials | None:
    if env.get("awsAnonymousCredential", "").lower() in ("1", "true"):
        return None
    access, secret = env.get("AWS_ACCESS_KEY_ID", ""), env.get("AWS_SECRET_ACCESS_KEY", "")
    if not access or not secret:
        return None
    return Credentials(access, secret, env.get("AWS_SESSION_TOKEN", ""))


def sign(url: str, credentials: Credentials, region: str, now: dt.datetime) -> dict[str, str]:
    """The headers that sign a GET of ``url`` (AWS Signature Version 4)."""
    parts = urlsplit(url)
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    headers = {"host": parts.netloc, "x-amz-content-sha256": _EMPTY, "x-amz-date": stamp}
    if credentials.token:
        headers["x-amz-security-token"] = credentials.token
    names = ";".join(sorted(headers))
    lines = [f"{key}:{headers[key]}" for key in sorted(headers)]
    canonical = "\n".join(["GET", parts.path or "/", parts.query, *lines, "", names, _EMPTY])
    scope = f"{day}/{region}/s3/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    to_sign = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, digest])
    key = f"AWS4{credentials.secret_key}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, "
        f"SignedHeaders={names}, Signature={signature}"
    )
    return headers


def _error_code(body: bytes) -> str:
    try:
        return _text(ET.fromstring(body), "Code")
    except ET.ParseError:
        return ""


def _text(root: ET.Element, tag: str) -> str:
    for element in root.iter():
        if element.tag.rpartition("}")[2] == tag:
            return element.text or ""
    return ""


def _host(url: str) -> str:
    return urlsplit(url).netloc

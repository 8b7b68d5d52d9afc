"""Buckets from what a manifest says about them.

The library reads the environment as the stores' own SDKs do, which is what ``useSDKCreds`` asks
for; what a location says comes before that.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, S3Store

from kubeling.artifacts.buckets import Bucket
from kubeling.artifacts.errors import ArtifactError
from kubeling.artifacts.locations import AZURE, GCS, OSS, S3, secret_value

if TYPE_CHECKING:
    from obstore.store import AzureConfig, ClientConfig, GCSConfig, RetryConfig, S3Config

__all__ = ["azure_container", "azure_store", "gcs_bucket", "oss_bucket", "region_of", "s3_bucket"]

_RETRIES: Final[RetryConfig] = {"max_retries": 4, "retry_timeout": dt.timedelta(seconds=60)}
_PATIENCE: Final[ClientConfig] = {
    "connect_timeout": "10 seconds",
    "read_timeout": "60 seconds",
    "timeout": "1 day",
}


def s3_bucket(location: S3, env: Mapping[str, str], *, check_certificate: bool = True) -> Bucket:
    """A bucket of S3, MinIO and the like."""
    region = region_of(location, env)
    config: S3Config = {"region": region}
    known = True
    if location.access_key_secret is not None or location.secret_key_secret is not None:
        config["access_key_id"] = secret_value(location.access_key_secret, env)
        config["secret_access_key"] = secret_value(location.secret_key_secret, env)
        if location.session_token_secret is not None:
            config["session_token"] = secret_value(location.session_token_secret, env)
    elif not location.use_sdk_creds and not location.role_arn:
        config["skip_signature"] = True
        known = False
    if location.role_arn:
        config["role_arn"] = location.role_arn
    if location.kms_key_id:
        config["server_side_encryption"] = "aws:kms"
        config["sse_kms_key_id"] = location.kms_key_id
    elif location.encrypted:
        config["server_side_encryption"] = "AES256"
    url = _endpoint(location.endpoint, location.insecure)
    if url:
        virtual = location.addressing_style == "virtual-hosted"
        config["endpoint"] = _with_bucket(url, location.bucket) if virtual else url
        config["virtual_hosted_style_request"] = virtual
    with _usable(f"s3://{location.bucket}"):
        store = S3Store(
            location.bucket,
            config=config,
            client_options={
                **_client(url, secret_value(location.ca_secret, env)),
                "allow_invalid_certificates": not check_certificate,
            },
            retry_config=_RETRIES,
        )
    host = urlsplit(url).netloc if url else f"s3.{region}.amazonaws.com"
    return Bucket(store, f"s3://{location.bucket}", host, known=known)


def region_of(location: S3, env: Mapping[str, str]) -> str:
    """Where a bucket lies."""
    return location.region or env.get("AWS_REGION") or "us-east-1"


def oss_bucket(location: OSS, env: Mapping[str, str]) -> Bucket:
    """A bucket of Alibaba Cloud, which speaks S3's API with the bucket in the host's name."""
    url = _endpoint(location.endpoint, insecure=False)
    config: S3Config = {
        "region": "oss",
        "endpoint": _with_bucket(url, location.bucket),
        "virtual_hosted_style_request": True,
    }
    known = location.access_key_secret is not None
    if known:
        config["access_key_id"] = secret_value(location.access_key_secret, env)
        config["secret_access_key"] = secret_value(location.secret_key_secret, env)
        if location.security_token:
            config["session_token"] = location.security_token
    else:
        config["skip_signature"] = True
    with _usable(f"oss://{location.bucket}"):
        store = S3Store(
            location.bucket, config=config, client_options=_client(url), retry_config=_RETRIES
        )
    return Bucket(store, f"oss://{location.bucket}", urlsplit(url).netloc, known=known)


def gcs_bucket(location: GCS, env: Mapping[str, str]) -> Bucket:
    """A bucket of Google Cloud Storage."""
    config: GCSConfig = {}
    known = True
    if location.service_account_key_secret is not None:
        config["service_account_key"] = secret_value(location.service_account_key_secret, env)
    elif not location.use_sdk_creds:
        config["skip_signature"] = True
        known = False
    if location.endpoint:
        config["base_url"] = location.endpoint.rstrip("/")
    with _usable(f"gs://{location.bucket}"):
        store = GCSStore(
            location.bucket,
            config=config,
            client_options=_client(location.endpoint),
            retry_config=_RETRIES,
        )
    host = urlsplit(location.endpoint).netloc or "storage.googleapis.com"
    return Bucket(store, f"gs://{location.bucket}", host, known=known)


def azure_container(location: AZURE, env: Mapping[str, str]) -> Bucket:
    """A container of an Azure storage account; the account is the endpoint's first name."""
    parts = urlsplit(location.endpoint)
    # An emulator has the account in the path instead.
    account = parts.path.rpartition("/")[2] or (parts.hostname or "").partition(".")[0]
    config: AzureConfig = {"account_name": account, "endpoint": location.endpoint.rstrip("/")}
    if location.account_key_secret is not None:
        config["account_key"] = secret_value(location.account_key_secret, env)
    elif not location.use_sdk_creds:
        config["skip_signature"] = True
    return azure_store(location.container, config)


def azure_store(container: str, config: AzureConfig) -> Bucket:
    """A container by the library's own settings, of which ``endpoint`` is required."""
    endpoint = str(config["endpoint"])
    with _usable(f"azure://{container}"):
        store = AzureStore(
            container, config=config, client_options=_client(endpoint), retry_config=_RETRIES
        )
    known = not config.get("skip_signature")
    return Bucket(store, f"azure://{container}", urlsplit(endpoint).netloc, known=known)


@contextmanager
def _usable(address: str) -> Iterator[None]:
    try:
        yield
    except BaseError as error:
        why = str(error).partition("\n")[0]
        raise ArtifactError(f"the settings of {address} cannot be used: {why}") from None


def _endpoint(text: str, insecure: bool) -> str:
    """Argo's endpoints are host names; those with a scheme say themselves whether to use TLS."""
    if not text:
        return ""
    return (text if "://" in text else f"{'http' if insecure else 'https'}://{text}").rstrip("/")


def _with_bucket(url: str, bucket: str) -> str:
    scheme, _, host = url.partition("://")
    return f"{scheme}://{bucket}.{host}"


def _client(url: str, certificate: str = "") -> ClientConfig:
    options: ClientConfig = {**_PATIENCE, "allow_http": url.startswith("http://")}
    if certificate:
        options["root_certificate"] = certificate
    return options

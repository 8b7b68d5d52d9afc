"""Where an artifact outside the platform's own store lies, in the terms of Argo's manifests.

Upstream: ``ArtifactLocation`` in argo-workflows' ``workflow_types.go``. A secret is the name of an
environment variable, so that a location can be shown, logged and stored.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from kubeling.artifacts.errors import ArtifactError

__all__ = [
    "AZURE",
    "GCS",
    "HTTP",
    "OSS",
    "S3",
    "Artifactory",
    "BasicAuth",
    "ClientCert",
    "Git",
    "HTTPAuth",
    "Header",
    "Location",
    "NewBucket",
    "OAuth2",
    "OAuth2Parameter",
    "Secret",
    "secret_value",
]


class _Struct(msgspec.Struct, kw_only=True, omit_defaults=True, rename="camel"):
    """Field names as in the manifests."""


class Secret(_Struct):
    """An environment variable that holds a secret."""

    env: str


class NewBucket(_Struct):
    """How a bucket is made that is not there (``CreateS3BucketOptions``)."""

    object_locking: bool = False


class S3(_Struct, tag="s3", tag_field="kind"):
    """An object, or all objects below ``key/``, in a store that speaks S3's API."""

    bucket: str
    key: str
    endpoint: str = ""
    region: str = ""
    insecure: bool = False
    addressing_style: str = ""
    access_key_secret: Secret | None = None
    secret_key_secret: Secret | None = None
    session_token_secret: Secret | None = None
    ca_secret: Secret | None = None
    role_arn: str = msgspec.field(default="", name="roleARN")
    use_sdk_creds: bool = msgspec.field(default=False, name="useSDKCreds")
    kms_key_id: str = ""
    encrypted: bool = False
    create_bucket_if_not_present: NewBucket | None = None


class GCS(_Struct, tag="gcs", tag_field="kind"):
    """An object, or all objects below ``key/``, in Google Cloud Storage."""

    bucket: str
    key: str
    endpoint: str = ""
    service_account_key_secret: Secret | None = None
    use_sdk_creds: bool = msgspec.field(default=False, name="useSDKCreds")


class AZURE(_Struct, tag="azure", tag_field="kind"):
    """A blob, or all blobs below ``blob/``, in a container of Azure Blob Storage."""

    endpoint: str
    container: str
    blob: str
    account_key_secret: Secret | None = None
    use_sdk_creds: bool = msgspec.field(default=False, name="useSDKCreds")


class OSS(_Struct, tag="oss", tag_field="kind"):
    """An object, or all objects below ``key/``, in Alibaba Cloud's object storage."""

    endpoint: str
    bucket: str
    key: str
    access_key_secret: Secret | None = None
    secret_key_secret: Secret | None = None
    security_token: str = ""


class Header(_Struct):
    """A header of a request."""

    name: str
    value: str


class BasicAuth(_Struct):
    """A user's name and password."""

    username_secret: Secret | None = None
    password_secret: Secret | None = None


class ClientCert(_Struct):
    """A certificate, and its key, both PEM."""

    client_cert_secret: Secret
    client_key_secret: Secret


class OAuth2Parameter(_Struct):
    """One more parameter for the token's request."""

    key: str
    value: str = ""


class OAuth2(_Struct):
    """A token by the client credentials grant (RFC 6749, 4.4)."""

    client_id_secret: Secret = msgspec.field(name="clientIDSecret")
    client_secret_secret: Secret
    token_url_secret: Secret = msgspec.field(name="tokenURLSecret")
    scopes: tuple[str, ...] = ()
    endpoint_params: tuple[OAuth2Parameter, ...] = ()


class HTTPAuth(_Struct):
    """How a web server knows who asks."""

    basic_auth: BasicAuth | None = None
    oauth2: OAuth2 | None = None
    client_cert: ClientCert | None = None


class HTTP(_Struct, tag="http", tag_field="kind"):
    """A file on a web server; a PUT stores it."""

    url: str
    headers: tuple[Header, ...] = ()
    auth: HTTPAuth | None = None


class Artifactory(_Struct, tag="artifactory", tag_field="kind"):
    """A file on a JFrog Artifactory server."""

    url: str
    username_secret: Secret | None = None
    password_secret: Secret | None = None


class Git(_Struct, tag="git", tag_field="kind"):
    """A checkout of a Git repository; it can be read only."""

    repo: str
    revision: str = ""
    branch: str = ""
    single_branch: bool = False
    depth: int | None = None
    fetch: tuple[str, ...] = ()
    username_secret: Secret | None = None
    password_secret: Secret | None = None
    ssh_private_key_secret: Secret | None = None
    insecure_ignore_host_key: bool = False
    insecure_skip_tls: bool = msgspec.field(default=False, name="insecureSkipTLS")
    disable_submodules: bool = False


Location = S3 | GCS | AZURE | OSS | HTTP | Artifactory | Git


def secret_value(secret: Secret | None, env: Mapping[str, str]) -> str:
    """A secret's text, empty where there is none; raises where its variable is not set."""
    if secret is None:
        return ""
    value = env.get(secret.env)
    if value is None:
        raise ArtifactError(f"the environment variable {secret.env} is not set")
    return value

"""Making a bucket of S3 that is not there yet.

The library of object stores makes no buckets, but signs: what it signs for an empty key is the
bucket's own address. Headers cannot be signed so, which is why there are no object locks.
Upstream: ``MakeBucket`` in argo-workflows' ``workflow/artifacts/s3``.
"""

from __future__ import annotations

import io
import re
import ssl
from typing import Final

from kubeling.artifacts import web
from kubeling.artifacts.buckets import Bucket
from kubeling.artifacts.errors import ArtifactAway, ArtifactDenied, ArtifactError

__all__ = ["create"]

_CODE: Final = re.compile(rb"<Code>(\w+)</Code>")
_THERE: Final = (b"BucketAlreadyOwnedByYou", b"BucketAlreadyExists")
_NAMELESS: Final = "us-east-1"
"""The region that S3 wants not to be told."""
_WHERE: Final = (
    '<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    "<LocationConstraint>{}</LocationConstraint></CreateBucketConfiguration>"
)


def create(bucket: Bucket, region: str, certificate: str = "") -> None:
    """Makes the bucket in a region unless it is there; raises :class:`ArtifactError`."""
    body = b"" if region == _NAMELESS else _WHERE.format(region).encode()
    context = ssl.create_default_context(cadata=certificate) if certificate else None
    try:
        web.put(bucket.address_to_make_it(), io.BytesIO(body), len(body), {}, context)
    except web.HttpStatus as error:
        code = found[1] if (found := _CODE.search(error.body)) else b""
        if code not in _THERE:
            raise _refused(bucket, error, code.decode()) from None


def _refused(bucket: Bucket, error: web.HttpStatus, code: str) -> ArtifactError:
    text = f"failed to create bucket {bucket.address}: {error} {code}".rstrip()
    if error.status in (401, 403):
        return ArtifactDenied(f"{text}; let its keys make buckets, or make it first")
    # Somebody else may be making it at this moment.
    away = error.status == 429 or error.status >= 500 or code == "OperationAborted"
    return (ArtifactAway if away else ArtifactError)(text)

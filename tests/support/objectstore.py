"""An object store in memory that speaks three protocols: S3's, Google's (XML) and Azure's.

Buckets are made beforehand or, in S3, by a PUT that is signed. A bucket whose name begins with
``private`` asks who is there: for S3 and Azure the account ``key``, for Google any token.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

PAGE: Final = 2
"""Objects to a page of a listing."""
_STAMP: Final = "2026-01-01T00:00:00.000Z"
_HTTP_STAMP: Final = "Thu, 01 Jan 2026 00:00:00 GMT"


class ObjectStoreServer:
    """``buckets`` has the objects' bytes by bucket and key; it keeps them when it goes away."""

    def __init__(
        self,
        handler: type[BaseHTTPRequestHandler],
        buckets: dict[str, dict[str, bytes]],
        address: str,
    ) -> None:
        self.buckets = buckets
        self._address = address
        self._handler = handler
        self._server: ThreadingHTTPServer | None = None
        self._port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"http://{self._address}:{self._port}"

    def start(self) -> None:
        """Serves, again on the port it had."""
        self._server = ThreadingHTTPServer((self._address, self._port), self._handler)
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Goes away: connections are refused."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    @property
    def azure(self) -> str:
        """The endpoint of the Azure account ``key``."""
        return f"{self.url}/azure/key"


@contextmanager
def object_store(
    address: str = "127.0.0.1", /, **buckets: dict[str, bytes]
) -> Iterator[ObjectStoreServer]:
    """Serves the buckets given on a free port."""
    uploads: dict[str, dict[int | str, bytes]] = {}

    class Handler(_Handler):
        stored = buckets
        parts = uploads

    server = ObjectStoreServer(Handler, buckets, address)
    try:
        yield server
    finally:
        server.stop()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    stored: dict[str, dict[str, bytes]]
    parts: dict[str, dict[int | str, bytes]]

    def _handle(self) -> None:
        split = urlsplit(self.path)
        self.query = {k: v[0] for k, v in parse_qs(split.query, keep_blank_values=True).items()}
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(split.path).lstrip("/")
        azure = path.startswith("azure/key/")
        bucket, _, key = path.removeprefix("azure/key/").partition("/")
        if self.command == "PUT" and not azure and not key:
            self._make(bucket)
        elif bucket not in self.stored:
            code = "ContainerNotFound" if azure else "NoSuchBucket"
            self._answer(404, f"<Error><Code>{code}</Code></Error>".encode())
        elif bucket.startswith("private") and not self._knows_us():
            self._answer(403, b"<Error><Code>AccessDenied</Code></Error>")
        elif azure:
            self._azure(self.stored[bucket], bucket, key)
        else:
            self._s3(self.stored[bucket], bucket, key)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _handle  # noqa: N815

    def _make(self, bucket: str) -> None:
        who = self.query.get("X-Amz-Credential", "")
        if not (who.startswith("key/") if bucket.startswith("private") else who):
            self._answer(403, b"<Error><Code>AccessDenied</Code></Error>")
        elif bucket in self.stored:
            self._answer(409, b"<Error><Code>BucketAlreadyOwnedByYou</Code></Error>")
        else:
            self.stored[bucket] = {}
            self._answer(200, b"")

    def _knows_us(self) -> bool:
        who = self.headers.get("Authorization") or ""
        return who.startswith(("AWS4-HMAC-SHA256 Credential=key/", "SharedKey key:", "Bearer "))

    def _s3(self, objects: dict[str, bytes], bucket: str, key: str) -> None:
        match self.command:
            case "GET" if not key:
                self._list(objects)
            case "POST" if "delete" in self.query:
                names = re.findall(r"<Key>(.*?)</Key>", self.body.decode())
                for name in names:
                    objects.pop(name, None)
                deleted = "".join(f"<Deleted><Key>{name}</Key></Deleted>" for name in names)
                self._xml("DeleteResult", deleted)
            case "POST" if "uploads" in self.query:
                upload = hashlib.sha256(f"{bucket}/{key}".encode()).hexdigest()[:16]
                self.parts[upload] = {}
                whose = f"<Bucket>{bucket}</Bucket><Key>{escape(key)}</Key>"
                self._xml("InitiateMultipartUploadResult", f"{whose}<UploadId>{upload}</UploadId>")
            case "PUT" if "partNumber" in self.query:
                self.parts[self.query["uploadId"]][int(self.query["partNumber"])] = self.body
                self._answer(200, b"", {"ETag": '"part"'})
            case "POST" if "uploadId" in self.query:
                parts = self.parts.pop(self.query["uploadId"])
                objects[key] = b"".join(data for _, data in sorted(parts.items()))  # type: ignore[type-var]
                whose = f"<Bucket>{bucket}</Bucket><Key>{escape(key)}</Key>"
                self._xml("CompleteMultipartUploadResult", f'{whose}<ETag>"whole"</ETag>')
            case _:
                self._object(objects, key)

    def _azure(self, objects: dict[str, bytes], bucket: str, key: str) -> None:
        match self.command, self.query.get("comp"):
            case "GET", "list":
                self._list_blobs(objects)
            case "POST", "batch":
                self._delete_blobs(objects, bucket)
            case "PUT", "block":
                self.parts.setdefault(f"{bucket}/{key}", {})[self.query["blockid"]] = self.body
                self._answer(201, b"")
            case "PUT", "blocklist":
                parts = self.parts.pop(f"{bucket}/{key}")
                names = re.findall(r"<Uncommitted>(.*?)</Uncommitted>", self.body.decode())
                objects[key] = b"".join(parts[name] for name in names)
                self._answer(201, b"", {"ETag": '"whole"', "Last-Modified": _HTTP_STAMP})
            case _:
                self._object(objects, key)

    def _delete_blobs(self, objects: dict[str, bytes], bucket: str) -> None:
        parts = []
        wanted = re.findall(r"^DELETE (\S+) ", self.body.decode(), re.MULTILINE)
        for number, path in enumerate(wanted):
            key = unquote(urlsplit(path).path).partition(f"/{bucket}/")[2]
            status = "404 Not Found" if objects.pop(key, None) is None else "202 Accepted"
            parts += ["--b", "Content-Type: application/http", f"Content-ID: {number}", ""]
            parts += [f"HTTP/1.1 {status}", "x-ms-request-id: 1", "", ""]
        body = "\r\n".join([*parts, "--b--", ""]).encode()
        self._answer(202, body, {"Content-Type": "multipart/mixed; boundary=b"})

    def _object(self, objects: dict[str, bytes], key: str) -> None:
        headers = {"ETag": '"e"', "Last-Modified": _HTTP_STAMP, "x-ms-blob-type": "BlockBlob"}
        match self.command:
            case "PUT":
                objects[key] = self.body
                self._answer(201 if "x-ms-version" in self.headers else 200, b"", headers)
            case "DELETE":
                gone = objects.pop(key, None)
                self._answer(404 if gone is None else 202, b"")
            case _ if key in objects:
                self._part(objects[key], headers)
            case _:
                self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")

    def _part(self, content: bytes, headers: dict[str, str]) -> None:
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range") or "")
        if wanted is None:
            self._answer(200, content, headers)
            return
        start, end = int(wanted[1]), min(int(wanted[2]), len(content) - 1)
        shown = {"Content-Range": f"bytes {start}-{end}/{len(content)}"}
        self._answer(206, content[start : end + 1], headers | shown)

    def _page(self, objects: dict[str, bytes], token: str) -> tuple[list[str], str]:
        keys = sorted(k for k in objects if k.startswith(self.query.get("prefix", "")))
        start = int(token or 0)
        rest = str(start + PAGE) if start + PAGE < len(keys) else ""
        return keys[start : start + PAGE], rest

    def _list(self, objects: dict[str, bytes]) -> None:
        keys, rest = self._page(objects, self.query.get("continuation-token", ""))
        found = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>{_STAMP}</LastModified>"
            f'<ETag>"e"</ETag><Size>{len(objects[key])}</Size></Contents>'
            for key in keys
        )
        more = f"<NextContinuationToken>{rest}</NextContinuationToken>" if rest else ""
        self._xml("ListBucketResult", found + more)

    def _list_blobs(self, objects: dict[str, bytes]) -> None:
        keys, rest = self._page(objects, self.query.get("marker", ""))
        found = "".join(
            f"<Blob><Name>{escape(key)}</Name><Properties><Last-Modified>{_HTTP_STAMP}"
            f"</Last-Modified><Content-Length>{len(objects[key])}</Content-Length>"
            "<Content-Type>application/octet-stream</Content-Type><Etag>e</Etag></Properties></Blob>"
            for key in keys
        )
        self._xml("EnumerationResults", f"<Blobs>{found}</Blobs><NextMarker>{rest}</NextMarker>")

    def _xml(self, element: str, content: str) -> None:
        namespace = "http://s3.amazonaws.com/doc/2006-03-01/"
        self._answer(200, f'<{element} xmlns="{namespace}">{content}</{element}>'.encode())

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return

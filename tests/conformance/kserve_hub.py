"""The Hugging Face Hub with twins of the models that upstream's tests name.

As much of its API as fetching a snapshot takes: a listing of a repository's files, whatever the
revision, and the files.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

__all__ = ["model_hub"]

_COMMIT: Final = "0" * 40


@contextmanager
def model_hub(folder: Path, host: str) -> Iterator[str]:
    """Serves the folders below one as repositories; gives the address for ``HF_ENDPOINT``."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            found = _answer(folder, self.path.partition("?")[0])
            self.send_response(404 if found is None else 200)
            self.send_header("Content-Length", str(len(found or b"")))
            self.end_headers()
            self.wfile.write(found or b"")

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer((host, 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://{host}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def _answer(folder: Path, path: str) -> bytes | None:
    if path.startswith("/api/models/"):
        name = path.removeprefix("/api/models/").partition("/revision/")[0]
        files = [p for p in (folder / name).rglob("*") if p.is_file()]
        named = [{"rfilename": str(file.relative_to(folder / name))} for file in files]
        return json.dumps({"sha": _COMMIT, "siblings": named}).encode() if named else None
    name, _, rest = path.strip("/").partition("/resolve/")
    file = folder / name / rest.partition("/")[2]
    return file.read_bytes() if file.is_file() else None

"""Starts a command in another pod, as ssh would on another machine: ``podexec.py POD COMMAND…``.

The launcher of an MPIJob carries this file in its ConfigMap and names it to ``mpirun`` as the agent
that starts its daemons. It speaks to ``pods/exec`` with the launcher's own account, over a
websocket, and uses nothing but the standard library, so that any Python an image happens to have
will do. It waits for a pod that does not run yet, passes on what the command says at its end, and
ends as the command does.

The command has a session of its own, which outlives the stream: when the API goes away for a while
the daemons still speak to ``mpirun``, which therefore is not told of a failure.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import ssl
import struct
import sys
import time
import urllib.parse
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
PROTOCOL = "v4.channel.k8s.io"
STDOUT, STDERR, STATUS = 1, 2, 3
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
WAIT_SECONDS = 600.0
DENIED_SECONDS = 30.0
STARTED = b"podexec: started\n"
RUN = """\
printf 'podexec: started\\n'
command -v setsid >/dev/null || exec /bin/sh -c "$1"
said=$(mktemp) || exit 1
setsid /bin/sh -c "$1" >"$said" 2>&1 </dev/null &
wait $!
code=$?
cat "$said"
rm -f "$said"
exit $code
"""


class Lost(Exception):
    """The API could not be reached, or its stream broke off."""


class Denied(Lost):
    """The account may not do it; the right follows the pods that it is about, after a moment."""


class Api:
    """The API server as the pod's own account reaches it."""

    def __init__(self) -> None:
        self.host = os.environ["KUBERNETES_SERVICE_HOST"]
        self.port = int(os.environ.get("KUBERNETES_SERVICE_PORT", "443"))
        self.namespace = (ACCOUNT / "namespace").read_text().strip()
        self.headers = {"Authorization": "Bearer " + (ACCOUNT / "token").read_text().strip()}
        self.tls = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))

    def path(self, pod: str) -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods/{pod}"

    def phase(self, pod: str) -> str:
        """The pod's phase; ``Pending`` while it is not there."""
        connection = HTTPSConnection(self.host, self.port, context=self.tls, timeout=30)
        try:
            connection.request("GET", self.path(pod), headers=self.headers)
            answer = connection.getresponse()
            text = answer.read()
        except HTTPException as error:
            raise Lost(f"the API answered with {error!r}") from error
        finally:
            connection.close()
        if answer.status == 404:
            return "Pending"
        if answer.status != 200:
            refuse(answer.status, text)
        body = json.loads(text)
        return str((body.get("status") or {}).get("phase") or "Pending")

    def execute(self, pod: str, container: str, command: str) -> Stream:
        """Starts the command and returns the stream of what it says."""
        query = [("command", word) for word in ("/bin/sh", "-c", RUN, "podexec", command)]
        query += [("stdout", "true"), ("stderr", "true")]
        if container:
            query.append(("container", container))
        raw = socket.create_connection((self.host, self.port), 30)
        stream = self.tls.wrap_socket(raw, server_hostname=self.host)
        lines = [
            f"GET {self.path(pod)}/exec?{urllib.parse.urlencode(query)} HTTP/1.1",
            f"Host: {self.host}:{self.port}",
            *(f"{key}: {value}" for key, value in self.headers.items()),
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: " + base64.b64encode(os.urandom(16)).decode(),
            "Sec-WebSocket-Protocol: " + PROTOCOL,
        ]
        stream.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        return Stream(stream)


class Stream:
    """A websocket from its handshake on, as far as an exec needs one."""

    def __init__(self, stream: ssl.SSLSocket) -> None:
        self.socket = stream
        self.buffer = b""
        self.started = False
        while b"\r\n\r\n" not in self.buffer:
            self.fill()
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        if status != 101:
            refuse(status, self.buffer or head)
        # A command may say nothing for as long as it runs.
        stream.settimeout(None)

    def fill(self) -> None:
        data = self.socket.recv(1 << 16)
        if not data:
            raise Lost("the connection to the API ended before the command did")
        self.buffer += data

    def take(self, count: int) -> bytes:
        while len(self.buffer) < count:
            self.fill()
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def frame(self) -> tuple[int, bytes]:
        """The next frame: what it is, and what it carries."""
        first, length = self.take(2)
        length &= 0x7F
        if length == 126:
            (length,) = struct.unpack(">H", self.take(2))
        elif length == 127:
            (length,) = struct.unpack(">Q", self.take(8))
        return first & 0x0F, self.take(length)

    def answer(self, opcode: int, payload: bytes) -> None:
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
        self.socket.sendall(bytes([0x80 | opcode, 0x80 | len(payload)]) + mask + masked)

    def follow(self) -> int:
        """Passes on what the command says; returns how it ended."""
        outputs = {STDOUT: sys.stdout.buffer, STDERR: sys.stderr.buffer}
        while True:
            opcode, payload = self.frame()
            if opcode == PING:
                self.answer(PONG, payload)
            elif opcode == CLOSE:
                raise Lost("the API closed the stream before the command ended")
            elif opcode in (TEXT, BINARY) and payload:
                channel, data = payload[0], payload[1:]
                if channel == STATUS:
                    return exit_code(json.loads(data))
                if not self.started and data.startswith(STARTED):
                    self.started, data = True, data[len(STARTED) :]
                outputs[channel].write(data)
                outputs[channel].flush()


def refuse(status: int, said: bytes) -> None:
    """Ends the program where asking again is of no use; an API that starts may answer with 5xx."""
    text = said.decode(errors="replace")
    if status == 403:
        raise Denied(text)
    if status in (400, 401):
        raise SystemExit("podexec: the API refused: " + text)
    raise Lost(text)


def exit_code(status: dict[str, Any]) -> int:
    """The command's exit code, from the Status that ends an exec."""
    if status.get("status") == "Success":
        return 0
    for cause in (status.get("details") or {}).get("causes") or ():
        if cause.get("reason") == "ExitCode":
            return int(cause["message"])
    print("podexec: " + str(status.get("message")), file=sys.stderr)
    return 1


def run(api: Api, pod: str, container: str, command: str) -> int:
    """Waits until the pod runs, starts the command in it and follows it to its end."""
    began, pause = time.monotonic(), 0.05
    why = ""
    while time.monotonic() < began + WAIT_SECONDS:
        stream = None
        try:
            phase = api.phase(pod)
            if phase in ("Succeeded", "Failed"):
                raise SystemExit(f"podexec: pod {pod} has ended ({phase})")
            if phase == "Running":
                stream = api.execute(pod, container, command)
                return stream.follow()
            why = f"it is {phase}"
        except (Lost, OSError) as error:
            if stream is not None and stream.started:
                print(f"podexec: {error}; it goes on", file=sys.stderr)
                return 0
            if isinstance(error, Denied) and time.monotonic() > began + DENIED_SECONDS:
                raise SystemExit(f"podexec: the API refused: {error}") from None
            why = str(error)
        time.sleep(pause)
        pause = min(pause * 1.5, 1.0)
    raise SystemExit(f"podexec: pod {pod} did not run within {WAIT_SECONDS:.0f} s: {why}")


def main() -> int:
    container = os.environ.get("KUBELING_MPI_CONTAINER", "")
    return run(Api(), sys.argv[1], container, " ".join(sys.argv[2:]))


if __name__ == "__main__":
    sys.exit(main())

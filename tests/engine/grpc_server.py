"""A gRPC server of ``grpc.health.v1.Health`` that answers as told: ``PORT STATUS [GRPC-CODE]``."""

import socket
import sys

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import StreamEnded


def answer(connection: H2Connection, stream: int, status: int, code: str) -> None:
    headers = [(":status", "200"), ("content-type", "application/grpc")]
    if code != "0":
        trailers = [*headers, ("grpc-status", code), ("grpc-message", "no such method")]
        connection.send_headers(stream, trailers, end_stream=True)
        return
    message = bytes([8, status]) if status else b""
    connection.send_headers(stream, headers)
    connection.send_data(stream, b"\0" + len(message).to_bytes(4, "big") + message)
    connection.send_headers(stream, [("grpc-status", "0")], end_stream=True)


def serve(client: socket.socket, status: int, code: str) -> None:
    connection = H2Connection(H2Configuration(client_side=False))
    connection.initiate_connection()
    while data := client.recv(65536):
        for event in connection.receive_data(data):
            if isinstance(event, StreamEnded):
                answer(connection, event.stream_id, status, code)
        client.sendall(connection.data_to_send())


if __name__ == "__main__":
    port, status, *rest = sys.argv[1:]
    with socket.create_server(("", int(port))) as server:
        while True:
            accepted, _ = server.accept()
            with accepted:
                serve(accepted, int(status), rest[0] if rest else "0")

"""The official client's stream module against the pod of test_streams.py."""

from __future__ import annotations

import io
import json
import tarfile
import time

from kubernetes import client, config
from kubernetes.stream import portforward, stream

POD, NAMESPACE = "streams", "default"


def runs_a_command(api: client.CoreV1Api) -> None:
    said = stream(
        api.connect_get_namespaced_pod_exec, POD, NAMESPACE, container="talker",
        command=["sh", "-c", "echo out; echo err >&2"],
        stdin=False, stdout=True, stderr=True, tty=False,
    )  # fmt: skip
    assert sorted(said.split()) == ["err", "out"], said


def talks_to_a_command(api: client.CoreV1Api) -> None:
    shell = stream(
        api.connect_get_namespaced_pod_exec, POD, NAMESPACE, container="talker",
        command=["sh"], stdin=True, stdout=True, stderr=True, tty=False, _preload_content=False,
    )  # fmt: skip
    shell.write_stdin("echo on $((40+2)); echo no >&2\n")
    assert shell.readline_stdout(timeout=20) == "on 42"
    assert shell.readline_stderr(timeout=20) == "no"
    shell.write_stdin("exit 3\n")
    shell.run_forever(timeout=20)
    outcome = json.loads(shell.read_channel(3))
    assert outcome["details"]["causes"][0]["message"] == "3", outcome


def sits_at_a_terminal(api: client.CoreV1Api) -> None:
    shell = stream(
        api.connect_get_namespaced_pod_exec, POD, NAMESPACE, container="talker",
        command=["sh"], stdin=True, stdout=True, stderr=False, tty=True, _preload_content=False,
    )  # fmt: skip
    shell.write_channel(4, json.dumps({"Width": 91, "Height": 21}))
    shell.write_stdin("stty size; exit\n")
    shell.run_forever(timeout=20)
    assert "21 91" in shell.read_stdout()


def copies_a_file(api: client.CoreV1Api) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        entry = tarfile.TarInfo("from-python")
        entry.size = 2_000_000
        archive.addfile(entry, io.BytesIO(b"x" * entry.size))
    unpack = stream(
        api.connect_get_namespaced_pod_exec, POD, NAMESPACE, container="talker",
        command=["tar", "xf", "-", "-C", "/tmp"], stdin=True, stdout=True, stderr=True, tty=False,
        _preload_content=False, binary=True,
    )  # fmt: skip
    data = packed.getvalue()
    for start in range(0, len(data), 100_000):
        unpack.write_stdin(data[start : start + 100_000])
    unpack.run_forever(timeout=20)
    assert unpack.returncode == 0
    size = stream(
        api.connect_get_namespaced_pod_exec, POD, NAMESPACE, container="talker",
        command=["wc", "-c", "/tmp/from-python"], stdin=False, stdout=True, stderr=True, tty=False,
    )  # fmt: skip
    assert size.split()[0] == "2000000", size


def attaches(api: client.CoreV1Api) -> None:
    attached = stream(
        api.connect_get_namespaced_pod_attach, POD, NAMESPACE, container="talker",
        stdin=True, stdout=True, stderr=True, tty=False, _preload_content=False,
    )  # fmt: skip
    attached.write_stdin("python\n")
    assert attached.readline_stdout(timeout=20) == "got python"
    attached.close()


def forwards_a_port(api: client.CoreV1Api) -> None:
    forwarded = portforward(
        api.connect_get_namespaced_pod_portforward, POD, NAMESPACE, ports="8000"
    )
    socket = forwarded.socket(8000)
    socket.settimeout(20)
    socket.sendall(b"GET / HTTP/1.0\r\n\r\n")
    answer = b""
    while piece := socket.recv(4096):
        answer += piece
    socket.close()
    assert answer.endswith(b"inner\n"), answer
    assert forwarded.error(8000) is None


def main() -> None:
    config.load_kube_config()
    api = client.CoreV1Api()
    for check in (
        runs_a_command, talks_to_a_command, sits_at_a_terminal, copies_a_file, attaches,
        forwards_a_port,
    ):  # fmt: skip
        begun = time.monotonic()
        check(api)
        print(f"{check.__name__}: {time.monotonic() - begun:.2f} s")


if __name__ == "__main__":
    main()

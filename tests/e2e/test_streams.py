"""Logs, commands, terminals, copies and forwarded ports, with the unmodified kubectl."""

from __future__ import annotations

import contextlib
import fcntl
import filecmp
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.client_python import python_with
from tests.support.platform import Platform

pytestmark = pytest.mark.e2e

PODS = """
apiVersion: v1
kind: Pod
metadata: {name: streams, labels: {app: streams}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: loopback
    image: python:3.11
    workingDir: /tmp
    command: [sh, -c, "echo inner > index.html; exec python3 -m http.server 8000 -b 127.0.0.1"]
  - name: web
    image: python:3.11
    workingDir: /tmp
    command: [sh, -c, "mkdir d; echo deep > d/index.html; exec python3 -m http.server 8001"]
    ports: [{name: http, containerPort: 8001}]
    readinessProbe: {tcpSocket: {port: http}, periodSeconds: 1}
  - name: talker
    image: busybox
    command: [sh, -c, "echo to-out; echo to-err >&2; while read line; do echo got $line; done"]
    stdin: true
---
apiVersion: v1
kind: Service
metadata: {name: streams}
spec:
  selector: {app: streams}
  ports: [{name: http, port: 80, targetPort: http}]
"""

PYTHON_CLIENT = Path(__file__).parent / "clients" / "streams.py"


@pytest.fixture(scope="module")
def pods(solo: Platform) -> Iterator[Platform]:
    """A platform with a pod to talk to."""
    solo.kubectl("apply", "-f", "-", stdin=PODS)
    solo.kubectl("wait", "--for=condition=Ready", "pod/streams", "--timeout=120s")
    yield solo
    solo.kubectl("delete", "pod/streams", "service/streams")


TWO = """
apiVersion: v1
kind: Pod
metadata: {name: two}
spec:
  restartPolicy: Never
  containers:
  - {name: a, image: busybox, command: [sh, -c, "echo a says; sleep 1; echo a ends"]}
  - {name: b, image: busybox, command: [sh, -c, "echo b says; sleep 1; echo b ends"]}
"""


class Terminal:
    """A kubectl on a terminal of 97 columns and 31 rows, as a person sits at it."""

    def __init__(self, platform: Platform, *arguments: str) -> None:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 31, 97, 0, 0))
        self._process = subprocess.Popen(
            ["kubectl", *arguments],
            env=platform.environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self._file = ours
        self.text = ""

    def type(self, text: str) -> None:
        os.write(self._file, text.encode())

    def shows(self, text: str, seconds: float = 60) -> None:
        """Waits until something appears that was not there before."""
        deadline = time.monotonic() + seconds
        while text not in self.text:
            ready, _, _ = select.select([self._file], [], [], deadline - time.monotonic())
            assert ready, f"{text!r} never appeared: {self.text!r}"
            self.text += self._read().decode()
        self.text = self.text.partition(text)[2]

    def ends(self) -> int:
        """Reads to the end; the exit code."""
        while data := self._read():
            self.text += data.decode()
        os.close(self._file)
        return self._process.wait(60)

    def kill(self) -> None:
        """Goes away without a word."""
        self._process.kill()
        self._process.wait()
        os.close(self._file)

    def _read(self) -> bytes:
        with contextlib.suppress(OSError):  # nobody has the terminal open any more
            return os.read(self._file, 4096)
        return b""


@contextlib.contextmanager
def forwarded(
    platform: Platform, target: str, port: int
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """``kubectl port-forward`` to a free port; gives where it listens."""
    command = ["kubectl", "port-forward", target, f":{port}"]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, env=platform.environment, stdout=pipe, stderr=pipe, text=True
    ) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"127\.0\.0\.1:(\d+)", process.stdout.readline())
            assert found is not None
            yield f"http://127.0.0.1:{found[1]}", process
        finally:
            process.kill()


def test_a_shell_on_a_terminal(pods: Platform) -> None:
    terminal = Terminal(pods, "exec", "-it", "streams", "-c", "talker", "--", "sh")
    terminal.type("stty size; tty\n")
    terminal.shows("31 97\r\n")
    terminal.shows("/dev/pts/")
    terminal.type("sleep 100\n")
    terminal.shows("sleep 100\r\n")
    terminal.type("\x03")
    terminal.shows("^C")
    terminal.type("exit 5\n")
    assert terminal.ends() == 5
    assert "exit code 5" in terminal.text


def test_run_is_a_shell_that_is_gone_afterwards(solo: Platform) -> None:
    run = ["run", "-it", "--rm", "--restart=Never", "--image=busybox", "shell", "--", "sh"]
    terminal = Terminal(solo, *run)
    terminal.shows("# ")  # the prompt, without pressing enter
    terminal.type("stty size; exit 4\n")
    terminal.shows("31 97\r\n")
    assert terminal.ends() == 4
    assert "not found" in solo.run("kubectl", "get", "pod", "shell", check=False).stderr


def test_run_passes_a_file_through(solo: Platform) -> None:
    run = ["run", "-i", "--rm", "--quiet", "--restart=Never", "--image=busybox", "filter", "--"]
    done = solo.run("kubectl", *run, "sh", "-c", "wc -c; exit 3", stdin="x" * 100_000, check=False)
    assert (done.stdout.split(), done.returncode) == (["100000"], 3), done.stderr


def test_input_and_output_of_a_command(pods: Platform) -> None:
    exec_in = ["kubectl", "exec", "-i", "streams", "-c", "talker", "--"]
    script = "wc -c; echo no >&2; exit 7"
    done = pods.run(*exec_in, "sh", "-c", script, stdin="x" * 3_000_000, check=False)
    assert done.stdout.strip() == "3000000"
    assert done.returncode == 7
    assert done.stderr.startswith("no\n")


def test_attach_talks_to_the_containers_command(pods: Platform) -> None:
    with subprocess.Popen(
        ["kubectl", "attach", "-i", "streams", "-c", "talker"],
        env=pods.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as attached:
        assert attached.stdin is not None
        assert attached.stdout is not None
        attached.stdin.write("me\n")
        attached.stdin.flush()
        assert attached.stdout.readline() == "got me\n"
        attached.kill()
    assert "got me" in pods.kubectl("logs", "streams", "-c", "talker")


def test_files_and_folders_are_copied_both_ways(pods: Platform, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "text").write_text("hello")
    big = folder / "big"
    with big.open("wb") as file:
        for number in range(100):
            file.write(bytes([number]) * 1_000_000)
    pods.kubectl("cp", str(folder), "streams:/tmp/copied", "-c", "talker")
    pods.kubectl("cp", "streams:/tmp/copied", str(tmp_path / "back"), "-c", "talker")
    assert (tmp_path / "back" / "sub" / "text").read_text() == "hello"
    assert filecmp.cmp(big, tmp_path / "back" / "big", shallow=False)
    assert _peak_memory(pods.endpoints["pid"]) < 400 << 20


def _peak_memory(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) << 10


@pytest.mark.parametrize(
    ("target", "port", "path", "text"),
    [("pod/streams", 8000, "/", b"inner\n"), ("svc/streams", 80, "/d/", b"deep\n")],
)
def test_ports_are_forwarded(
    pods: Platform, target: str, port: int, path: str, text: bytes
) -> None:
    with forwarded(pods, target, port) as (url, _):
        for _ in range(3):
            with urllib.request.urlopen(f"{url}{path}", timeout=20) as answer:
                assert answer.read() == text


def test_a_port_nobody_listens_on_is_told(pods: Platform) -> None:
    with forwarded(pods, "pod/streams", 9) as (url, process):
        with pytest.raises(OSError):
            urllib.request.urlopen(url, timeout=20)
        assert process.stderr is not None
        assert "failed to connect to localhost:9 inside the pod" in process.stderr.readline()


def test_logs_of_one_stream_with_times_and_of_all_containers(pods: Platform) -> None:
    path = "/api/v1/namespaces/default/pods/streams/log?container=talker"
    assert pods.kubectl("get", "--raw", f"{path}&stream=Stderr") == "to-err\n"
    assert pods.kubectl("get", "--raw", f"{path}&stream=Stdout").startswith("to-out\n")
    refused = pods.run("kubectl", "get", "--raw", f"{path}&stream=Both", check=False)
    assert 'supported values: "All", "Stderr", "Stdout"' in refused.stderr
    logs = ["logs", "streams", "-c", "talker"]
    assert re.match(r"20\d\d-\S+Z to-", pods.kubectl(*logs, "--timestamps", "--tail=-1"))
    assert pods.kubectl(*logs, "--limit-bytes=3") == "to-"
    assert "to-out" in pods.kubectl(*logs, "--since=1h")
    prefixed = pods.kubectl("logs", "-l", "app=streams", "--all-containers", "--prefix")
    assert "[pod/streams/talker] to-out" in prefixed


def test_logs_of_the_run_before(solo: Platform) -> None:
    script = "test -e /tmp/x && sleep 100; echo first run; exit 1"
    solo.kubectl("run", "again", "--image=busybox", "--", "sh", "-c", script)
    solo.until(lambda p: _restarts(p) > 0, "pod", "again")
    assert solo.kubectl("logs", "again", "--previous") == "first run\n"
    solo.kubectl("delete", "pod", "again", "--now")


def _restarts(pod: dict[str, Any]) -> int:
    statuses = pod.get("status", {}).get("containerStatuses") or [{}]
    return int(statuses[0].get("restartCount", 0))


def test_following_several_containers_at_once(solo: Platform) -> None:
    solo.kubectl("apply", "-f", "-", stdin=TWO)
    solo.kubectl("wait", "--for=jsonpath={.status.phase}=Running", "pod/two", "--timeout=60s")
    lines = solo.kubectl("logs", "-f", "two", "--all-containers").splitlines()
    assert sorted(lines) == ["a ends", "a says", "b ends", "b says"]
    solo.kubectl("delete", "pod", "two", "--now")


def test_mistakes_are_explained(pods: Platform) -> None:
    def refused(*arguments: str) -> str:
        done = pods.run("kubectl", *arguments, check=False)
        assert done.returncode != 0
        return done.stderr

    listed = "choose one of: [loopback web talker]"
    assert listed in refused("exec", "streams", "-c", "nope", "--", "true")
    path = "/api/v1/namespaces/default/pods/streams/log"
    assert listed in refused("get", "--raw", f"{path}?container=nope")
    assert "not found in $PATH" in refused("exec", "streams", "-c", "web", "--", "no-such-program")
    assert 'pods "absent" not found' in refused("exec", "absent", "--", "true")


def test_services_and_pods_answer_through_the_api_server(pods: Platform) -> None:
    def read(path: str) -> str:
        return pods.kubectl("get", "--raw", f"/api/v1/namespaces/default/{path}")

    assert read("services/streams:80/proxy/d/") == "deep\n"
    assert read("services/http:streams:http/proxy/d/index.html") == "deep\n"
    assert read("pods/streams:8001/proxy/d/") == "deep\n"


def test_the_python_clients_stream_module(pods: Platform) -> None:
    python = python_with("kubernetes==37.0.2")
    pods.run(str(python), str(PYTHON_CLIENT))


def test_nothing_is_left_of_any_stream(pods: Platform) -> None:
    """The platform's own descriptors do not grow with the streams, nor the pod's processes."""

    def state() -> tuple[list[str], str]:
        folder = f"/proc/{pods.endpoints['pid']}/fd"
        files = sorted(target for name in os.listdir(folder) if (target := _target(folder, name)))
        count = "ls /proc | grep -c '^[0-9]'"
        return files, pods.kubectl("exec", "streams", "-c", "talker", "--", "sh", "-c", count)

    rounds = 3
    before, processes = state()
    for _ in range(rounds):
        terminal = Terminal(pods, "exec", "-it", "streams", "-c", "talker", "--", "sh")
        terminal.type("sleep 1000 & echo on-$((40+2))\n")
        terminal.shows("on-42")
        terminal.kill()
        with forwarded(pods, "pod/streams", 8000) as (url, _):
            urllib.request.urlopen(url, timeout=20).close()
        follow = ["kubectl", "logs", "-f", "streams", "-c", "talker"]
        pipe = subprocess.PIPE
        with subprocess.Popen(follow, env=pods.environment, stdout=pipe) as following:
            assert following.stdout is not None
            following.stdout.readline()
            following.kill()
    for _ in range(100):
        after, left = state()
        # Other connections and files of the platform come and go meanwhile.
        if len(after) < len(before) + rounds and left == processes:
            return
    raise AssertionError(f"{processes} became {left}; {before} became {after}")


def _target(folder: str, name: str) -> str:
    with contextlib.suppress(FileNotFoundError):  # closed meanwhile
        return os.readlink(f"{folder}/{name}")
    return ""

"""Pods notice nothing while the platform is away: names resolve, Services lead to their pods."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.platform import Platform, started
from tests.support.processes import processes_of

pytestmark = pytest.mark.e2e

Obj = dict[str, Any]

SERVER = """
import socketserver
class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile: self.wfile.write(line)
with socketserver.ThreadingTCPServer(("", 7070), Echo) as server: server.serve_forever()
"""
CALLER = """
import json, pathlib, socket, ssl, time, urllib.request
def say(channel, text):
    channel.sendall(text.encode() + b"\\n")
    return channel.makefile().readline().strip()
def waits_for(name):
    while not pathlib.Path(name).exists(): time.sleep(0.05)
def tell(name, told):
    pathlib.Path("writing").write_text(json.dumps(told))
    pathlib.Path("writing").rename(name)
def call():
    return socket.create_connection(("echo", 7070))
early = call()
tell("begun", say(early, "early"))
waits_for("away")
tell("meanwhile", [say(early, "still"), say(call(), "new")])
loose = ssl.create_default_context()
loose.check_hostname, loose.verify_mode = False, ssl.CERT_NONE
with urllib.request.urlopen("https://kubernetes.default.svc/readyz", context=loose) as answer:
    tell("afterwards", answer.read().decode())
"""


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Platform]:
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    with started(tmp_path / "data", workspace) as platform:
        yield platform


def pod(name: str, script: str) -> Obj:
    main = {"name": "main", "image": "python", "command": ["python3", "-uc", script]}
    if name == "echo":
        main["readinessProbe"] = {"tcpSocket": {"port": 7070}, "periodSeconds": 1}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"restartPolicy": "Never", "containers": [main]},
    }


def test_pods_find_each_other_while_the_platform_is_away(own: Platform) -> None:
    own.kubectl("apply", "-f", "-", stdin=json.dumps(pod("echo", SERVER)))
    own.kubectl("expose", "pod", "echo", "--port=7070")
    own.kubectl("wait", "pod/echo", "--for=condition=Ready", "--timeout=60s")
    own.kubectl("apply", "-f", "-", stdin=json.dumps(pod("caller", CALLER)))
    assert told(own, "begun") == "early"
    own.kill()

    (own.workspace / "away").touch()
    assert told(own, "meanwhile") == ["still", "new"]

    own.start()
    assert told(own, "afterwards") == "ok"
    own.until(lambda o: o["status"].get("phase") == "Succeeded", "pod", "caller")
    own.kubeling("down", "--data-dir", str(own.data_dir))
    assert processes_of(own.data_dir) == []


def told(platform: Platform, name: str) -> Any:
    """What the caller has to say, as soon as it has said it."""
    deadline = time.monotonic() + 60
    while not (platform.workspace / name).exists():
        assert time.monotonic() < deadline, platform.kubectl("logs", "caller", check=False)
        time.sleep(0.05)
    return json.loads((platform.workspace / name).read_text())

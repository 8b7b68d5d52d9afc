"""Services at rest on the whole platform: the first request wakes them, and none is lost."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from http.client import HTTPException
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.serving.test_on_the_platform import ROW, apply, ask, is_ready, isvc
from tests.support.platform import Platform, started

from kubeling.engine.sandbox.warm.interpreter import KNOWN

pytestmark = pytest.mark.e2e

FORKS = os.geteuid() == 0 and sys.version_info[:2] in KNOWN
"""Whether interpreters can be kept on this machine."""
SECONDS = 120
WAKE_SECONDS = 0.3
"""Longer than a wake takes where nothing else runs."""
MANY = 50
DEPLOYMENT = "deployment", "iris-predictor-00001"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    joblib = pytest.importorskip("joblib")
    svm = pytest.importorskip("sklearn.svm")
    from sklearn.datasets import load_iris

    workspace = tmp_path_factory.mktemp("workspace")
    (workspace / "iris").mkdir()
    joblib.dump(svm.SVC().fit(*load_iris(return_X_y=True)), workspace / "iris" / "model.joblib")
    with started(tmp_path_factory.mktemp("data") / "platform", workspace) as found:
        model = {"sklearn": {"storageUri": str(workspace / "iris")}}
        window = {"autoscaling.knative.dev/window": "1s"}
        apply(found, isvc("iris", predictor={"minReplicas": 0, "annotations": window, **model}))
        found.until(is_ready, "isvc", "iris")
        yield found


def until(holds: Callable[[], Any], seconds: float = SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def rests(deployment: dict[str, Any]) -> bool:
    found = deployment["metadata"].get("annotations") or {}
    return bool(found.get("serving.kubeling.io/at-rest") == "true")


def at_rest(platform: Platform) -> None:
    """Returns when the service has no pod, and what can be kept for the next one is there."""
    platform.until(rests, *DEPLOYMENT)
    until(lambda: not json.loads(platform.kubectl("get", "pods", "-o", "json"))["items"])
    if FORKS:  # of the storage initializer, and of the server
        until(lambda: metric(platform, "kubeling_python_templates") == 2)


def metric(platform: Platform, name: str) -> int:
    with urllib.request.urlopen(f"{platform.url}/metrics") as answer:
        found = re.search(rf"^{re.escape(name)} (\d+)", answer.read().decode(), re.MULTILINE)
    assert found is not None
    return int(found[1])


def forked(platform: Platform) -> int:
    return metric(platform, 'kubeling_python_commands_total{start="forked"}')


def asked_at_once(platform: Platform) -> list[Any]:
    """The answers to ten requests that come together."""
    with ThreadPoolExecutor(10) as threads:
        return list(threads.map(lambda _: ask(platform, "iris", [ROW])[0], range(10)))


def test_requests_wake_a_service_whose_server_is_forked(platform: Platform) -> None:
    at_rest(platform)
    before = forked(platform)
    assert asked_at_once(platform) == [{"predictions": [0]}] * 10
    assert forked(platform) == before + (2 if FORKS else 0)


def test_a_service_at_rest_is_woken_after_a_restart_of_the_platform(platform: Platform) -> None:
    at_rest(platform)
    platform.kubeling("down", "--data-dir", str(platform.data_dir))
    platform.start()
    at_rest(platform)
    assert asked_at_once(platform) == [{"predictions": [0]}] * 10
    assert forked(platform) == (2 if FORKS else 0)


@pytest.mark.skipif(not FORKS, reason="no interpreters are kept here")
def test_no_request_is_lost_when_the_kept_interpreters_are_killed(platform: Platform) -> None:
    at_rest(platform)
    for pid in interpreters(platform):
        os.kill(pid, signal.SIGKILL)
    assert asked_at_once(platform) == [{"predictions": [0]}] * 10
    at_rest(platform)
    before = forked(platform)
    assert asked_at_once(platform) == [{"predictions": [0]}] * 10
    assert forked(platform) == before + 2


def test_a_platform_killed_while_it_wakes_a_service_wakes_it_when_asked_again(
    platform: Platform, fuzz: int, chance: random.Random
) -> None:
    for _ in range(3 * fuzz):
        at_rest(platform)
        port = int(platform.url.rpartition(":")[2])
        with ThreadPoolExecutor(1) as threads:
            lost = threads.submit(ask, platform, "iris", [ROW])
            wait([lost], chance.uniform(0, WAKE_SECONDS))
            platform.kill()
            # Who asks is in the process that was killed: answered before that, or cut off.
            assert isinstance(lost.exception(), OSError | HTTPException | None)
        platform.start(port)
        assert asked_at_once(platform) == [{"predictions": [0]}] * 10


def test_many_services_asked_at_once_all_wake(platform: Platform) -> None:
    at_rest(platform)
    found = platform.object("isvc", "iris")["spec"]
    many = [f"iris-{number}" for number in range(MANY)]
    items = [isvc(name, **found) for name in many]
    apply(platform, {"apiVersion": "v1", "kind": "List", "items": items})
    names = {f"{name}-predictor-00001" for name in many}

    def rest() -> bool:
        listed = json.loads(platform.kubectl("get", "deployments", "-o", "json"))["items"]
        return names <= {d["metadata"]["name"] for d in listed if rests(d)}

    until(rest, 3 * SECONDS)
    with ThreadPoolExecutor(MANY) as threads:
        answers = list(threads.map(lambda name: ask(platform, name, [ROW])[0], many))
    assert answers == [{"predictions": [0]}] * MANY
    platform.kubectl("delete", "isvc", *many)


def interpreters(platform: Platform) -> list[int]:
    """The processes that servers are forked from."""
    folder = str(platform.data_dir / "engine" / "templates")
    found = []
    for process in psutil.process_iter():
        try:
            if folder in Path(f"/proc/{process.pid}/mountinfo").read_text():
                found.append(process.pid)
        except OSError:
            continue
    assert len(found) == 2
    return found

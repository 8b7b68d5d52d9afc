"""The main job ends as it would have, whatever moments its platform is killed at."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.platform import Platform
from tests.support.processes import processes_of

pytestmark = pytest.mark.e2e

Obj = dict[str, Any]

SEED = 7
TRIALS = 8
RUN_SECONDS = 240
LONGEST = {
    "Prepare the data with a pipeline": 2.0,
    "Tune with parallel trials": 6.0,
    "Train the best on two workers": 3.0,
    "Serve the first version": 1.5,
    "Send the second out as a 10% canary": 2.5,
    "Check the requests for drift": 0.3,
}
"""The stages the platform is killed in, and within how many seconds of their beginning."""


class Demo:
    """``kubeling demo`` in a process of its own, and what it has printed so far."""

    def __init__(self, data_dir: Path) -> None:
        command = [sys.executable, "-m", "kubeling", "demo", "--data-dir", str(data_dir)]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "COLUMNS": "200"},
        )
        self.lines: list[str] = []
        self._more = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def until(self, line: str) -> None:
        """Waits for a line that begins so."""

        def printed() -> bool:
            return self._ended or any(found.startswith(line) for found in self.lines)

        with self._more:
            assert self._more.wait_for(printed, RUN_SECONDS), self.output
        assert any(found.startswith(line) for found in self.lines), self.output

    def wait(self) -> int:
        """The exit code."""
        code = self.process.wait(RUN_SECONDS)
        self._reader.join()
        return code

    def end(self) -> None:
        self.process.kill()
        self.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._more:
                self.lines.append(line.rstrip())
                self._more.notify_all()
        with self._more:
            self._ended = True
            self._more.notify_all()


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    """The demo's platform, which the demo starts."""
    platform = Platform(tmp_path / "data", tmp_path / "data-workspace")
    yield platform
    platform.stop()


@pytest.fixture
def demo(platform: Platform) -> Iterator[Demo]:
    demo = Demo(platform.data_dir)
    yield demo
    demo.end()


def test_the_main_job_ends_as_it_would_have(platform: Platform, demo: Demo) -> None:
    moments = random.Random(SEED)
    for stage, longest in LONGEST.items():
        demo.until(f"● {stage}")
        time.sleep(moments.uniform(0, longest))  # The moment of the crash is the input.
        platform.read_endpoints()
        platform.kill()
        platform.kubeling("up", "--detach", "--workspace", str(platform.workspace))

    assert demo.wait() == 0, demo.output
    platform.read_endpoints()
    assert "waiting for the platform; start it with: kubeling up" in demo.output
    assert "accuracy 0.958 on 143 held-out rows" in demo.output

    started = starts(platform)
    assert {pod: count for pod, count in started.items() if count > 1} == {}
    trials = items(platform, "trials")
    assert len(trials) == TRIALS
    for trial in trials:
        assert trial["status"]["conditions"][-1]["type"] == "Succeeded"
        jobs_pods = [
            about for about in started if about.startswith(f"{trial['metadata']['name']}-")
        ]
        assert len(jobs_pods) <= 1

    pods = items(platform, "pods")
    assert {restarts(pod) for pod in pods} == {0}
    assert Counter(owner(pod) for pod in pods if owner(pod)[0] != "ReplicaSet") == {
        ("Run", items(platform, "runs")[0]["metadata"]["name"]): 2,
        ("XGBoostJob", "breast-cancer-v1"): 2,
        ("XGBoostJob", "breast-cancer-v2"): 2,
        ("Job", "drift-check"): 1,
    }
    assert len(items(platform, "runs")) == 1

    platform.kubeling("down")
    assert processes_of(platform.data_dir) == []


def starts(platform: Platform) -> Counter[str]:
    """How many times each container was started, by the Events; deleted pods have theirs."""
    counts: Counter[str] = Counter()
    for event in items(platform, "events"):
        if event["reason"] == "Started":
            about = event["involvedObject"]
            counts[f"{about['name']}: {event['message']}"] += event.get("count") or 1
    return counts


def owner(pod: Obj) -> tuple[str, str]:
    (reference,) = pod["metadata"]["ownerReferences"]
    return reference["kind"], reference["name"]


def restarts(pod: Obj) -> int:
    return sum(status["restartCount"] for status in pod["status"]["containerStatuses"])


def items(platform: Platform, kind: str) -> list[Obj]:
    found: list[Obj] = json.loads(platform.kubectl("get", kind, "-o", "json"))["items"]
    return found

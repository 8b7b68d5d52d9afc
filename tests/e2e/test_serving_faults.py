"""Models that crash, hang, leak or do not load, and platforms that are killed, under load.

What is promised: who asks a service hears of a fault only if it was their request that hit it, or
if nothing that could answer was left; and nothing stays broken. ``--fuzz 20`` kills twenty times as
often.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.support.load import Load, asked
from tests.support.objectstore import object_store
from tests.support.platform import Platform, started
from tests.support.processes import processes_of

pytestmark = pytest.mark.e2e

Obj = dict[str, Any]

MODEL = """
import os, time
from kubeling.serving.server.model import Model
from kubeling.serving.server.run import serve

kept = []

class Faulty(Model):
    def load(self):
        if os.environ["VERSION"] == "torn":
            raise RuntimeError("the weights are torn")
        self.ready = True
        return True

    async def predict(self, payload, headers):
        match payload["instances"][0]:
            case "crash":
                os.abort()
            case "hang":
                time.sleep(3600)
            case "leak":
                kept.append(b"x" * (64 << 20))
        return {"predictions": [os.environ["VERSION"]]}

serve([Faulty("faulty")])
"""
FINE = b'{"instances": ["fine"]}'
BROKE_OFF = "502"
"""The answer to who was being answered when the server went away."""


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    folder = tmp_path_factory.mktemp("faults")
    (folder / "faulty.py").write_text(MODEL)
    with started(folder / "data", folder) as found:
        yield found


@pytest.fixture(autouse=True)
def nothing_left(platform: Platform) -> Iterator[None]:
    """What a test serves is no other's, even if it fails."""
    yield
    platform.kubectl("delete", "isvc", "--all")


def service(
    name: str, version: str, pods: int = 2, *, alive: bool = False, **predictor: Any
) -> Obj:
    """Two pods, whose being ``alive`` is checked only where that matters: machines are busy."""

    def probe(page: str, **more: int) -> Obj:
        return {"httpGet": {"path": f"/v2/health/{page}", "port": 8080}, "periodSeconds": 1, **more}

    container = {
        "name": "kserve-container",
        "image": "kubeling/model-server",
        "command": ["python", "faulty.py"],
        "env": [{"name": "VERSION", "value": version}],
        "resources": {"limits": {"memory": "400Mi"}},
        "readinessProbe": probe("ready"),
    }
    if alive:
        ending = {"failureThreshold": 3, "terminationGracePeriodSeconds": 1}
        container["livenessProbe"] = probe("live", **ending)
    content = {"minReplicas": pods, "maxReplicas": pods, "containers": [container], **predictor}
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"predictor": content},
    }


def apply(platform: Platform, obj: Obj) -> None:
    platform.kubectl("apply", "-f", "-", stdin=json.dumps(obj))


def serve(platform: Platform, *args: Any, **fields: Any) -> str:
    """Applies a service and waits for all of its pods; where its model is asked."""
    obj = service(*args, **fields)
    apply(platform, obj)
    name = obj["metadata"]["name"]
    platform.until(whole(obj["spec"]["predictor"]["minReplicas"]), "isvc", name)
    return address(platform, name)


def address(platform: Platform, name: str) -> str:
    return f"{platform.url}/serving/default/{name}/v1/models/faulty:predict"


def ask(url: str, word: str) -> tuple[int, str]:
    body = json.dumps({"instances": [word]}).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body), timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def is_ready(obj: Obj) -> bool:
    status = obj.get("status") or {}
    ready = [c["status"] for c in status.get("conditions") or () if c["type"] == "Ready"]
    return status.get("observedGeneration") == obj["metadata"]["generation"] and ready == ["True"]


def whole(pods: int) -> Callable[[Obj], bool]:
    """Whether all its pods answer."""

    def holds(obj: Obj) -> bool:
        copies = obj["status"]["modelStatus"].get("copies") or {}
        return is_ready(obj) and copies == {"totalCopies": pods, "failedCopies": 0}

    return holds


def pods_of(platform: Platform, name: str) -> list[Obj]:
    only = f"serving.kserve.io/inferenceservice={name}"
    listed = json.loads(platform.kubectl("get", "pods", "-l", only, "-o", "json"))
    return list(listed["items"])


def endings(platform: Platform, name: str) -> list[Obj]:
    """How the containers of a service's pods ended the last time."""
    return [
        last
        for pod in pods_of(platform, name)
        for entry in pod["status"].get("containerStatuses") or ()
        if (last := (entry.get("lastState") or {}).get("terminated"))
    ]


def servers(platform: Platform) -> list[int]:
    """The processes of the model servers."""
    found = [entry.partition(": ") for entry in processes_of(platform.data_dir)]
    return [int(pid) for pid, _, command in found if command.split()[-1:] == ["faulty.py"]]


def only_servers(platform: Platform, count: int, load: Load) -> list[int]:
    """Those processes, once there are no others of services that were deleted."""
    deadline = time.monotonic() + 60
    while len(found := servers(platform)) != count:
        assert time.monotonic() < deadline, found
        load.until_answered(10)
    return found


def restarts(platform: Platform, name: str) -> int:
    entries = [e for p in pods_of(platform, name) for e in p["status"]["containerStatuses"]]
    return sum(entry["restartCount"] for entry in entries)


def until_restarted(platform: Platform, name: str, load: Load) -> None:
    """Waits until a container of the service runs again, which the service need not show."""
    deadline = time.monotonic() + 60
    while not restarts(platform, name):
        assert time.monotonic() < deadline
        load.until_answered(10)


def test_one_input_that_crashes_a_pod_fails_nobody_else(platform: Platform) -> None:
    url = serve(platform, "crashes", "one")
    with asked(url, FINE) as load:
        load.until_answered(100)
        status, said = ask(url, "crash")
        assert (status, "broke off" in said) == (502, True)
        load.until_answered(200)
        platform.until(whole(2), "isvc", "crashes")
    assert all(failure.startswith(BROKE_OFF) for failure in load.failures), load.failures
    assert len(load.failures) <= 4
    # The input is tried once more, while another pod is there, and no third time.
    assert restarts(platform, "crashes") <= 2


def test_who_asks_a_pod_that_hangs_is_told_in_time_and_the_pod_is_restarted(
    platform: Platform,
) -> None:
    url = serve(platform, "hangs", "one", timeout=2, alive=True)
    status, said = ask(url, "hang")
    assert (status, "did not answer within 2 s" in said) == (504, True)
    with asked(url, FINE) as load:
        until_restarted(platform, "hangs", load)
        platform.until(whole(2), "isvc", "hangs")
        load.until_answered(100)
    assert {failure[:3] for failure in load.failures} <= {"504", BROKE_OFF}


def test_a_pod_that_leaks_is_ended_and_its_status_says_why(platform: Platform) -> None:
    url = serve(platform, "leaks", "one", pods=1)
    answers = []
    while not answers or answers[-1][0] == 200:
        answers.append(ask(url, "leak"))
        assert len(answers) < 10
    # What is killed between two requests is not there for the next.
    assert answers[-1][0] in (502, 503), answers
    while not endings(platform, "leaks"):
        ask(url, "fine")
    assert [end["reason"] for end in endings(platform, "leaks")] == ["OOMKilled"]
    platform.until(is_ready, "isvc", "leaks")
    assert ask(url, "fine")[0] == 200


def test_a_revision_that_does_not_load_takes_nothing_from_the_one_that_serves(
    platform: Platform,
) -> None:
    url = serve(platform, "changes", "one")
    with asked(url, FINE) as load:
        load.until_answered(50)
        apply(platform, service("changes", "torn"))
        failed = platform.until(
            lambda o: o["status"]["modelStatus"]["transitionStatus"] == "BlockedByFailedLoad",
            "isvc",
            "changes",
        )
        assert (
            "the weights are torn" in failed["status"]["modelStatus"]["lastFailureInfo"]["message"]
        )
        load.until_answered(200)
        assert set(load.revisions) == {"changes-predictor-00001"}
        apply(platform, service("changes", "two"))
        platform.until(is_ready, "isvc", "changes")
        load.until_answered(200)
        platform.kubectl("scale", "isvc/changes", "--replicas=3")
        load.until_answered(200)
        apply(platform, service("changes", "one", pods=1))
        platform.until(is_ready, "isvc", "changes")
        load.until_answered(200)
    assert load.failures == []


def test_a_pod_that_is_killed_is_missed_by_nobody(
    platform: Platform, fuzz: int, chance: random.Random
) -> None:
    url = serve(platform, "killed", "one")
    with asked(url, FINE) as load:
        for _ in range(fuzz):
            load.until_answered(chance.randrange(20, 200))
            os.kill(chance.choice(only_servers(platform, 2, load)), signal.SIGKILL)
            until_restarted(platform, "killed", load)
            platform.until(whole(2), "isvc", "killed")
            for pod in pods_of(platform, "killed"):
                platform.kubectl("delete", "pod", pod["metadata"]["name"])
                platform.until(whole(2), "isvc", "killed")
    assert load.failures == []


def test_a_platform_that_is_killed_finds_its_models_again(
    platform: Platform, fuzz: int, chance: random.Random
) -> None:
    """The gateway is in the platform's process: who asks meanwhile finds nobody there."""
    port = int(platform.url.rpartition(":")[2])
    serve(platform, "lasts", "one")
    for _ in range(fuzz):
        with asked(address(platform, "lasts"), FINE) as load:
            load.until_answered(chance.randrange(20, 200))
            apply(platform, service("lasts", "torn"))
            platform.kill()
            platform.start(port)
            load.until_answered(200)
            apply(platform, service("lasts", "one"))
            platform.until(whole(2), "isvc", "lasts")
        assert {failure[:2] for failure in load.failures} <= {"0 "}, load.failures
        assert restarts(platform, "lasts") == 0


def test_a_store_that_goes_away_stops_nothing_that_runs(platform: Platform) -> None:
    joblib = pytest.importorskip("joblib")
    linear = pytest.importorskip("sklearn.linear_model")
    file = platform.workspace / "model.joblib"
    joblib.dump(linear.LogisticRegression().fit([[0.0], [1.0]], [0, 1]), file)
    node = json.loads(platform.kubectl("get", "nodes", "-o", "json"))["items"][0]
    here = node["status"]["addresses"][0]["address"]

    def stored(version: str, store: str) -> Obj:
        account = [
            {"name": "AWS_ENDPOINT_URL", "value": store},
            {"name": "awsAnonymousCredential", "value": "true"},
        ]
        model = {
            "modelFormat": {"name": "sklearn"},
            "storageUri": f"s3://models/{version}",
            "env": account,
        }
        obj = service("stored", "one")
        obj["spec"] = {"predictor": {"model": model, "minReplicas": 1}}
        return obj

    models = {f"{version}/model.joblib": file.read_bytes() for version in ("v1", "v2")}
    with object_store(here, models=models) as store:
        apply(platform, stored("v1", store.url))
        platform.until(is_ready, "isvc", "stored")
        url = f"{platform.url}/serving/default/stored/v1/models/stored:predict"
        with asked(url, b'{"instances": [[1.0]]}') as load:
            load.until_answered(50)
            store.stop()
            apply(platform, stored("v2", store.url))
            failed = platform.until(
                lambda o: o["status"]["modelStatus"]["transitionStatus"] == "BlockedByFailedLoad",
                "isvc",
                "stored",
            )
            info = failed["status"]["modelStatus"]["lastFailureInfo"]
            assert "s3://models/v2" in info["message"]
            load.until_answered(50)
            store.start()
            platform.until(is_ready, "isvc", "stored")
            load.until_answered(50)
        assert load.failures == []
        assert load.revisions["stored-predictor-00002"]

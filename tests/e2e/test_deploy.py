"""The controllers on a cluster: its manifests, and what they serve there."""

import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from tests.support.platform import Platform, started

pytestmark = pytest.mark.e2e

DEPLOY = Path(__file__).parents[2] / "deploy"


def test_every_manifest_of_the_cluster_is_accepted(solo: Platform) -> None:
    solo.kubectl("apply", "-f", str(DEPLOY / "namespace.yaml"))
    shown = solo.kubectl("apply", "-k", str(DEPLOY), "--dry-run=server")
    for line in ("deployment.apps/kubeling-controllers", "service/trainer-progress"):
        assert f"{line} created (server dry run)" in shown
    solo.kubectl("delete", "namespace", "kubeling")


def test_the_controllers_take_progress_where_they_listen(tmp_path: Path) -> None:
    with started(tmp_path / "data", tmp_path, "separate") as cluster:
        job = "trainer.kubeflow.org/v1alpha1/namespaces/default/trainjobs/somebody/status"
        request = urllib.request.Request(f"http://{cluster.listen_host}:10080/apis/{job}", b"{}")
        refused = answer(request)
    assert refused.code == 403
    assert "not that of a pod of this TrainJob" in refused.read().decode()


def answer(request: urllib.request.Request) -> urllib.error.HTTPError:
    """The refusal of whoever listens there, once somebody does."""
    deadline = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(request, timeout=60)
        except urllib.error.HTTPError as error:
            return error
        except urllib.error.URLError:
            assert time.monotonic() < deadline, "nobody listens"
            time.sleep(0.05)

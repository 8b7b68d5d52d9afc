"""Images outside the catalogue, as containers of podman, with the unmodified kubectl."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support import containerengine
from tests.support.platform import Platform, started

pytestmark = pytest.mark.e2e

POD = f"""
apiVersion: v1
kind: Pod
metadata: {{name: mixed, labels: {{app: mixed}}}}
spec:
  terminationGracePeriodSeconds: 1
  volumes: [{{name: shared, emptyDir: {{}}}}]
  containers:
  - name: boxed
    image: {containerengine.IMAGE}
    command:
    - sh
    - -c
    - echo begun; until cat /shared/page 2>/dev/null; do sleep 0.1; done; sleep 600
    readinessProbe: {{exec: {{command: [test, -e, /shared/page]}}, periodSeconds: 1}}
    volumeMounts: [{{name: shared, mountPath: /shared}}]
  - name: web
    image: python:3.11
    command: [sh, -c, "cd /shared; echo served > page; exec python3 -m http.server 8000"]
    ports: [{{name: http, containerPort: 8000}}]
    readinessProbe: {{httpGet: {{port: http, path: /page}}, periodSeconds: 1}}
    volumeMounts: [{{name: shared, mountPath: /shared}}]
"""


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory, workspace: Path) -> Iterator[Platform]:
    """A platform beside a podman that has the tests' image."""
    folder = tmp_path_factory.mktemp("boxes")
    with containerengine.usable("podman"):
        containerengine.make_image("podman", folder)
        with started(folder / "data", workspace) as platform:
            yield platform
        assert containerengine.containers_left("podman") == []


def test_a_pod_of_both_kinds_is_used_like_any_other_also_after_a_crash(
    boxes: Platform, tmp_path: Path
) -> None:
    boxes.kubectl("apply", "-f", "-", stdin=POD)
    boxes.kubectl("wait", "--for=condition=Ready", "pod/mixed", "--timeout=120s")
    assert boxes.kubectl("logs", "mixed", "-c", "boxed") == "begun\nserved\n"
    reading = ["sh", "-c", "echo GET /page | nc localhost 8000"]
    page = boxes.kubectl("exec", "mixed", "-c", "boxed", "--", *reading)
    assert page.endswith("served\n")
    boxes.kubectl("cp", "mixed:/etc/passwd", str(tmp_path / "copy"), "-c", "boxed")
    assert "user:x:1000" in (tmp_path / "copy").read_text()

    boxes.kill()
    boxes.start()
    boxes.kubectl("wait", "--for=condition=Ready", "pod/mixed", "--timeout=120s")
    pod = boxes.object("pod", "mixed")
    assert [s["restartCount"] for s in pod["status"]["containerStatuses"]] == [0, 0]
    said = boxes.kubectl("exec", "mixed", "-c", "boxed", "--", "cat", "/shared/page")
    assert said == "served\n"
    boxes.kubectl("delete", "pod", "mixed")


def test_kubectl_run_waits_for_what_the_image_does(boxes: Platform) -> None:
    said = boxes.kubectl(
        "run", "once", f"--image={containerengine.IMAGE}", "--restart=Never", "--rm", "-i",
        "--quiet", "--", "given",
    )  # fmt: skip
    assert said == "entry given\n"


def test_the_doctor_names_the_engine(boxes: Platform) -> None:
    text = boxes.kubeling("doctor", "--data-dir", str(boxes.data_dir)).stdout
    assert "container engine: podman " in text

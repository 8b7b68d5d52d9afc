"""The dashboard in a browser: every page says what is there, and never hangs."""

from __future__ import annotations

import os
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.platform import Platform, started

pytestmark = [pytest.mark.e2e, pytest.mark.browser]

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
SILENT = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
POD = """
apiVersion: v1
kind: Pod
metadata: {name: "will-fail"}
spec:
  restartPolicy: Never
  containers:
  - {name: main, image: busybox, command: [sh, -c, "echo '<b>bold</b>'; exit 3"]}
"""

MODEL = """
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {name: custom}
spec:
  predictor:
    containers:
    - {name: main, image: busybox, command: [sleep, "1000"]}
"""


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    folder = tmp_path_factory.mktemp("dashboard")
    with started(folder / "data", folder) as platform:
        yield platform


def in_browser(url: str, profile: Path, *flags: str) -> str:
    """The page's document as the browser has it after its scripts ran."""
    if CHROMIUM is None:
        assert not os.environ.get("CI"), "CI installs Chromium"
        pytest.skip("no Chromium here")
    command = [CHROMIUM, *SILENT, *flags, f"--user-data-dir={profile}", "--dump-dom", url]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/", "Running now"),
        ("/pipelines", "No runs yet"),
        ("/experiments", "No experiments yet"),
        ("/training", "No training jobs yet"),
        ("/models", "No served models yet"),
        ("/notebooks", "No notebooks yet"),
        ("/registry", "No registered models yet"),
        ("/namespaces", "kube-system"),
    ],
)
def test_a_page_with_nothing_on_it_says_how_to_begin(
    platform: Platform, path: str, says: str
) -> None:
    with urllib.request.urlopen(platform.url + path, timeout=10) as page:
        assert says in page.read().decode()


def test_the_browser_shows_the_menu_and_marks_the_current_page(
    platform: Platform, tmp_path: Path
) -> None:
    shown = in_browser(f"{platform.url}/experiments", tmp_path)
    assert "<title>Experiments · Kubeling</title>" in shown
    assert '<a href="/experiments" aria-current="page">Experiments</a>' in shown
    assert 'class="skip"' in shown
    assert '<nav aria-label="Main">' in shown


def test_a_failure_is_on_the_home_page_with_its_cause(platform: Platform, tmp_path: Path) -> None:
    platform.kubectl("apply", "-f", "-", stdin=POD)
    platform.until(lambda o: o["status"].get("phase") == "Failed", "pod", "will-fail")
    shown = in_browser(platform.url, tmp_path, "--window-size=390,800")
    assert "will-fail" in shown
    assert "exited with code 3" in shown or "Error" in shown
    assert "<b>bold</b>" not in shown, "what a program printed is text, not markup"


def test_what_people_made_stands_for_its_pods_on_the_home_page(
    platform: Platform, tmp_path: Path
) -> None:
    platform.kubectl("apply", "-f", "-", stdin=MODEL)
    selector = "serving.kserve.io/inferenceservice=custom"
    platform.run("kubectl", "wait", "pod", "-l", selector, "--for=create", "--timeout=60s")
    shown = in_browser(platform.url, tmp_path)
    running = shown.partition("Running now")[2].partition("Failed")[0]
    assert '<span class="kind">InferenceService</span> <a' in running
    assert '<span class="kind">Pod</span>' not in running


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/apis/v2beta1/runs",
        "/api/v1/workflows/default",
        "/artifacts/get?source=minio&bucket=mlpipeline&key=a",
        "/serving/default/custom/v1/models/custom",
        "/metrics",
    ],
)
def test_a_name_that_leads_here_from_elsewhere_is_not_answered(
    platform: Platform, path: str
) -> None:
    asked = urllib.request.Request(platform.url + path, headers={"Host": "evil.example"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(asked, timeout=10)
    assert refused.value.code == 421

"""The page of a served model: its traffic, its canary, a form that asks it, and why it fails."""

from __future__ import annotations

import html
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.browser import Browser, browser_at
from tests.support.platform import Platform, started

from kubeling.kube.objects import is_condition_true

pytestmark = [pytest.mark.e2e, pytest.mark.browser]

SERVER = """
import http.server, json, os
class Model(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        columns = [("height", "FP64"), ("rooms", "INT64")]
        inputs = [{"name": n, "datatype": d, "shape": [-1, 1]} for n, d in columns]
        self.answer({"name": "house", "inputs": inputs})
    def do_POST(self):
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        data = [tensor["data"] for tensor in sent["inputs"]]
        self.answer({"model": os.environ["VERSION"], "asked": data})
    def answer(self, body):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())
if os.environ["VERSION"] == "broken":
    raise ValueError("Trying to unpickle estimator SVC from version 1.2.0 when using version 1.7.2")
http.server.ThreadingHTTPServer(("", 8080), Model).serve_forever()
"""
STANDARD = {"serving.kserve.io/deploymentMode": "Standard"}
PAGE = "/objects/serving.kserve.io/v1beta1/InferenceService/default/house"
LIVE = 'document.getElementById("live").innerText'


def house(version: str, canary: int | None = None) -> str:
    container = {
        "name": "kserve-container",
        "image": "python:3",
        "command": ["python", "-c", SERVER],
        "env": [{"name": "VERSION", "value": version}],
    }
    predictor: dict[str, Any] = {"containers": [container]}
    if canary is not None:
        predictor["canaryTrafficPercent"] = canary
    kind = {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService"}
    return json.dumps({**kind, "metadata": {"name": "house"}, "spec": {"predictor": predictor}})


def split(isvc: dict[str, Any]) -> dict[str, int]:
    predictor = (isvc.get("status") or {}).get("components", {}).get("predictor", {})
    return {t["revisionName"][-1]: t["percent"] for t in predictor.get("traffic") or ()}


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    folder = tmp_path_factory.mktemp("model-pages")
    with started(folder / "data", folder) as platform:
        platform.kubectl("apply", "-f", "-", stdin=house("one"))
        platform.until(lambda o: split(o) == {"1": 100}, "isvc", "house", timeout=60)
        yield platform


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser_at(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


def fetched(platform: Platform, path: str = "", page: str = PAGE, **form: str) -> str:
    data = urllib.parse.urlencode(form).encode() if form else None
    with urllib.request.urlopen(platform.url + page + path, data, timeout=30) as answer:
        text: str = answer.read().decode()
        return text


def test_the_form_is_made_of_what_the_model_takes_and_shows_its_answer(
    platform: Platform, browser: Browser
) -> None:
    browser.resize(390)
    browser.open(platform.url + PAGE)
    browser.until("document.querySelector('#v1')")
    assert browser.evaluate("document.documentElement.scrollWidth") <= 390
    fill = "document.querySelector('#v{}').value = '{}'"
    browser.evaluate(fill.format(0, "2.5"))
    browser.evaluate(fill.format(1, "x"))
    browser.evaluate("document.querySelector('#v0').form.requestSubmit()")
    browser.until(f"{LIVE}.includes(\"rooms: 'x' is no whole number\")")
    assert browser.evaluate("document.querySelector('#v0').value") == "2.5"
    browser.evaluate(fill.format(1, "3"))
    browser.evaluate("document.querySelector('#v0').form.requestSubmit()")
    browser.until(f'{LIVE}.includes("200 from house-predictor-00001")')
    # What was asked is counted, and the page follows by itself; the form and the answer stay.
    browser.until("document.querySelector('tbody tr td:nth-child(6)').innerText === '1'")
    assert browser.evaluate(f"/2.5[^]*3/.test({LIVE}.split('200 from')[1])")
    for scheme in ("light", "dark"):
        browser.prefer(scheme)
        assert browser.faint() == []


def test_the_form_is_used_with_the_keyboard_and_keeps_the_place(
    platform: Platform, browser: Browser
) -> None:
    focused = "document.activeElement.id"
    browser.open(platform.url + PAGE)
    browser.until("document.querySelector('#v1')")
    browser.evaluate("document.querySelector('#v1').focus()")
    browser.press("Tab")
    assert browser.evaluate(focused) == "predict-fields"
    browser.press("Enter")
    browser.until(f'{LIVE}.includes("200 from house-predictor-00001")')
    browser.until(f"{focused} === 'predict-fields'")


def test_the_form_works_without_scripts(platform: Platform) -> None:
    form = fetched(platform, "/try")
    assert 'name="v1"' in form
    assert 'data-wait="Waiting for the model …"' in form
    answer = fetched(platform, "/try", how="fields", v0="1", v1="2")
    assert "200 from house-predictor-00001" in answer
    wrong = fetched(platform, "/try", how="json", body="{'a'}")
    assert "This is not JSON: Expecting property name" in wrong


def test_a_model_at_rest_is_woken_to_say_what_it_takes(platform: Platform) -> None:
    resting = json.loads(house("one"))
    resting["metadata"]["name"] = "sleepy"
    window = {"autoscaling.knative.dev/window": "6s"}
    resting["spec"]["predictor"] |= {"minReplicas": 0, "annotations": window}
    platform.kubectl("apply", "-f", "-", stdin=json.dumps(resting))
    platform.until(lambda o: is_condition_true(o, "Ready"), "isvc", "sleepy", timeout=60)
    deployment = ("deployment", "sleepy-predictor-00001")
    platform.until(lambda o: o["spec"]["replicas"] == 0, *deployment, timeout=60)
    platform.until(lambda o: not o["status"].get("replicas"), *deployment, timeout=60)
    page = PAGE.replace("house", "sleepy") + "/try"
    assert "The model is at rest" in page_at(platform, page)
    assert "The model is at rest" in fetched(platform, page=page, how="fields", v0="1")
    assert 'name="v1"' in fetched(platform, page=page, how="wake")
    platform.kubectl("delete", "isvc", "sleepy")


def test_a_stopped_model_is_called_so_until_it_is_started(platform: Platform) -> None:
    fetched(platform, "/act", action="stop")
    platform.until(lambda o: split(o) == {}, "isvc", "house")
    page = fetched(platform)
    assert "state-stopped" in page
    assert "requests are refused until it is started again" in page
    fetched(platform, "/act", action="start")
    platform.until(lambda o: split(o) == {"1": 100}, "isvc", "house", timeout=60)
    assert "state-stopped" not in fetched(platform)


def test_a_canary_is_moved_promoted_and_rolled_back(platform: Platform, browser: Browser) -> None:
    platform.kubectl("apply", "-f", "-", stdin=house("two", canary=10))
    platform.until(lambda o: split(o) == {"1": 90, "2": 10}, "isvc", "house")
    browser.resize(1280)
    browser.open(platform.url + PAGE)
    browser.until("document.querySelector('#percent').value === '10'")
    browser.evaluate("document.querySelector('#percent').value = '39'")
    browser.evaluate("document.querySelector('#percent').focus()")
    browser.press("ArrowRight")
    assert browser.evaluate("document.querySelector('#percent-shown').innerText") == "40%"
    browser.press("Tab")
    browser.press("Enter")
    platform.until(lambda o: split(o) == {"1": 60, "2": 40}, "isvc", "house")
    # The page follows by itself, and the keyboard goes on where it was.
    browser.until("document.querySelector('#canary-house-predictor-00002-40')")
    browser.until("document.activeElement.id === 'move'")

    fetched(platform, "/act", action="promote")
    platform.until(lambda o: split(o) == {"2": 100}, "isvc", "house")
    fetched(platform, "/act", action="rollback")
    platform.until(lambda o: split(o).get("1") == 100, "isvc", "house")
    with pytest.raises(urllib.error.HTTPError, match="400"):
        fetched(platform, "/act", action="canary", percent="140")


def test_a_canary_beside_the_predictor_has_a_slider_of_its_own(platform: Platform) -> None:
    isvc = json.loads(house("one"))
    named = isvc | {"metadata": {"name": "beside", "annotations": STANDARD}}
    changed = json.loads(house("two"))["spec"]["predictor"] | {"name": "v2"}
    named["spec"]["canary"] = [{"trafficPercent": 20, "predictor": changed}]
    platform.kubectl("apply", "-f", "-", stdin=json.dumps(named))
    platform.until(lambda o: sorted(split(o).values()) == [20, 80], "isvc", "beside")
    page = PAGE.replace("house", "beside")
    assert "To canary v2" in page_at(platform, page)
    form = urllib.parse.urlencode({"action": "canary", "canary": "v2", "percent": "35"}).encode()
    with urllib.request.urlopen(f"{platform.url}{page}/act", form, timeout=30):
        pass
    platform.until(lambda o: sorted(split(o).values()) == [35, 65], "isvc", "beside")
    platform.kubectl("delete", "isvc", "beside")


def test_graphs_runtimes_and_models_of_a_server_have_their_lists(platform: Platform) -> None:
    steps = [{"serviceName": "house", "weight": 70}, {"serviceName": "nowhere", "weight": 30}]
    graph = {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "InferenceGraph",
        "metadata": {"name": "streets"},
        "spec": {"nodes": {"root": {"routerType": "Splitter", "steps": steps}}},
    }
    platform.kubectl("apply", "-f", "-", stdin=json.dumps(graph))
    platform.until(lambda o: bool(o.get("status")), "inferencegraph", "streets", timeout=60)
    address = "/objects/serving.kserve.io/v1alpha1/InferenceGraph/default/streets"
    assert f'href="{address}"' in page_at(platform, "/models/graphs")
    page = page_at(platform, address)
    assert "root · Splitter" in page
    assert f'href="{PAGE}"' in page
    assert "nowhere" in page
    assert "70%" in page
    assert 'href="/models/graphs"' in page_at(platform, "/models")
    for path, what in (("trained", "trained models"), ("llms", "language models")):
        assert f"No {what}" in page_at(platform, f"/models/{path}")
    assert "No models on nodes" in page_at(platform, "/models/caches")
    assert "kserve-sklearnserver" in page_at(platform, "/models/runtimes")
    platform.kubectl("delete", "inferencegraph", "streets")


def page_at(platform: Platform, path: str) -> str:
    with urllib.request.urlopen(platform.url + path, timeout=30) as page:
        return str(page.read().decode())


def test_a_graph_is_tried_with_what_its_first_model_takes(platform: Platform) -> None:
    nodes = {
        "root": {"routerType": "Sequence", "steps": [{"nodeName": "inner"}]},
        "inner": {"routerType": "Ensemble", "steps": [{"serviceName": "house", "name": "one"}]},
    }
    graph = {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "InferenceGraph",
        "metadata": {"name": "lane"},
        "spec": {"nodes": nodes},
    }
    platform.kubectl("apply", "-f", "-", stdin=json.dumps(graph))
    platform.until(lambda o: is_condition_true(o, "Ready"), "inferencegraph", "lane", timeout=60)
    address = "/objects/serving.kserve.io/v1alpha1/InferenceGraph/default/lane"
    assert f'hx-get="{address}/try"' in page_at(platform, address)
    assert 'for="v0">height ' in page_at(platform, f"{address}/try")
    form = urllib.parse.urlencode({"how": "fields", "v0": "1.5", "v1": "2"}).encode()
    with urllib.request.urlopen(f"{platform.url}{address}/try", form, timeout=30) as page:
        answer = html.unescape(page.read().decode())
    assert "200 in " in answer
    assert '"one": {' in answer
    platform.kubectl("delete", "inferencegraph", "lane")


def test_a_failed_load_has_its_traceback_and_what_to_try(platform: Platform) -> None:
    platform.kubectl("apply", "-f", "-", stdin=house("broken"))
    platform.until(
        lambda o: o["status"]["modelStatus"]["transitionStatus"] == "BlockedByFailedLoad",
        "isvc",
        "house",
    )
    page = fetched(platform)
    assert "house-predictor-00003 does not come up" in page
    assert "Traceback (most recent call last)" in page
    assert "saved with scikit-learn 1.2.0, and 1.7.2 loads it" in page
    assert "The revision before it goes on answering." in page

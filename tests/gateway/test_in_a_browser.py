"""The dashboard as a person meets it: live, with the keyboard, on a phone, in light and in dark."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.pipelines.specs import document, step, task
from tests.support.browser import Browser, browser_at
from tests.support.platform import Platform, started

pytestmark = [pytest.mark.e2e, pytest.mark.browser]

LONG = "a-workflow-with-as-long-a-name-as-people-really-give-to-them"
WORKFLOW = """
apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {{name: {name}}}
spec:
  entrypoint: main
  templates:
  - name: main
    container: {{image: busybox, command: [sh, -c, {script!r}]}}
"""
TWO_STEPS = """
apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {name: two-steps}
spec:
  entrypoint: main
  templates:
  - name: main
    steps:
    - - {name: first, template: wait, arguments: {parameters: [{name: script, value: cat one}]}}
    - - name: second
        template: wait
        arguments: {parameters: [{name: script, value: cat two; exit 3}]}
  - name: wait
    inputs: {parameters: [{name: script}]}
    container: {image: busybox, command: [sh, -c, "{{inputs.parameters.script}}"]}
"""
BAD_ITEM = r"each\(7:7\)"
LOOP = """
apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {name: many}
spec:
  entrypoint: main
  templates:
  - name: main
    dag:
      tasks:
      - name: each
        template: item
        withSequence: {count: "70"}
        arguments: {parameters: [{name: i, value: "{{item}}"}]}
  - name: item
    inputs: {parameters: [{name: i}]}
    script:
      image: busybox
      command: [sh]
      source: echo item {{inputs.parameters.i}}; test {{inputs.parameters.i}} != 7 || exit 127
"""
APPROVAL = """
apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {name: approval}
spec:
  entrypoint: main
  templates:
  - name: main
    steps:
    - - {name: approve, template: approve}
    - - name: deploy
        template: deploy
        when: "{{steps.approve.outputs.parameters.answer}} == YES"
  - name: approve
    suspend: {}
    inputs: {parameters: [{name: answer, default: "NO", enum: ["YES", "NO"]}]}
    outputs: {parameters: [{name: answer, valueFrom: {supplied: {}}}]}
  - {name: deploy, container: {image: busybox, command: ["true"]}}
"""
EXAMPLES = Path(__file__).parents[2] / "examples"
PAGES = (
    "/",
    "/pipelines",
    f"/objects/argoproj.io/v1alpha1/Workflow/default/{LONG}",
    f"/objects/core/v1/Pod/default/{LONG}",
    "/artifacts",
    "/pipelines/new",
    "/pipelines/catalogue",
    "/pipelines/recurring",
    "/pipelines/templates",
    "/pipelines/workflows",
    "/pipelines/experiments",
    "/experiments",
    "/training",
    "/training/runtimes",
    "/objects/trainer.kubeflow.org/v1alpha1/ClusterTrainingRuntime/-/torchtune-llama3.2-1b",
    "/models",
    "/notebooks",
    "/registry",
    "/namespaces",
    "/pipelines/runs/none",
)


def workflow(name: str, script: str) -> str:
    return WORKFLOW.format(name=name, script=script)


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    folder = tmp_path_factory.mktemp("in-a-browser")
    with started(folder / "data", folder) as platform:
        platform.kubectl("apply", "-f", "-", stdin=workflow(LONG, "exit 3"))
        platform.until(lambda o: o["status"].get("phase") == "Failed", "workflow", LONG)
        yield platform


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser_at(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def page(browser: Browser) -> Browser:
    browser.resize(1280)
    browser.prefer("light")
    return browser


def on_page(text: str) -> str:
    return f'document.getElementById("live").innerText.includes("{text}")'


def node(label: str) -> str:
    """The state of a graph's node, as the browser has it."""
    title = (
        f'[...document.querySelectorAll(".graph title")].find(t => /^{label}:/.test(t.textContent))'
    )
    return f"({title}?.textContent.split(': ')[1].toLowerCase() ?? null)"


PANEL = 'document.getElementById("panel").innerText'


def clicked(label: str) -> str:
    """Clicks the box of a step or a group."""
    titles = "[...document.querySelectorAll('.picture title')]"
    click = "new MouseEvent('click', {bubbles: true, cancelable: true})"
    found = f"{titles}.find(t => /^{label}:/.test(t.textContent))"
    return f"{found}.parentNode.dispatchEvent({click})"


@pytest.mark.parametrize("path", PAGES)
def test_a_phone_shows_a_page_without_scrolling_sideways(
    platform: Platform, page: Browser, path: str
) -> None:
    page.resize(390)
    page.open(platform.url + path)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate("document.querySelector('main') !== null")


@pytest.mark.parametrize("path", PAGES)
def test_all_text_stands_out_from_its_ground(platform: Platform, page: Browser, path: str) -> None:
    page.open(platform.url + path)
    for scheme in ("light", "dark"):
        page.prefer(scheme)
        assert page.faint() == [], scheme


def test_dark_is_dark(platform: Platform, page: Browser) -> None:
    page.prefer("dark")
    page.open(platform.url)
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert all(int(part) < 64 for part in colour.removeprefix("rgb(").rstrip(")").split(","))


def test_what_failed_is_on_the_home_page_with_why_and_a_link(
    platform: Platform, page: Browser
) -> None:
    page.open(platform.url)
    page.until(on_page("exited with code 3"))
    link = page.evaluate(f'[...document.links].find(a => a.innerText === "{LONG}").href')
    page.open(link)
    assert LONG in page.evaluate('document.querySelector("h1").innerText')


def test_a_list_shows_new_objects_and_their_ends_without_a_reload(
    platform: Platform, page: Browser
) -> None:
    page.open(f"{platform.url}/pipelines")
    page.evaluate("window.opened = true")
    platform.kubectl("apply", "-f", "-", stdin=workflow("live", "while ! test -e go; do :; done"))
    row = 'document.querySelector("a[href$=\'/live\']").closest("tr").innerText'
    page.until(f'{row}.includes("running")')
    (platform.workspace / "go").touch()
    page.until(f'{row}.includes("succeeded")')
    assert page.evaluate("window.opened")


def test_a_log_grows_as_it_is_written(platform: Platform, page: Browser) -> None:
    script = "echo first; while ! test -e more; do :; done; echo second"
    platform.kubectl("apply", "-f", "-", stdin=workflow("talks", script))
    platform.until(lambda o: o["status"].get("phase") == "Running", "pod", "talks")
    page.open(f"{platform.url}/objects/core/v1/Pod/default/talks")
    page.evaluate("window.opened = true")
    page.until(on_page("first"))
    (platform.workspace / "more").touch()
    page.until(on_page("second"))
    assert page.evaluate("window.opened")


def test_the_graph_of_a_workflow_follows_its_steps(platform: Platform, page: Browser) -> None:
    for gate in ("one", "two"):
        os.mkfifo(platform.workspace / gate)
    platform.kubectl("apply", "-f", "-", stdin=TWO_STEPS)
    page.open(f"{platform.url}/objects/argoproj.io/v1alpha1/Workflow/default/two-steps")
    page.evaluate("window.opened = true")
    page.until(f"{node('first')} === 'running'")
    assert page.evaluate(node("second")) is None
    (platform.workspace / "one").write_text("")
    page.until(f"{node('first')} === 'succeeded' && {node('second')} === 'running'")
    (platform.workspace / "two").write_text("")
    page.until(f"{node('second')} === 'failed'")
    assert page.evaluate("window.opened")


def test_the_graph_of_a_run_follows_its_tasks(platform: Platform, page: Browser) -> None:
    run = yaml.safe_load((EXAMPLES / "pipelines/run.yaml").read_text())
    run["metadata"] = {"name": "live-run"}
    executor = run["spec"]["pipelineSpec"]["deploymentSpec"]["executors"]["count"]["container"]
    executor["command"][2] = f"cat counted; {executor['command'][2]}"
    os.mkfifo(platform.workspace / "counted")
    platform.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(run))
    page.open(f"{platform.url}/pipelines")
    page.until("document.querySelector(\"a[href^='/pipelines/runs/']\")")
    page.open(page.evaluate("document.querySelector(\"a[href^='/pipelines/runs/']\").href"))
    page.evaluate("window.opened = true")
    page.until(f"{node('count')} === 'running'")
    (platform.workspace / "counted").write_text("")
    page.until(f"{node('count')} === 'succeeded'")
    page.evaluate(clicked("count"))
    page.until(f"{PANEL}.includes('words')")
    assert page.evaluate("window.opened")


def test_a_loop_opens_and_its_failed_step_says_why_and_what_to_try(
    platform: Platform, page: Browser
) -> None:
    platform.kubectl("apply", "-f", "-", stdin=LOOP)
    platform.until(lambda o: "finishedAt" in o.get("status", {}), "workflow", "many")
    page.open(f"{platform.url}/objects/argoproj.io/v1alpha1/Workflow/default/many")
    page.evaluate("window.opened = true")
    page.until("document.querySelector('[data-toggle][aria-expanded=false]')")
    page.evaluate("document.querySelector('[data-toggle][aria-expanded=false]').focus()")
    page.press("Enter")
    page.until(f"{node(BAD_ITEM)} === 'failed'")
    page.evaluate(clicked(BAD_ITEM))
    page.until(f"{PANEL}.includes('not in the image')")
    page.until(f"{PANEL}.includes('item 7')")
    assert page.evaluate("location.search").startswith("?open=")
    page.evaluate("document.querySelector('.tools input[name=q]').value = '(7:'")
    page.evaluate("document.querySelector('.tools').requestSubmit()")
    page.until("document.querySelectorAll('.picture .node:not(.faint)').length === 1")
    page.open(page.evaluate("document.querySelector('.tabs a:nth-child(3)').href"))
    page.until("document.querySelectorAll('tbody tr').length === 1")


def test_a_step_has_a_page_of_its_own_and_its_log_can_be_searched(
    platform: Platform, page: Browser
) -> None:
    script = "for i in 1 2 3; do echo apple; echo pear; done"
    platform.kubectl("apply", "-f", "-", stdin=workflow("fruit", script))
    platform.until(lambda o: "finishedAt" in o.get("status", {}), "workflow", "fruit")
    page.open(f"{platform.url}/objects/argoproj.io/v1alpha1/Workflow/default/fruit/steps/fruit")
    log = "document.querySelector('pre.log').textContent"
    page.until(f"{log}.split('pear').length === 4")
    page.evaluate(
        "(() => { const s = document.querySelector('[data-filter]'); s.value = 'apple';"
        " s.dispatchEvent(new Event('input', {bubbles: true})) })()"
    )
    assert page.evaluate(log) == "apple\n" * 3


def test_a_form_names_wrong_inputs_and_then_starts_the_run(
    platform: Platform, page: Browser
) -> None:
    inputs = {"depth": {"parameterType": "NUMBER_INTEGER", "description": "levels of a tree"}}
    wired = task(inputs={"depth": {"componentInputParameter": "depth"}})
    package = document(
        {"fit": wired},
        {"step": step(depth="NUMBER_INTEGER")},
        inputDefinitions={"parameters": inputs},
    )
    pipeline = uploaded(platform, package)
    page.open(f"{platform.url}/pipelines/new?pipeline={pipeline}")
    assert "levels of a tree" in page.evaluate("document.body.innerText")
    page.evaluate("document.getElementById('p-depth').focus()")
    page.evaluate("document.getElementById('p-depth').value = 'deep'")
    page.leave(lambda: page.press("Enter"))
    wrong = "document.getElementById('p-depth-wrong').innerText"
    assert page.evaluate(wrong) == "must be a whole number"
    assert page.evaluate("document.getElementById('p-depth').value") == "deep"
    page.evaluate("document.getElementById('p-depth').value = '3'")
    page.evaluate("document.getElementById('p-depth').focus()")
    page.leave(lambda: page.press("Enter"))
    assert page.evaluate("location.pathname").startswith("/pipelines/runs/")
    page.until(f"{node('fit')} === 'succeeded'")


def test_a_schedule_says_when_it_runs_next_and_can_be_disabled_and_deleted(
    platform: Platform, page: Browser
) -> None:
    pipeline = uploaded(platform, document({"fit": task()}, {"step": step()}), "nightly")
    page.open(f"{platform.url}/pipelines/new?pipeline={pipeline}")
    page.evaluate("document.querySelector('[name=schedule][value=cron]').click()")
    page.until("document.querySelectorAll('#next time').length === 5")
    page.evaluate("document.getElementById('f-name').value = 'every-morning'")
    seen: list[str] = []
    shown = "document.getElementById('live').innerText"
    for done in ("form.form button:last-of-type", "[value=disable]", ".danger"):
        page.leave(partial(page.evaluate, f"document.querySelector('{done}').click()"))
        assert page.evaluate("location.pathname") == "/pipelines/recurring"
        seen.append(page.evaluate(shown))
    assert "every-morning" in seen[0]
    assert "disabled" in seen[1]
    assert "No recurring runs yet" in seen[2]


def test_chosen_runs_are_compared_side_by_side(platform: Platform, page: Browser) -> None:
    declared = {"depth": {"parameterType": "NUMBER_INTEGER"}}
    logged = {"artifacts": {"m": {"artifacts": [{"name": "m", "metadata": {"loss": [3, 2, 1]}}]}}}
    component = step()
    component["outputDefinitions"] = {
        "artifacts": {"m": {"artifactType": {"schemaTitle": "system.Metrics"}}}
    }
    out = "{{$.outputs.output_file}}"
    script = f"mkdir -p $(dirname {out}) && echo '{json.dumps(logged)}' > {out}"
    component["executor"]["container"]["command"] = ["sh", "-c", script]
    package = document(
        {"fit": task()}, {"step": component}, inputDefinitions={"parameters": declared}
    )
    file = platform.workspace / "pipeline.json"
    file.write_text(json.dumps(package))
    for depth in (3, 4):
        platform.kubeling("run", str(file), "-p", f"depth={depth}", "--name", f"depth-{depth}")
    page.open(f"{platform.url}/pipelines")
    for depth in (3, 4):
        page.evaluate(f"document.querySelector('[aria-label=\"Compare depth-{depth}\"]').click()")
    choose = "document.querySelector('form[action=\"/pipelines/compare\"]').requestSubmit()"
    page.leave(partial(page.evaluate, choose))
    row = "document.querySelector('.differs').innerText"
    assert page.evaluate(row).split() == ["depth", "4", "3"]
    assert page.evaluate(on_page("loss, step by step"))
    curves = "[...document.querySelectorAll('.curves polyline title')].map(t => t.textContent)"
    assert page.evaluate(curves) == [f"depth-{n}: 1 last, 3 values" for n in (4, 3)]
    page.open(f"{platform.url}/artifacts")
    assert page.evaluate(on_page("fit in depth-4"))
    page.leave(partial(page.evaluate, "document.querySelector('main td a').click()"))
    assert page.evaluate(on_page("fit in depth-4"))
    assert page.evaluate(curves) == ["loss: 1 last, 3 values"]
    page.open(f"{platform.url}/pipelines/compare")
    assert page.evaluate(on_page("Choose 2 to 10 runs"))


def uploaded(platform: Platform, package: Any, name: str = "forms") -> str:
    """The id of a pipeline that was sent as the upload form sends it."""
    boundary = "----boundary"
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="name"\r\n\r\n{name}\r\n',
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="p.yaml"\r\n'
        f"\r\n{json.dumps(package)}\r\n",
        f"--{boundary}--\r\n",
    ]
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    request = urllib.request.Request(
        f"{platform.url}/pipelines/upload", "".join(parts).encode(), headers
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(answer.url).partition("pipeline=")[2]


def test_arrows_go_from_box_to_box_and_escape_leaves_a_step(
    platform: Platform, page: Browser
) -> None:
    page.open(f"{platform.url}/objects/argoproj.io/v1alpha1/Workflow/default/two-steps")
    page.until(node("second"))
    focused = "document.activeElement.querySelector?.('title')?.textContent.split(':')[0] ?? ''"
    page.evaluate("document.querySelector('.picture .node a').focus()")
    assert page.evaluate(focused) == "first"
    page.press("ArrowRight")
    assert page.evaluate(focused) == "second"
    page.press("Enter")
    page.until(f"{PANEL}.includes('second')")
    page.press("Escape")
    assert page.evaluate(f"{PANEL} === ''")
    assert page.evaluate(focused) == "second"


def test_a_step_that_waits_for_an_answer_is_resumed_with_it(
    platform: Platform, page: Browser
) -> None:
    platform.kubectl("apply", "-f", "-", stdin=APPROVAL)
    page.open(f"{platform.url}/objects/argoproj.io/v1alpha1/Workflow/default/approval")
    page.until(f"{node('approve')} === 'suspended'")
    page.evaluate(clicked("approve"))
    page.until("document.getElementById('p-answer')")
    page.evaluate("document.getElementById('p-answer').value = 'YES'")
    resume = "document.querySelector('#panel [value=resume]').click()"
    page.leave(partial(page.evaluate, resume))
    page.until(f"{node('deploy')} === 'succeeded'")


def test_a_page_of_another_site_cannot_change_anything(platform: Platform) -> None:
    for path in ("/pipelines/upload", "/apis/v2beta1/experiments"):
        request = urllib.request.Request(
            platform.url + path, b"{}", {"Origin": "http://elsewhere.example"}
        )
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=30)
        assert refused.value.code == 403


def test_what_is_deleted_while_it_is_looked_at_says_so(platform: Platform, page: Browser) -> None:
    template = workflow("short-lived", "true").replace("kind: Workflow", "kind: WorkflowTemplate")
    platform.kubectl("apply", "-f", "-", stdin=template)
    page.open(f"{platform.url}/objects/argoproj.io/v1alpha1/WorkflowTemplate/default/short-lived")
    platform.kubectl("delete", "workflowtemplate", "short-lived")
    page.until(on_page("There is no WorkflowTemplate short-lived in namespace default."))
    platform.kubectl("apply", "-f", "-", stdin=workflow("short-lived", "sleep 1000"))
    platform.until(lambda o: o.get("status", {}).get("phase"), "workflow", "short-lived")
    page.open(f"{platform.url}/objects/argoproj.io/v1alpha1/Workflow/default/short-lived")
    page.until(on_page("Stop …"))
    page.leave(lambda: platform.kubectl("delete", "workflow", "short-lived"))
    assert page.evaluate(on_page("There is no Workflow short-lived in namespace default."))


def test_a_page_finds_the_platform_again_after_a_crash(platform: Platform, page: Browser) -> None:
    page.open(f"{platform.url}/pipelines")
    page.evaluate("window.opened = true")
    line = 'document.getElementById("line").innerText'
    platform.kill()
    page.until(f'{line}.includes("reconnecting")')
    platform.start(port=platform.endpoints["gateway_port"])
    page.until(f'{line} === ""', timeout=60)
    platform.kubectl("apply", "-f", "-", stdin=workflow("after-the-crash", "true"))
    page.until(on_page("after-the-crash"))
    assert page.evaluate("window.opened")


def test_a_page_that_could_not_be_had_once_is_had_later(platform: Platform, page: Browser) -> None:
    page.open(f"{platform.url}/pipelines/templates")
    page.until(on_page("Templates"))
    page.block(f"{platform.url}/pipelines/templates")
    template = workflow("shown-late", "true").replace("kind: Workflow", "kind: WorkflowTemplate")
    platform.kubectl("apply", "-f", "-", stdin=template)
    page.until('document.getElementById("line").innerText.includes("does not answer")')
    page.block()
    page.until(on_page("shown-late"))
    assert page.evaluate('document.getElementById("line").innerText') == ""


def test_the_keyboard_reaches_everything_in_order(platform: Platform, page: Browser) -> None:
    page.open(platform.url)
    names = []
    for _ in range(10):
        page.press("Tab")
        names.append(page.evaluate("document.activeElement.innerText.trim()"))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", f"{names[-1]} does not show that it has the focus"
    assert names[:4] == ["Skip to content", "Kubeling", "Home", "Pipelines"]
    assert names[9] == "Namespaces"


def test_the_keyboard_skips_the_menu_and_follows_links(platform: Platform, page: Browser) -> None:
    page.open(platform.url)
    page.press("Tab")
    page.press("Enter")
    page.press("Tab")
    inside = 'document.getElementById("live").contains(document.activeElement)'
    assert page.evaluate(inside)
    page.press("Enter")
    page.wait_for_load()
    page.until('location.pathname !== "/"')


def test_an_archived_workflow_is_listed_opened_and_run_again(
    platform: Platform, page: Browser
) -> None:
    manifest = workflow("filed", "echo kept").replace(
        "container:", "archiveLocation: {archiveLogs: true}\n    container:"
    )
    platform.kubectl("apply", "-f", "-", stdin=manifest)
    archived = "workflows.argoproj.io/workflow-archiving-status"
    platform.until(
        lambda o: o["metadata"].get("labels", {}).get(archived) == "Archived", "workflow", "filed"
    )
    platform.kubectl("delete", "workflow", "filed")
    page.open(f"{platform.url}/pipelines/workflows?q=filed")
    page.until(on_page("archived"))
    page.leave(lambda: page.evaluate("document.querySelector('main td a').click()"))
    assert "/pipelines/archived/" in page.evaluate("location.pathname")
    page.until(f'{node("filed")} === "succeeded"')
    page.evaluate(clicked("filed"))
    page.until(f'{PANEL}.includes("kept")')
    # The address of the object that is gone leads there as well.
    page.open(f"{platform.url}/objects/argoproj.io/v1alpha1/Workflow/default/filed")
    assert "/pipelines/archived/" in page.evaluate("location.pathname")
    filed = page.evaluate("location.href")
    again = "[...document.querySelectorAll('#head button')].find(b => b.value === 'resubmit')"
    page.leave(lambda: page.evaluate(f"{again}.click()"))
    assert "/Workflow/default/filed-" in page.evaluate("location.pathname")
    page.open(filed)
    forget = "[...document.querySelectorAll('#head button')].find(b => b.value === 'delete')"
    page.leave(lambda: page.evaluate(f"{forget}.click()"))
    assert page.evaluate("location.pathname") == "/pipelines/workflows"
    page.open(filed)
    assert page.evaluate(on_page("Not found"))

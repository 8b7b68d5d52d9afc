"""One step: what it took and made, what it wrote, why it failed and what to try, what ran it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

from aiohttp import web

from kubeling.gateway.inputs import Input, inputs_of_template
from kubeling.gateway.kinds import WORKFLOWS, link_to
from kubeling.gateway.pages.runs.subject import archived_workflow, nodes_of
from kubeling.gateway.pages.view import Views
from kubeling.gateway.rest import RestClient
from kubeling.gateway.steps.model import FINAL
from kubeling.gateway.steps.workflow import attempts_of
from kubeling.kube import yaml
from kubeling.kube.advice import advice
from kubeling.kube.diagnosis import OwnerTree, first_causes
from kubeling.kube.logtail import log_tail
from kubeling.kube.objects import Obj, deep_copy, uid
from kubeling.kube.resources import EVENTS, PODS

__all__ = ["archived_step", "run_step", "workflow_step"]

_TASK: Final = "pipelines.kubeflow.org/task-id"
_ATTEMPT: Final = "pipelines.kubeflow.org/attempt"
_NODE: Final = "workflows.argoproj.io/node-id"
_LOG: Final = "main-logs"
"""The artifact in which Argo keeps a step's log (``archiveLogs``)."""
_SHOWN_EVENTS: Final = 20
_TAIL: Final = 20
_GROUP: Final = re.compile(r"(\[\d+\])?")
"""A group of steps at the top, which says nothing."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file that a step took or made."""

    key: str
    name: str
    type: str
    link: str
    uri: str
    metadata: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Side:
    """A step's inputs or outputs."""

    parameters: dict[str, Any] = field(default_factory=dict)
    artifacts: list[Artifact] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.parameters or self.artifacts)


@dataclass(frozen=True, slots=True)
class StepFacts:
    """What the panel shows."""

    id: str
    label: str
    state: str
    kind: str
    facts: list[tuple[str, str]]
    message: str
    inputs: Side
    outputs: Side
    pods: Sequence[Obj]
    namespace: str
    started: str = ""
    finished: str = ""
    kept_log: str = ""
    """Where the log is kept after the pod is gone."""
    errand: bool = False
    """Whether the controller did it itself, so that there never was a pod."""
    waits_for: list[Input] | None = None
    """What somebody has to supply before it goes on; ``None`` if it waits for nobody."""

    @property
    def final(self) -> bool:
        return self.state in FINAL


async def run_step(views: Views, rest: RestClient, request: web.Request) -> web.Response:
    """A task of a run."""
    run, task_id = request.match_info["run"], request.match_info["step"]
    task = await rest.get(f"/apis/v2beta1/tasks/{task_id}", view="VALUES")
    if task.get("run_id") != run:
        raise web.HTTPNotFound(text=f"Run {run} has no step {task_id}.")
    pods = [p for p in await _pods_of(views, run) if _labels(p).get(_TASK) == task_id]
    pods.sort(key=lambda pod: int((pod["metadata"].get("annotations") or {}).get(_ATTEMPT, "0")))
    status = task.get("status_metadata") or {}
    facts = [
        ("In", " / ".join(await _groups(rest, task))),
        ("Iteration", str(task["iteration"].get("index", 0)) if "iteration" in task else ""),
        ("Attempts", str(max(len(pods), int(task.get("attempt", 0)) + 1)) if pods else ""),
        ("Cache", str(status.get("cache") or "")),
        ("Says", str(status.get("message") or "")),
    ]
    step = StepFacts(
        task_id,
        str(task.get("display_name") or task.get("name", "")),
        str(task.get("state") or "pending").lower(),
        str(task.get("type") or "").lower(),
        [fact for fact in facts if fact[1]],
        str((task.get("error") or {}).get("message") or ""),
        _side(task.get("inputs") or {}),
        _side(task.get("outputs") or {}),
        pods,
        next((str(p["metadata"]["namespace"]) for p in pods), "default"),
        str(task.get("start_time") or ""),
        _real(task.get("end_time")),
        f"/apis/v2beta1/runs/{run}/nodes/{task_id}/log" if task.get("pods") else "",
    )
    return await _page(views, request, step, f"/pipelines/runs/{run}")


async def _groups(rest: RestClient, task: Obj) -> list[str]:
    """The names of what a task lies in, from the outermost."""
    found: list[str] = []
    while "/" in str(task.get("path") or "") and task.get("parent_task_id"):
        task = await rest.get(f"/apis/v2beta1/tasks/{task['parent_task_id']}")
        found.insert(0, str(task.get("display_name") or task.get("name") or ""))
    return found


async def workflow_step(views: Views, rest: RestClient, request: web.Request) -> web.Response:
    """A node of a workflow."""
    workflow = await views.object(WORKFLOWS, request)
    nodes = await nodes_of(rest, workflow)
    meta = workflow["metadata"]
    base = link_to(WORKFLOWS.api_version, "Workflow", meta["namespace"], meta["name"])
    files = (
        f"/input-artifacts/{meta['namespace']}/{meta['name']}",
        f"/artifacts/{meta['namespace']}/{meta['name']}",
    )
    step = await _node_facts(views, request, workflow, nodes, files)
    return await _page(views, request, step, base, meta["name"])


async def archived_step(views: Views, rest: RestClient, request: web.Request) -> web.Response:
    """A node of an archived workflow."""
    key = request.match_info["uid"]
    workflow = await archived_workflow(rest, key)
    files = (f"/input-artifacts-by-uid/{key}", f"/artifacts-by-uid/{key}")
    nodes = (workflow.get("status") or {}).get("nodes") or {}
    step = await _node_facts(views, request, workflow, nodes, files)
    of = str(workflow["metadata"]["name"])
    return await _page(views, request, step, f"/pipelines/archived/{key}", of)


async def _node_facts(
    views: Views,
    request: web.Request,
    workflow: Obj,
    nodes: dict[str, Obj],
    files: tuple[str, str],
) -> StepFacts:
    """What there is to say of the node that a path names; ``files`` are where artifacts are had."""
    node_id = request.match_info["step"]
    if (node := nodes.get(node_id)) is None:
        raise web.HTTPNotFound(text=f"This workflow has no step {node_id}.")
    tries = attempts_of(node_id, nodes)
    last = tries[-1] if tries else node
    wanted = {attempt["id"] for attempt in tries}
    every = await _pods_of(views, uid(workflow))
    pods = [p for p in every if (p["metadata"].get("annotations") or {}).get(_NODE) in wanted]
    pods.sort(key=lambda pod: str(pod["metadata"].get("creationTimestamp")))
    cached = node.get("memoizationStatus") or {}
    inputs, outputs = (f"{path}/{quote(str(last['id']), safe='')}" for path in files)
    facts = [
        ("In", _around(node, str(workflow["metadata"]["name"]))),
        ("Template", str(last.get("templateName") or "")),
        ("Attempts", str(len(tries)) if len(tries) > 1 else ""),
        ("Cache", f"hit, key {cached.get('key')}" if cached.get("hit") else ""),
        ("Node", str(last.get("hostNodeName") or "")),
    ]
    made = last.get("outputs") or node.get("outputs") or {}
    logs = [a for a in made.get("artifacts") or () if a["name"] == _LOG]
    return StepFacts(
        node_id,
        str(node.get("displayName") or node.get("name", "")),
        str(node.get("phase") or "waiting").lower(),
        str(node.get("type") or "").lower(),
        [fact for fact in facts if fact[1]],
        str(last.get("message") or node.get("message") or ""),
        _node_side(last.get("inputs") or {}, inputs),
        _node_side(made, outputs),
        pods,
        workflow["metadata"]["namespace"],
        str(node.get("startedAt") or ""),
        str(node.get("finishedAt") or ""),
        f"{outputs}/{_LOG}" if logs else "",
        any("raw" in log for log in logs),
        waits_for=_supplied(node),
    )


def _around(node: Obj, workflow: str) -> str:
    """What a node lies in, from its name: ``workflow.sweep(3:3).load`` in ``sweep(3:3)``."""
    path = str(node.get("name") or "").removeprefix(workflow).removeprefix(".")
    around = path.removesuffix(str(node.get("displayName") or "")).removesuffix(".")
    return "" if _GROUP.fullmatch(around) else around


def _supplied(node: Obj) -> list[Input] | None:
    """What a suspended step asks for: outputs to be supplied, with the choices there are."""
    if node.get("type") != "Suspend" or node.get("phase") != "Running":
        return None
    known = {p["name"]: p for p in (node.get("inputs") or {}).get("parameters") or ()}
    asked = []
    for output in (node.get("outputs") or {}).get("parameters") or ():
        if "supplied" in (output.get("valueFrom") or {}) and output.get("value") is None:
            about = {**output, **known.get(output["name"], {})}
            asked.append({**about, "value": about.get("value") or about.get("default")})
    return inputs_of_template({"arguments": {"parameters": asked}})


async def _page(
    views: Views, request: web.Request, step: StepFacts, base: str, of: str = ""
) -> web.Response:
    events = await views.objects(EVENTS)
    about = {uid(pod) for pod in step.pods}
    told = [e for e in events if (e.get("involvedObject") or {}).get("uid") in about]
    told.sort(key=lambda e: str(e.get("lastTimestamp") or ""), reverse=True)
    pod = step.pods[-1] if step.pods else None
    causes = first_causes(pod, OwnerTree([pod], told)) if pod and step.state != "succeeded" else []
    message = step.message or (causes[0].finding.message if causes else "")
    bad = step.state in ("failed", "error")
    reasons = [c.finding.reason for c in causes]
    if bad and pod:
        # What a program printed last is often all that says what it lacked.
        container = pod["spec"]["containers"][0]["name"]
        reasons += await log_tail(views.context.client, pod, container, _TAIL)
    return views.page(
        request,
        "step.html",
        "/pipelines",
        step.label,
        step=step,
        base=base,
        of=of,
        message=message,
        advice=_advice(bad, message, *reasons) if bad or causes else "",
        events=told[:_SHOWN_EVENTS],
        manifest=_manifest(pod) if pod else "",
        executor_input=_executor_input(pod) if pod else "",
    )


def _advice(failed: bool, *said: str) -> str:
    hint = advice(*said)
    return hint or ("read the last lines of its log, below." if failed else "")


async def _pods_of(views: Views, owner: str) -> list[Obj]:
    await views.objects(PODS)
    return views.context.informers.of(PODS).owned_by(owner)


def _labels(obj: Obj) -> dict[str, str]:
    return obj["metadata"].get("labels") or {}


def _manifest(pod: Obj) -> str:
    shown = deep_copy(pod)
    shown["metadata"].pop("managedFields", None)
    return yaml.dump(shown)


def _executor_input(pod: Obj) -> str:
    """What a component of kfp is called with, if the pod runs one."""
    for container in pod["spec"]["containers"]:
        for word in (*container.get("command", ()), *container.get("args", ())):
            if not word.startswith("{"):
                continue
            try:
                found = json.loads(word)
            except ValueError:
                continue
            if isinstance(found, dict) and {"inputs", "outputs"} & found.keys():
                return json.dumps(found, indent=2)
    return ""


def _side(values: Obj) -> Side:
    return Side(
        dict(values.get("parameters") or {}),
        [
            Artifact(
                key,
                str(found.get("name") or key),
                str(found.get("type") or ""),
                f"/artifacts/{found['artifact_id']}",
                str(found.get("uri") or ""),
                dict(found.get("metadata") or {}),
            )
            for key, listed in (values.get("artifacts") or {}).items()
            for found in listed
        ],
    )


def _node_side(values: Obj, address: str) -> Side:
    parameters = {p["name"]: p.get("value") for p in values.get("parameters") or ()}
    if values.get("result") is not None:
        parameters["result"] = values["result"]
    return Side(
        parameters,
        [
            Artifact(
                a["name"], a["name"], "", f"{address}/{quote(a['name'], safe='')}", _where(a), {}
            )
            for a in values.get("artifacts") or ()
        ],
    )


def _where(artifact: Obj) -> str:
    for kind in ("s3", "gcs", "azure", "oss", "http", "git", "raw"):
        if found := artifact.get(kind):
            return f"{kind}: {found.get('key') or found.get('url') or found.get('repo') or ''}"
    return str(artifact.get("path") or "")


def _real(moment: Any) -> str:
    """A time of the pipelines API; one that is not known is the beginning of 1970 there."""
    text = str(moment or "")
    return "" if text.startswith("1970") else text

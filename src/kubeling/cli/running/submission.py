"""A run that was submitted: how to read how far it is, how to stop it, and what it wrote."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import aiohttp
import msgspec

from kubeling.cli.errors import CliError
from kubeling.gateway.steps.model import StepTree
from kubeling.gateway.steps.run import RunSteps, steps_of_run
from kubeling.gateway.steps.workflow import attempts_of, steps_of_workflow
from kubeling.kube.client import Client
from kubeling.kube.logtail import log_tail
from kubeling.kube.objects import Obj
from kubeling.kube.resources import PODS, Resource

__all__ = ["PipelineRun", "Pipelines", "Reading", "Submission", "WorkflowRun"]

WORKFLOWS: Final = Resource("argoproj.io", "v1alpha1", "Workflow", "workflows")
_API: Final = "/apis/v2beta1"
_TAIL: Final = 15
_TIMEOUT: Final = aiohttp.ClientTimeout(total=60)


@dataclass(frozen=True, slots=True)
class Reading:
    """How far a run is."""

    state: str
    message: str
    tree: StepTree
    messages: dict[str, str] = field(default_factory=dict)
    """What is said of single steps, where that is known without asking."""

    @property
    def final(self) -> bool:
        return self.state in ("succeeded", "failed", "error", "canceled", "skipped")

    @property
    def succeeded(self) -> bool:
        return self.state == "succeeded"


class Submission(Protocol):
    """A run under way."""

    title: str
    id: str
    page: str

    async def read(self) -> Reading: ...

    async def stop(self) -> None: ...

    async def error_of(self, step: str) -> str:
        """Why a step failed, with the end of its log where that is known."""
        ...

    def pods_of(self, steps: set[str]) -> AsyncIterator[tuple[str, Obj]]:
        """The pods of steps, with the step each belongs to."""
        ...


class Pipelines:
    """The pipelines API of a running platform."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self.url = url

    async def call(self, method: str, path: str, body: Obj | None = None, **query: str) -> Obj:
        """The answer as JSON; raises :class:`CliError` with the API's words."""
        return dict(msgspec.json.decode(await self.read(method, path, body, **query)))

    async def read(self, method: str, path: str, body: Obj | None = None, **query: str) -> bytes:
        """The answer's body."""
        url = f"{self.url}{_API}{path}"
        return await self._send(method, url, json=body, params=query)

    async def of(self, path: str) -> Obj:
        """What another of the platform's REST faces answers."""
        return dict(msgspec.json.decode(await self._send("GET", self.url + path)))

    async def _send(self, method: str, url: str, **more: Any) -> bytes:
        async with self._session.request(method, url, timeout=_TIMEOUT, **more) as answer:
            data = await answer.read()
            if answer.status >= 400:
                raise CliError(_words(data))
            return data

    async def experiment(self, name: str) -> str:
        """The id of the experiment of that name, made if there is none."""
        only = {"key": "display_name", "operation": "EQUALS", "string_value": name}
        wanted = msgspec.json.encode({"predicates": [only]}).decode()
        found = await self.call("GET", "/experiments", filter=wanted)
        for experiment in found.get("experiments") or ():
            return str(experiment["experiment_id"])
        made = await self.call("POST", "/experiments", {"display_name": name})
        return str(made["experiment_id"])


def _words(data: bytes) -> str:
    try:
        return str(msgspec.json.decode(data)["message"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return data.decode(errors="replace")


class PipelineRun:
    """A run of a pipeline."""

    def __init__(self, pipelines: Pipelines, client: Client, run: Obj) -> None:
        self._pipelines = pipelines
        self._client = client
        self._namespace = str(run.get("namespace") or "default")
        self.id = str(run["run_id"])
        self.title = str(run.get("display_name") or self.id)
        self.page = f"{pipelines.url}/pipelines/runs/{self.id}"

    async def read(self) -> Reading:
        body = await self._pipelines.read("GET", f"/runs/{self.id}/steps", cache="true")
        found = msgspec.json.decode(body, type=RunSteps)
        error: Any = found.run.get("error") or {}
        state = str(found.run.get("state") or "pending").lower()
        return Reading(state, str(error.get("message", "")), StepTree(steps_of_run(found.steps)))

    async def stop(self) -> None:
        await self._pipelines.call("POST", f"/runs/{self.id}:terminate")

    async def error_of(self, step: str) -> str:
        task = await self._pipelines.call("GET", f"/tasks/{step}")
        return str((task.get("error") or {}).get("message") or "")

    async def pods_of(self, steps: set[str]) -> AsyncIterator[tuple[str, Obj]]:
        labels = f"pipeline/runid={self.id}"
        listed = await self._client.list(PODS, self._namespace, labels=labels)
        for pod in listed.items:
            step = str(pod["metadata"]["labels"].get("pipelines.kubeflow.org/task-id", ""))
            if step in steps:
                yield step, pod


class WorkflowRun:
    """A Workflow."""

    def __init__(self, client: Client, workflow: Obj, pipelines: Pipelines | None) -> None:
        self._client = client
        self._pipelines = pipelines
        self._namespace = str(workflow["metadata"]["namespace"])
        self._nodes: dict[str, Obj] = {}
        self.title = self.id = str(workflow["metadata"]["name"])
        path = f"/objects/argoproj.io/v1alpha1/Workflow/{self._namespace}/{self.id}"
        self.page = f"{pipelines.url}{path}" if pipelines else ""

    async def read(self) -> Reading:
        workflow = await self._client.get(WORKFLOWS, self.id, self._namespace)
        status: Obj = workflow.get("status") or {}
        if status.get("offloadNodeStatusVersion") and self._pipelines is not None:
            path = f"/api/v1/workflows/{self._namespace}/{self.id}"
            status = (await self._pipelines.of(path)).get("status") or {}
        self._nodes = status.get("nodes") or {}
        return Reading(
            str(status.get("phase") or "pending").lower(),
            str(status.get("message") or ""),
            StepTree(steps_of_workflow(self.id, self._nodes)),
            {key: node["message"] for key, node in self._nodes.items() if node.get("message")},
        )

    async def stop(self) -> None:
        patch = {"spec": {"shutdown": "Terminate"}}
        await self._client.patch(WORKFLOWS, self.id, patch, self._namespace)

    async def error_of(self, step: str) -> str:
        tries = attempts_of(step, self._nodes) if step in self._nodes else []
        said = str(tries[-1].get("message") or "") if tries else ""
        pods = [pod async for _, pod in self.pods_of({step})]
        pods.sort(key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")))
        for pod in pods[-1:]:
            tail = await log_tail(self._client, pod, "main", _TAIL)
            said = "\n".join([said, *tail])
        return said

    async def pods_of(self, steps: set[str]) -> AsyncIterator[tuple[str, Obj]]:
        owners = {
            attempt["id"]: step
            for step in steps
            if step in self._nodes
            for attempt in attempts_of(step, self._nodes)
        }
        labels = f"workflows.argoproj.io/workflow={self.id}"
        for pod in (await self._client.list(PODS, self._namespace, labels=labels)).items:
            node = (pod["metadata"].get("annotations") or {}).get("workflows.argoproj.io/node-id")
            if node in owners:
                yield owners[node], pod

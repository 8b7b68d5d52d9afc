"""Deletes artifacts when their Workflow has ended or is deleted.

Upstream: ``workflow/controller/artifact_gc.go``. A finalizer holds the Workflow until that is done.
Artifacts in the platform's store are deleted here; those elsewhere by a pod, which has the rights
and secrets that it takes. What could not be deleted keeps the Workflow, with a condition that says
why, unless ``forceFinalizerRemoval`` is set.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from zlib import crc32

import msgspec

from kubeling.component import Context
from kubeling.kube.errors import AlreadyExists
from kubeling.kube.objects import (
    Obj,
    deletion_requested,
    name,
    namespace,
    owner_reference,
    set_condition,
    uid,
)
from kubeling.kube.resources import PODS
from kubeling.workflows.exchange import moving
from kubeling.workflows.handover import Store
from kubeling.workflows.offload import Offload, is_offloaded
from kubeling.workflows.places import (
    InvalidPlace,
    Repository,
    is_elsewhere,
    known_repository,
    store_key,
    with_place,
)
from kubeling.workflows.pods import LABEL_WORKFLOW
from kubeling.workflows.resources import WORKFLOWS, Artifact
from kubeling.workflows.specs import merged_spec

__all__ = ["COMPONENT", "FINALIZER", "LABEL_COMPONENT", "ArtifactGC", "wants_gc"]

FINALIZER: Final = "workflows.argoproj.io/artifact-gc"
LABEL_COMPONENT: Final = "workflows.argoproj.io/component"
COMPONENT: Final = "artifact-gc"
_COMPLETION: Final = "OnWorkflowCompletion"
_DELETION: Final = "OnWorkflowDeletion"
_SHORT: Final = {_COMPLETION: "wfcomp", _DELETION: "wfdel"}
_AT_ONCE: Final = 100
"""Artifacts to a pod: they are in one of its variables."""


@dataclass(frozen=True, slots=True)
class _Doomed:
    """An artifact to delete, with the node that made it and the place it lies in."""

    node: str
    artifact: Artifact
    place: Obj
    pod: Obj
    """What the artifact says about the pod that deletes it."""

    @property
    def key(self) -> str:
        return f"{self.node}/{self.artifact.name}"


def wants_gc(spec: Obj) -> bool:
    """Whether a Workflow, or an artifact of its templates, asks for its artifacts' deletion."""
    templates: Iterable[Obj] = spec.get("templates") or ()
    artifacts = [a for t in templates for a in (t.get("outputs") or {}).get("artifacts") or ()]
    return any(_strategy(spec, artifact) in _SHORT for artifact in artifacts)


class ArtifactGC:
    """Deletes what is due of one Workflow after the other."""

    def __init__(self, context: Context, store: Store, offload: Offload) -> None:
        self._client = context.client
        self._clock = context.clock
        self._recorder = context.recorder("workflow-controller")
        self._pods = context.informers.of(PODS)
        self._store = store
        self._offload = offload

    async def reconcile(self, workflow: Obj) -> None:
        """Deletes what is due of an ended or deleted Workflow, and lets it go when all is."""
        if FINALIZER not in (workflow["metadata"].get("finalizers") or ()):
            return
        if deletion_requested(workflow):
            await self._end_steps(workflow)
        workflow = await self._offload.hydrated(workflow)
        repository = known_repository(workflow.get("status") or {}) or Repository()
        due = [_COMPLETION, _DELETION] if deletion_requested(workflow) else [_COMPLETION]
        deleted: set[str] = set()
        problems: dict[str, str] = {}
        waiting = False
        for strategy in due:
            doomed = _doomed(workflow, repository, strategy)
            here = [d for d in doomed if not is_elsewhere(d.place)]
            for one in here:
                await asyncio.to_thread(self._remove, namespace(workflow), one, deleted, problems)
            waiting |= await self._by_pods(
                workflow, strategy, [d for d in doomed if is_elsewhere(d.place)], deleted, problems
            )
        await self._tell(workflow, deleted, problems)
        left = [d for s in _SHORT for d in _doomed(workflow, repository, s) if d.key not in deleted]
        forced = bool((_spec(workflow).get("artifactGC") or {}).get("forceFinalizerRemoval"))
        if not waiting and (not left or (forced and deletion_requested(workflow))):
            await self._let_go(workflow)

    async def _end_steps(self, workflow: Obj) -> None:
        """Deletes pods that might still write artifacts."""
        for pod in self._pods.owned_by(uid(workflow)):
            if (pod["metadata"].get("labels") or {}).get(LABEL_COMPONENT) != COMPONENT:
                await self._client.delete(PODS, name(pod), namespace(pod), missing_ok=True)

    def _remove(
        self, space: str, doomed: _Doomed, deleted: set[str], problems: dict[str, str]
    ) -> None:
        try:
            if key := store_key(doomed.place):
                path = Path(self._store.folder) / space / key
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
        except (OSError, InvalidPlace) as error:
            problems[doomed.key] = f"artifact {doomed.artifact.name}: {error}"
        else:
            deleted.add(doomed.key)

    async def _by_pods(
        self,
        workflow: Obj,
        strategy: str,
        doomed: list[_Doomed],
        deleted: set[str],
        problems: dict[str, str],
    ) -> bool:
        """Has artifacts elsewhere deleted; whether there is still something to wait for."""
        waiting = False
        for pod_name, batch in _batches(workflow, strategy, doomed):
            found = await self._client.find(PODS, pod_name, namespace(workflow))
            if found is None:
                try:
                    pod = _pod(workflow, pod_name, batch)
                except InvalidPlace as problem:
                    problems[batch[0].key] = str(problem)
                    continue
                with contextlib.suppress(AlreadyExists):
                    await self._client.create(PODS, pod)
                waiting = True
            elif (phase := (found.get("status") or {}).get("phase")) in ("Succeeded", "Failed"):
                message = _message(found)
                if phase == "Failed":
                    problems[batch[0].key] = (
                        f"Artifact Garbage Collection failed for strategy {strategy}, pod "
                        f"{pod_name} exited with non-zero exit code: {message}"
                    )
                    continue
                failed: dict[str, str] = msgspec.json.decode(message or "{}")
                problems.update(failed)
                deleted.update(one.key for one in batch if one.key not in failed)
            else:
                waiting = True
        return waiting

    async def _tell(self, workflow: Obj, deleted: set[str], problems: dict[str, str]) -> None:
        """Writes what is gone into the nodes, and what went wrong into a condition."""
        status = workflow.get("status") or {}
        nodes: Obj = status.get("nodes") or {}
        changed: Obj = {}
        for key in {one.rpartition("/")[0] for one in deleted}:
            artifacts = [
                {**a, "deleted": True} if f"{key}/{a['name']}" in deleted else a
                for a in nodes[key]["outputs"]["artifacts"]
            ]
            outputs = {**nodes[key]["outputs"], "artifacts": artifacts}
            changed[key] = {**nodes[key], "outputs": outputs}
        patch: Obj = {}
        if changed and is_offloaded(workflow):
            places = {key: place for place, key in enumerate(nodes)}
            rows = {key: (places[key], msgspec.json.encode(n)) for key, n in changed.items()}
            known = int(status["offloadNodeStatusVersion"])
            version = await (await self._offload.store()).save(uid(workflow), rows, known)
            patch["offloadNodeStatusVersion"] = str(version)
        elif changed:
            patch["nodes"] = {key: {"outputs": node["outputs"]} for key, node in changed.items()}
        message = "; ".join(sorted(problems.values()))
        conditions: Obj = {"conditions": list(status.get("conditions") or ())}
        known_message = next(
            (c["message"] for c in conditions["conditions"] if c["type"] == "ArtifactGCError"), ""
        )
        if message and message != known_message:
            now = self._clock.now()
            set_condition(conditions, "ArtifactGCError", True, message=message, now=now)
            patch |= conditions
            await self._recorder.warning(workflow, "ArtifactGCFailed", message)
        if patch:
            await self._client.patch_status(WORKFLOWS, name(workflow), patch, namespace(workflow))

    async def _let_go(self, workflow: Obj) -> None:
        kept = [f for f in workflow["metadata"]["finalizers"] if f != FINALIZER]
        patch = {"metadata": {"finalizers": kept, "uid": uid(workflow)}}
        await self._client.patch(WORKFLOWS, name(workflow), patch, namespace(workflow))


def _spec(workflow: Obj) -> Obj:
    stored: Obj = (workflow.get("status") or {}).get("storedWorkflowTemplateSpec") or {}
    return merged_spec(workflow["spec"], stored)


def _strategy(spec: Obj, artifact: Obj) -> str:
    own = (artifact.get("artifactGC") or {}).get("strategy")
    return own or (spec.get("artifactGC") or {}).get("strategy") or "Never"


def _doomed(workflow: Obj, repository: Repository, strategy: str) -> list[_Doomed]:
    spec = _spec(workflow)
    found: list[_Doomed] = []
    nodes: Obj = (workflow.get("status") or {}).get("nodes") or {}
    for key, node in nodes.items():
        if node.get("type") != "Pod":
            continue
        for raw in (node.get("outputs") or {}).get("artifacts") or ():
            if raw.get("deleted") or _strategy(spec, raw) != strategy:
                continue
            place = repository.located(raw)
            if place is not None and "raw" not in place:
                artifact = with_place(msgspec.convert(raw, Artifact), place)
                pod = {**(spec.get("artifactGC") or {}), **(raw.get("artifactGC") or {})}
                found.append(_Doomed(key, artifact, place, pod))
    return found


def _batches(
    workflow: Obj, strategy: str, doomed: list[_Doomed]
) -> Iterable[tuple[str, list[_Doomed]]]:
    """Artifacts by the pod that deletes them: one for each set of rights."""
    groups: dict[str, list[_Doomed]] = {}
    for one in doomed:
        rights = msgspec.json.encode(
            [one.pod.get("serviceAccountName"), one.pod.get("podMetadata")], order="sorted"
        )
        groups.setdefault(str(crc32(rights)), []).append(one)
    for group, members in groups.items():
        for begin in range(0, len(members), _AT_ONCE):
            number = f"-{begin // _AT_ONCE}" if begin else ""
            pod_name = f"{name(workflow)}-artgc-{_SHORT[strategy]}-{group}{number}"
            yield pod_name, members[begin : begin + _AT_ONCE]


def _pod(workflow: Obj, pod_name: str, batch: list[_Doomed]) -> Obj:
    wanted = batch[0].pod
    metadata = wanted.get("podMetadata") or {}
    account = wanted.get("serviceAccountName") or _spec(workflow).get("serviceAccountName")
    named = [msgspec.structs.replace(one.artifact, name=one.key) for one in batch]
    spec: Obj = {"restartPolicy": "Never", "containers": [moving("delete", named)]}
    if account:
        spec["serviceAccountName"] = account
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": pod_name,
            "namespace": namespace(workflow),
            "labels": {
                **(metadata.get("labels") or {}),
                LABEL_WORKFLOW: name(workflow),
                LABEL_COMPONENT: COMPONENT,
            },
            "annotations": metadata.get("annotations") or {},
            "ownerReferences": [owner_reference(workflow)],
        },
        "spec": spec,
    }


def _message(pod: Obj) -> str:
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    for container in statuses:
        ended = (container.get("state") or {}).get("terminated") or {}
        return str(ended.get("message") or "").strip()
    return str((pod.get("status") or {}).get("message") or "")

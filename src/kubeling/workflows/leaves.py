"""The nodes at the ends of the tree: what runs in pods.

Kept apart from the tree above them (:mod:`kubeling.workflows.execution`): here is what becomes of a
template once it is to run, there who calls whom.
"""

from __future__ import annotations

import datetime as dt
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from kubeling.kube.durations import parse_duration
from kubeling.kube.objects import Obj, format_time, parse_time
from kubeling.workflows.errandlog import log_artifact
from kubeling.workflows.errands import Errand, ErrandResult, account_of
from kubeling.workflows.frames import Call, Frame
from kubeling.workflows.handover import Store, reports_progress
from kubeling.workflows.ledger import Ledger
from kubeling.workflows.meters import Sample
from kubeling.workflows.nodes import is_failed, is_fulfilled, node_id, parse_progress, pod_name
from kubeling.workflows.observation import PodObservation
from kubeling.workflows.outputs import MissingOutput, pod_outputs
from kubeling.workflows.places import (
    OWN,
    Repository,
    keeps_logs,
    known_repository,
    placed_outputs,
    repository_of,
)
from kubeling.workflows.pods import PodRequest, build_pod, pod_fields
from kubeling.workflows.resources import Node, Outputs, Phase, Template
from kubeling.workflows.scope import Scope
from kubeling.workflows.templates import Library, Resolved

__all__ = ["LEAF_TYPES", "Actions", "Leaves"]

_ERRANDS: Final = frozenset({"http", "resource", "data"})
LEAF_TYPES: Final = frozenset({"container", "script", "containerSet", *_ERRANDS})
"""The template types that run something themselves."""


@dataclass(slots=True)
class Actions:
    """What has to be done in the world, to pods by their names.

    Pods to ``create``, pods to ``stop`` and delete, and pods whose step is over while containers of
    theirs (sidecars, daemons) still run: those ``end``, and the pods stay with their logs.
    ``errands`` to begin and to ``give_up`` go by the ids of their nodes, as do the nodes whose
    outputs go into their caches (``remember``). ``measured`` are numbers for the metrics, by the
    moment that gave them; what ``failed`` is told in events.
    """

    create: dict[str, Obj] = field(default_factory=dict)
    stop: set[str] = field(default_factory=set)
    errands: dict[str, Errand] = field(default_factory=dict)
    give_up: set[str] = field(default_factory=set)
    end: set[str] = field(default_factory=set)
    remember: dict[str, Node] = field(default_factory=dict)
    measured: dict[str, list[Sample]] = field(default_factory=dict)
    failed: dict[str, Node] = field(default_factory=dict)

    def add(self, more: Actions) -> None:
        """Takes on what else has to be done."""
        self.create.update(more.create)
        self.stop.update(more.stop)
        self.end.update(more.end)
        self.errands.update(more.errands)
        self.give_up.update(more.give_up)
        self.remember.update(more.remember)
        self.measured.update(more.measured)
        self.failed.update(more.failed)


class Leaves(Ledger, ABC):
    """Starts leaves and takes in what is seen of them.

    ``_active`` are the leaves that have not ended, ``_declared`` the outputs they are to give,
    ``progress_files`` the keys of the files in which they say how far they are.
    """

    def __init__(self, workflow: Obj, spec: Obj, store: Store, library: Library) -> None:
        super().__init__(workflow["metadata"]["name"], workflow.get("status") or {})
        self.workflow = workflow
        self.spec = spec
        self._store = store
        self.library = library
        self.repository = known_repository(workflow.get("status") or {})
        self._actions = Actions()
        self._seen: dict[str, PodObservation] = {}
        self._forget_leaves()

    @abstractmethod
    def finish(self, node: Node, phase: Phase, message: str = "") -> None:
        """Brings a node to its end, once."""

    @abstractmethod
    def announce(self, node: Node) -> None:
        """Tells a node's frame that its daemon is ready."""

    @abstractmethod
    def notify(self, node: Node) -> None:
        """Tells a node's frame that its phase has changed."""

    @abstractmethod
    def at(self, moment: dt.datetime, action: Callable[[], None]) -> None:
        """Calls ``action`` when the moment has come."""

    def active_pods(self) -> list[Node]:
        """The nodes whose pods have not ended."""
        return [self.nodes[key] for key in self._active if key in self.nodes]

    def hold_back(self, key: str, why: str) -> None:
        """Notes why a pod could not be created yet."""
        node = self.nodes[key]
        if node.message != why:
            node.message = why
            self.touch(node)

    def reject(self, key: str, why: str) -> None:
        """Notes that a pod can never be created as it is."""
        self.finish(self.nodes[key], "Error", why)

    def stop_pod(self, node: Node, reason: str) -> None:
        """Stops a pod or an errand; its node has failed."""
        if node.id in self._errands:
            self._actions.errands.pop(node.id, None)
            self._actions.give_up.add(node.id)
            self.finish(node, "Failed", reason)
            return
        name = pod_name(self.name, node.name, node.template_name)
        self._actions.create.pop(name, None)
        self._actions.stop.add(name)
        self.finish(node, "Failed", reason)

    def daemonize(self, node: Node, pod_ip: str) -> None:
        """A daemon, or the retried node whose last attempt one is, is ready to be used."""
        self._daemons[node.id] = node
        if not node.daemoned or node.pod_ip != pod_ip:
            node.daemoned = True
            node.pod_ip = pod_ip
            self.touch(node)
        self.announce(node)

    def end_daemons(self, boundary: str) -> None:
        """Ends the daemons that were started inside a node; that is how they succeed."""
        for node in [n for n in self._daemons.values() if n.boundary_id == boundary]:
            del self._daemons[node.id]
            if is_fulfilled(node):
                continue
            node.daemoned = None
            if node.type == "Pod":
                self._actions.end.add(pod_name(self.name, node.name, node.template_name))
            self.finish(node, "Succeeded")

    # -- news --------------------------------------------------------------------------------

    def _forget_leaves(self) -> None:
        self._active: set[str] = set()
        self._declared: dict[str, Outputs | None] = {}
        self._daemons: dict[str, Node] = {}
        self._may_be_daemons: set[str] = set()
        self._errands: set[str] = set()
        self.progress_files: dict[str, str] = {}

    def _observe(self, seen: PodObservation) -> None:
        node = self.nodes.get(seen.node_id)
        if node is None or is_fulfilled(node) or node.type != "Pod":
            if seen.phase not in ("Pending", "Running"):
                self._active.discard(seen.node_id)
            return
        self._observe_containers(node, seen)
        if seen.phase in ("Pending", "Running"):
            self._progress_of_pod(node, seen)
            if node.id in self._may_be_daemons and seen.phase == "Running" and seen.ready:
                self.daemonize(node, seen.pod_ip)
            return
        if node.phase == "Pending":
            # It ran, too briefly to be seen: hooks want to know.
            node.phase = "Running"
            self.notify(node)
        node.host_node_name = seen.node_name or node.host_node_name
        declared = self._declared.pop(node.id, None)
        phase, message = seen.phase, seen.message
        node.resources_duration = seen.resources or None
        self.use(node, seen.resources)
        if node.id in self._may_be_daemons and phase == "Succeeded":
            # It was to go on until it is told to end.
            phase = "Failed"
        self._daemons.pop(node.id, None)
        node.daemoned = None
        if seen.leftover:
            self._actions.end.add(seen.pod)
        try:
            node.outputs = pod_outputs(declared, seen)
        except MissingOutput as problem:
            phase, message = "Error", str(problem)
        self.finish(node, phase, message)

    def report_progress(self, key: str, text: str) -> None:
        """Takes in what a step has written about how far it is."""
        node = self.nodes[key]
        part = parse_progress(text)
        if part is not None and not is_fulfilled(node):
            self.progressed(node, *part)

    def _take_result(self, result: ErrandResult) -> None:
        node = self.nodes.get(result.node_id)
        if node is None or is_fulfilled(node):
            return
        node.outputs = result.outputs or Outputs()
        if result.log:
            node.outputs.artifacts = [*node.outputs.artifacts, log_artifact(result.log)]
        if result.phase:
            self.finish(node, result.phase, result.message)
        else:
            self.touch(node)

    def _observe_containers(self, node: Node, seen: PodObservation) -> None:
        for name, news in seen.containers.items():
            child = self.nodes.get(node_id(self.name, f"{node.name}.{name}"))
            if child is None or is_fulfilled(child):
                continue
            if (child.phase, child.message) != (news.phase, news.message):
                child.phase, child.message = news.phase, news.message
                if is_fulfilled(child):
                    child.finished_at = self.stamp()
                self.touch(child)

    def _end_containers(self, node: Node) -> None:
        """No container of a set outlives its pod."""
        for key in node.children:
            child = self.nodes[key]
            if child.type == "Container":
                self._end_containers(child)
                if not is_fulfilled(child):
                    child.phase, child.message = node.phase, node.message
                    child.finished_at = self.stamp()
                    self.touch(child)

    def _progress_of_pod(self, node: Node, seen: PodObservation) -> None:
        if seen.phase == "Pending" and node.phase == "Running":
            return
        before = node.phase
        news = (seen.phase, seen.message, seen.node_name, seen.pod_ip)
        if news != (before, node.message, node.host_node_name, node.pod_ip):
            node.phase, node.message, node.host_node_name, node.pod_ip = news
            self.changed.add(node.id)
        if node.phase != before:
            self.notify(node)

    def _take_up(self, seen: PodObservation) -> None:
        """Counts a pod that is there already, even if its node was never written."""
        if seen.phase not in ("Pending", "Running"):
            return
        node = self.nodes.get(seen.node_id)
        if node is None or not is_fulfilled(node):
            self._active.add(seen.node_id)
        elif is_failed(node):
            self._actions.stop.add(seen.pod)

    # -- starting ----------------------------------------------------------------------------

    def _pod(self, node: Node, call: Call, resolved: Resolved, scope: Scope, owner: Frame) -> None:
        raw = self._rendered(node, resolved, scope)
        template = msgspec.convert(raw, Template)
        if resolved.type in _ERRANDS:
            self._errand(node, raw, template, owner)
            return
        repository = self._repository(node, template)
        pod = pod_name(self.name, node.name, template.name)
        template.outputs = placed_outputs(self.spec, template, repository, self.name, pod, scope)
        self._declared[node.id] = template.outputs
        self._active.add(node.id)
        self._watch_timeout(node, template)
        if template.daemon:
            self._may_be_daemons.add(node.id)
        if reports_progress(raw):
            self.progress_files[node.id] = f"{self.name}/{pod}/progress"
        self._open_containers(node, raw)
        seen = self._seen.get(node.id)
        if seen is not None:
            self._observe(seen)
            return
        if node.phase == "Running":
            self.finish(node, "Error", "pod deleted")
            return
        request = PodRequest(
            workflow=self.workflow,
            spec=self._pod_fields(raw, call, scope),
            node=node,
            raw=raw,
            template=template,
            capture_result=call.capture_result,
            deadline=self._deadline(template, owner),
            store=self._store,
            repository=repository,
            ends_at=format_time(owner.deadline) if owner.deadline is not None else "",
            around=owner.scheduling,
            on_exit=owner.exempt,
            avoided=owner.avoided,
        )
        self._actions.create[pod] = build_pod(request)

    def _errand(self, node: Node, raw: Obj, template: Template, owner: Frame) -> None:
        self._errands.add(node.id)
        self._active.add(node.id)
        self._watch_timeout(node, template)
        seconds = self._deadline(template, owner)
        if seconds is not None:
            due = parse_time(node.started_at or self.stamp()) + dt.timedelta(seconds=seconds)
            self.at(due, lambda: self._expire(node))
        if node.phase != "Running":
            node.phase = "Running"
            self.touch(node)
            self.notify(node)
        account = account_of(self.workflow, self.spec, raw)
        repository = self._repository(node, template)
        self._actions.errands[node.id] = Errand(node.id, raw, node.inputs, account, repository)

    def _open_containers(self, node: Node, raw: Obj) -> None:
        """The nodes of a container set's containers, each behind those it waits for."""
        listed = (raw.get("containerSet") or {}).get("containers") or ()
        made = {
            container["name"]: self.ensure(
                f"{node.name}.{container['name']}",
                container["name"],
                "Container",
                node.id,
                "Pending",
                template_scope=node.template_scope,
            )
            for container in listed
        }
        for container in listed:
            before = [made[name].id for name in container.get("dependencies") or ()]
            self.connect(before or [node.id], made[container["name"]].id)

    def _pod_fields(self, raw: Obj, call: Call, scope: Scope) -> Obj:
        """What the spec says of pods, with the volumes that this one mounts.

        Volumes may be named by what steps before have given.
        """
        fields = pod_fields(self.spec)
        mounted = set(_mounted(raw))
        volumes = [one for one in fields.pop("volumes", ()) if one.get("name") in mounted]
        rendered: Obj = scope.render(fields)
        if volumes:
            rendered["volumes"] = call.scope.render(volumes)
        return rendered

    def _repository(self, node: Node, template: Template) -> Repository:
        """Where artifacts go, looked up when the first step has some."""
        given = node.inputs.artifacts if node.inputs else ()
        taken = template.outputs.artifacts if template.outputs else ()
        if not (
            given
            or taken
            or template.data
            or keeps_logs(self.spec, template, self.repository or OWN)
        ):
            return OWN
        if self.repository is None:
            self.repository = repository_of(self.spec, self.library, self.globals)
            self.status_changed = True
        return self.repository

    def _rendered(self, node: Node, resolved: Resolved, scope: Scope) -> Obj:
        for artifact in (resolved.template.outputs or Outputs()).artifacts:
            scope.values[f"outputs.artifacts.{artifact.name}.path"] = artifact.path
        for parameter in (resolved.template.outputs or Outputs()).parameters:
            if parameter.value_from is not None and parameter.value_from.path:
                path = parameter.value_from.path
                scope.values[f"outputs.parameters.{parameter.name}.path"] = path
        # The inputs' own defaults have been used and may speak of things not in this scope.
        kept = {key: value for key, value in resolved.raw.items() if key != "inputs"}
        rendered: Obj = scope.render(kept)
        return rendered

    def _watch_timeout(self, node: Node, template: Template) -> None:
        if template.timeout:
            seconds = parse_duration(template.timeout)
            due = parse_time(node.started_at or self.stamp()) + dt.timedelta(seconds=seconds)
            self.at(due, lambda: self._expire(node))
        if template.pending_timeout:
            seconds = parse_duration(template.pending_timeout)
            due = parse_time(node.started_at or self.stamp()) + dt.timedelta(seconds=seconds)
            self.at(due, lambda: self._expire_pending(node))

    def _expire_pending(self, node: Node) -> None:
        if node.phase == "Pending":
            self.stop_pod(node, "timeout")

    def _expire(self, node: Node) -> None:
        if not is_fulfilled(node):
            self.stop_pod(node, "Step exceeded its deadline")

    def _deadline(self, template: Template, owner: Frame) -> int | None:
        seconds: list[int] = []
        if template.active_deadline_seconds is not None:
            seconds.append(int(template.active_deadline_seconds))
        if owner.deadline is not None:
            seconds.append(max(1, int((owner.deadline - self.now).total_seconds())))
        return min(seconds) if seconds else None


def _mounted(value: Any) -> Iterator[str]:
    """The names of the volumes that the containers of a template use."""
    if isinstance(value, list):
        for member in value:
            yield from _mounted(member)
    elif isinstance(value, dict):
        for key, member in value.items():
            if key in ("volumeMounts", "volumeDevices") and isinstance(member, list):
                yield from (str(mount.get("name")) for mount in member)
            else:
                yield from _mounted(member)

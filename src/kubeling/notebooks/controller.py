"""Notebooks: keeps the StatefulSet and Service of each, and mirrors its pod's state."""

from __future__ import annotations

from kubeling.component import Context
from kubeling.kube.controller import Controller, Result
from kubeling.kube.objects import Key, Obj, deletion_requested, labels, name, namespace, uid
from kubeling.kube.resources import EVENTS, PODS, SERVICES, STATEFUL_SETS
from kubeling.notebooks.plan import service, stateful_set, status
from kubeling.notebooks.resources import NOTEBOOKS

__all__ = ["NotebookController"]

_MANAGER = "notebook-controller"
_ABOUT = "about"


class NotebookController:
    """Reconciles notebooks."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._informers = context.informers
        self._recorder = context.recorder(_MANAGER)
        self._events = context.informers.of(EVENTS)
        self._events.add_index(_ABOUT, lambda event: (event["involvedObject"].get("uid", ""),))
        self._events.add_handler(self._forget)
        self._reissued: dict[str, int] = {}

    def controller(self) -> Controller:
        return Controller(
            "notebook",
            NOTEBOOKS,
            self.reconcile,
            owns=(STATEFUL_SETS, SERVICES),
            watches={PODS: _notebook_of_pod, EVENTS: _notebook_of_event},
        )

    async def reconcile(self, key: Key) -> Result | None:
        """Brings the owned objects and the status up to date."""
        notebook = self._informers.of(NOTEBOOKS).get(*key)
        if notebook is None or deletion_requested(notebook):
            return None
        stateful = await self._client.apply(
            STATEFUL_SETS, stateful_set(notebook), field_manager=_MANAGER
        )
        await self._client.apply(SERVICES, service(notebook), field_manager=_MANAGER)
        pod = self._informers.of(PODS).get(key.namespace, f"{key.name}-0")
        wanted = status(notebook, stateful, pod)
        if wanted != notebook.get("status"):
            fresh = {**notebook, "metadata": dict(notebook["metadata"]), "status": wanted}
            await self._client.replace_status(NOTEBOOKS, fresh)
        if pod is not None:
            await self._reissue(notebook, pod)
        return None

    async def _reissue(self, notebook: Obj, pod: Obj) -> None:
        """Shows the pod's warnings on the notebook, where its user looks."""
        for event in self._events.by_index(_ABOUT, uid(pod)):
            count = int(event.get("count") or 1)
            if event.get("type") != "Warning" or self._reissued.get(uid(event)) == count:
                continue
            self._reissued[uid(event)] = count
            text = f"Reissued from pod/{name(pod)}: {event.get('message', '')}"
            await self._recorder.warning(notebook, event.get("reason", ""), text)

    def _forget(self, event: Obj | None, present: Obj | None) -> None:
        if event is not None and present is None:
            self._reissued.pop(uid(event), None)


def _notebook_of_pod(pod: Obj) -> list[Key]:
    found = labels(pod).get("notebook-name")
    return [Key(namespace(pod), found)] if found else []


def _notebook_of_event(event: Obj) -> list[Key]:
    about = event.get("involvedObject") or {}
    pod = str(about.get("name", ""))
    if event.get("type") != "Warning" or about.get("kind") != "Pod" or not pod.endswith("-0"):
        return []
    return [Key(namespace(event), pod.removesuffix("-0"))]

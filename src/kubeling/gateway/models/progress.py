"""How far an InferenceService is with what its spec asks for, in one word and one sentence.

Derived from its status and pods, as all states here are; the command line waits by it, and the
model's page says it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kubeling.kube import objects
from kubeling.kube.objects import Obj, condition, generation, labels
from kubeling.serving.names import COMPONENT, REVISION, STOP

__all__ = ["Progress", "newest_pods", "progress_of"]

_INITIALIZER: Final = "storage-initializer"
_WAITS: Final = "PodPending"
"""The node says what a pod waits for, which may be a claim that nobody makes."""
_STOPPED: Final = "Stopped"
_INVALID: Final = "InvalidSpec"
_FAILED: Final = frozenset({"BlockedByFailedLoad", _INVALID})


@dataclass(frozen=True, slots=True)
class Progress:
    """``state`` is ``starting``, ``ready``, ``failed`` or ``stopped``; ``doing`` says more."""

    state: str
    doing: str
    revision: str = ""

    @property
    def final(self) -> bool:
        """Whether waiting longer is of no use."""
        return self.state != "starting"


def progress_of(isvc: Obj, pods: Sequence[Obj]) -> Progress:
    """How far the newest revision is."""
    status: Obj = isvc.get("status") or {}
    if status.get("observedGeneration") != generation(isvc):
        return Progress("starting", "waiting for the controller")
    revision = _newest(status)
    if objects.annotations(isvc).get(STOP) == "true":
        return Progress("stopped", "stopped by its annotation", revision)
    ready = condition(isvc, "Ready")
    if ready is not None and ready.status == "True":
        return Progress("ready", "ready", revision)
    if ready is not None and ready.reason == _STOPPED:
        return Progress("starting", "starting again", revision)
    model: Obj = status.get("modelStatus") or {}
    if model.get("transitionStatus") in _FAILED or (ready and ready.status == "False"):
        said = (model.get("lastFailureInfo") or {}).get("message") or (ready and ready.message)
        # What is no valid spec has become no revision: the newest one is another's.
        whose = "" if model.get("transitionStatus") == _INVALID else revision
        return Progress("failed", str(said or "it cannot be served"), whose)
    if ready is not None and ready.reason == _WAITS:
        return Progress("starting", ready.message, revision)
    doing = [what for pod in newest_pods(revision, pods) if (what := _doing(pod))]
    return Progress("starting", doing[0] if doing else "waiting for a pod", revision)


def newest_pods(revision: str, pods: Iterable[Obj]) -> list[Obj]:
    """The pods of a revision, its predictor's first."""
    number = revision.rpartition("-")[2]
    found = [pod for pod in pods if number and labels(pod).get(REVISION) == number]
    return sorted(found, key=lambda pod: labels(pod).get(COMPONENT) != "predictor")


def _newest(status: Obj) -> str:
    predictor: Obj = (status.get("components") or {}).get("predictor") or {}
    return str(predictor.get("latestCreatedRevision") or "")


def _doing(pod: Obj) -> str:
    """What keeps a pod from being ready."""
    ready = condition(pod, "Ready")
    if ready is not None and ready.status == "True":
        return ""
    status: Obj = pod.get("status") or {}
    scheduled = condition(pod, "PodScheduled")
    if scheduled is not None and scheduled.status == "False":
        return scheduled.message
    for entry in status.get("initContainerStatuses") or ():
        if "terminated" not in (entry.get("state") or {}):
            fetches = entry["name"] == _INITIALIZER
            return "fetching the model" if fetches else f"waiting for {entry['name']}"
    running = any(_is_running(entry) for entry in status.get("containerStatuses") or ())
    return "loading the model" if running else "starting the server"


def _is_running(entry: Any) -> bool:
    return "running" in (entry.get("state") or {})

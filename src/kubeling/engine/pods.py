"""The life of a pod, as a pure function: from what was observed to what to do next.

The agent observes containers (:class:`ContainerState`), asks :func:`decide` and does as told, again
and again. All rules about order, restarts, back-off, sidecars and deadlines are here and nowhere
else; no state is kept beside the observations.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from kubeling.engine.containers import Exit
from kubeling.engine.podspec import (
    ephemeral_containers,
    init_containers,
    is_sidecar,
    main_containers,
    restart_policy,
)
from kubeling.kube.objects import Obj

__all__ = [
    "Backoff",
    "ContainerState",
    "Decision",
    "Ended",
    "PodState",
    "Running",
    "StopReason",
    "Waiting",
    "decide",
]

CREATING: Final = "ContainerCreating"
INITIALIZING: Final = "PodInitializing"

StopReason = Literal["Deleted", "DeadlineExceeded", "Evicted"]
Phase = Literal["Pending", "Running", "Succeeded", "Failed"]


@dataclass(frozen=True, slots=True)
class Waiting:
    """Not running; with ``retry_at``, an attempt failed and the next is due then."""

    reason: str = CREATING
    message: str = ""
    retry_at: float | None = None


@dataclass(frozen=True, slots=True)
class Running:
    """Running; ``started`` once the startup probe has passed."""

    started_at: float
    started: bool = True
    ready: bool = True


@dataclass(frozen=True, slots=True)
class Ended:
    """Ended, and not started again since."""

    exit: Exit


@dataclass(frozen=True, slots=True)
class ContainerState:
    """What is known of one container. ``attempt`` counts its starts from 0; -1: none yet.

    ``crashes`` are its restarts in a row without a long run between them.
    """

    current: Waiting | Running | Ended = field(default_factory=Waiting)
    attempt: int = -1
    last: Exit | None = None
    crashes: int = 0

    @property
    def running(self) -> bool:
        return isinstance(self.current, Running)

    @property
    def started(self) -> bool:
        return isinstance(self.current, Running) and self.current.started

    @property
    def ended(self) -> Exit | None:
        return self.current.exit if isinstance(self.current, Ended) else None


@dataclass(frozen=True, slots=True)
class PodState:
    """The containers by name, and why the pod must stop, if it must."""

    containers: Mapping[str, ContainerState]
    stopping: StopReason | None = None

    def of(self, container: Obj) -> ContainerState:
        return self.containers[container["name"]]


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long a container that keeps ending waits: at once, then ``base`` seconds, doubling."""

    base: float = 10.0
    limit: float = 300.0

    def delay(self, crashes: int) -> float:
        if crashes <= 0:
            return 0.0
        return float(min(self.base * 2.0 ** min(crashes - 1, 32), self.limit))

    def is_long_run(self, ended: Exit) -> bool:
        """A run of twice the limit is a success: the count begins anew."""
        return ended.finished_at - ended.started_at >= 2 * self.limit


@dataclass(slots=True)
class Decision:
    """What to do now, when to look again, and the phase the pod is in.

    ``backing_off`` are the containers that will be started again, with the seconds they wait.
    """

    phase: Phase = "Pending"
    start: list[str] = field(default_factory=list)
    stop: list[str] = field(default_factory=list)
    backing_off: dict[str, float] = field(default_factory=dict)
    wake_at: float | None = None

    @property
    def finished(self) -> bool:
        return self.phase in ("Succeeded", "Failed")

    def look_again(self, moment: float) -> None:
        self.wake_at = moment if self.wake_at is None else min(self.wake_at, moment)


def decide(pod: Obj, state: PodState, now: float, backoff: Backoff) -> Decision:
    """The next actions for a pod that has a node."""
    decision = Decision()
    if state.stopping is not None:
        _stop(pod, state, decision)
        return decision
    _begin_ephemeral(pod, state, now, decision)
    if not _initialise(pod, state, now, backoff, decision):
        return decision
    for container in main_containers(pod):
        _run(container, state.of(container), restart_policy(pod), now, backoff, decision)
    _conclude(pod, state, decision)
    return decision


def _begin_ephemeral(pod: Obj, state: PodState, now: float, decision: Decision) -> None:
    """Starts what was added to the pod: at any time, and never a second time."""
    for container in ephemeral_containers(pod):
        known = state.of(container)
        match known.current:
            case Waiting(retry_at=due) if known.attempt < 0:
                if (due or now) <= now:
                    decision.start.append(container["name"])
                elif due is not None:
                    decision.look_again(due)


def _initialise(
    pod: Obj, state: PodState, now: float, backoff: Backoff, decision: Decision
) -> bool:
    """Brings the init containers forward; returns whether the main ones may run."""
    begun = any(state.of(c).attempt >= 0 for c in main_containers(pod))
    over = begun and _mains_over(pod, state)
    policy = "Never" if restart_policy(pod) == "Never" else "OnFailure"
    for container in init_containers(pod):
        known = state.of(container)
        if is_sidecar(container):
            if not over:
                _run(container, known, "Always", now, backoff, decision)
            if not known.started and not begun:
                return False
        elif not begun:
            if (ended := known.ended) is not None and ended.exit_code == 0:
                continue
            if ended is not None and not _restarts(container, policy, ended):
                _stop_sidecars(pod, state, decision, "Failed")
                return False
            _run(container, known, policy, now, backoff, decision)
            return False
    return True


def _run(
    container: Obj,
    known: ContainerState,
    policy: str,
    now: float,
    backoff: Backoff,
    decision: Decision,
) -> None:
    """Starts a container that should run and does not, when it is due."""
    match known.current:
        case Running():
            return
        case Waiting(retry_at=retry_at):
            due = retry_at or now
        case Ended(exit=ended):
            if not _restarts(container, policy, ended):
                return
            crashes = 0 if backoff.is_long_run(ended) else known.crashes
            due = ended.finished_at + backoff.delay(crashes)
            if due > now:
                decision.backing_off[container["name"]] = backoff.delay(crashes)
    if due <= now:
        decision.start.append(container["name"])
    else:
        decision.look_again(due)


def _restarts(container: Obj, policy: str, ended: Exit) -> bool:
    """Whether a container runs again: by its own rules, its own policy or, without, the pod's."""
    for rule in container.get("restartPolicyRules") or ():
        codes = rule.get("exitCodes") or {}
        named = ended.exit_code in (codes.get("values") or ())
        if named is (codes.get("operator") == "In"):
            return bool(rule.get("action") == "Restart")
    policy = container.get("restartPolicy") or policy
    return policy == "Always" or (policy == "OnFailure" and ended.exit_code != 0)


def _mains_over(pod: Obj, state: PodState) -> bool:
    policy = restart_policy(pod)
    exits = [(c, state.of(c).ended) for c in main_containers(pod)]
    return all(e is not None and not _restarts(c, policy, e) for c, e in exits)


def _conclude(pod: Obj, state: PodState, decision: Decision) -> None:
    if _mains_over(pod, state):
        _stop_sidecars(pod, state, decision, _outcome(pod, state))
    elif any(state.of(c).attempt >= 0 for c in main_containers(pod)):
        never = [c for c in main_containers(pod) if state.of(c).attempt < 0]
        decision.phase = "Pending" if never else "Running"


def _stop(pod: Obj, state: PodState, decision: Decision) -> None:
    """Main and init containers go first, sidecars when nobody needs them any more."""
    plain = [c for c in init_containers(pod) if not is_sidecar(c)]
    first = _names(*plain, *main_containers(pod), *ephemeral_containers(pod))
    running = [name for name in first if state.containers[name].running]
    if running:
        decision.phase = "Running"
        decision.stop += running
        return
    failed = state.stopping in ("DeadlineExceeded", "Evicted")
    _stop_sidecars(pod, state, decision, "Failed" if failed else _outcome(pod, state))


def _stop_sidecars(pod: Obj, state: PodState, decision: Decision, outcome: Phase) -> None:
    """Stops the sidecars, the last one first; without any left, the pod has its outcome."""
    added = [n for n in _names(*ephemeral_containers(pod)) if state.containers[n].running]
    sidecars = [c["name"] for c in init_containers(pod) if is_sidecar(c)]
    running = [name for name in reversed(sidecars) if state.containers[name].running]
    decision.stop += added
    decision.start.clear()
    decision.backing_off.clear()
    decision.wake_at = None
    if running:
        decision.phase = "Running"
        decision.stop.append(running[0])
    elif added:
        decision.phase = "Running"
    else:
        decision.phase = outcome


def _outcome(pod: Obj, state: PodState) -> Phase:
    exits = [state.of(c).ended for c in main_containers(pod)]
    return "Succeeded" if all(e is not None and e.exit_code == 0 for e in exits) else "Failed"


def _names(*containers: Obj) -> Iterator[str]:
    return (container["name"] for container in containers)

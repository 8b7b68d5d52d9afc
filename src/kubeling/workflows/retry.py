"""``retryStrategy``: a node of type Retry whose children are the attempts."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from kubeling.kube.durations import parse_duration
from kubeling.kube.objects import Obj, parse_time
from kubeling.workflows.frames import Call, Frame
from kubeling.workflows.nodes import is_failed, node_id
from kubeling.workflows.resources import Node, Phase
from kubeling.workflows.scope import Scope, Unresolved
from kubeling.workflows.templates import Resolved

if TYPE_CHECKING:
    from kubeling.workflows.execution import Execution

__all__ = ["RetryFrame"]

_LONGEST: Final = 10 * 365 * 86400.0
_TRANSIENT: Final = (
    "unexpected error when reading response body", "stream error when reading response body",
    "Connection closed by foreign host", "net/http: TLS handshake timeout", "i/o timeout",
    "connection timed out", "connection reset by peer", "http2: client connection lost",
    "http2: server sent GOAWAY and closed the connection",
    "request did not complete within requested timeout", "connect: connection refused",
    "invalid connection", "exceeded quota", "etcdserver: leader changed",
    "etcdserver: request timed out", "etcdserver: too many requests",
)  # fmt: skip
"""What a message says when the cause is likely to pass (upstream's ``util/errors``)."""


class RetryFrame(Frame):
    """Runs a template again until it succeeds or the strategy has had enough."""

    def __init__(
        self,
        execution: Execution,
        node: Node,
        call: Call,
        resolved: Resolved,
        scope: Scope,
        owner: Frame,
        strategy: Obj,
    ) -> None:
        self.execution = execution
        self.node = node
        self.exempt = owner.exempt
        self.depth = owner.depth
        self.deadline = owner.deadline
        self.scheduling = owner.scheduling
        self._call = call
        self._resolved = resolved
        self._scope = scope
        self._strategy: Obj = scope.render(strategy, keep=("lastRetry", "retries"))
        self._attempt = 0
        self._first: Node | None = None
        self._last: Node | None = None

    def open(self) -> None:
        """Makes, or finds, the first attempt."""
        self._start()

    def joined(self, node: Node) -> None:
        self.execution.connect([self.node.id], node.id)

    def child_done(self, node: Node) -> None:
        self._last = node
        if self._first is None:
            self._first = node
        if node.daemoned:
            self.execution.daemonize(self.node, node.pod_ip)
            return
        if not is_failed(node):
            self._finish(node.phase, node.message)
            return
        self._attempt += 1
        if node_id(self.execution.name, self._name()) in self.execution.nodes:
            self._start()
            return
        try:
            reason = self._enough(node)
        except (Unresolved, ValueError) as problem:
            self._finish("Error", str(problem))
            return
        if reason is not None:
            self._finish(node.phase, reason)
            return
        self.execution.meter(node, self._resolved)
        self._wait(node)

    def _wait(self, node: Node) -> None:
        """Starts the next attempt when its time has come."""
        delay = self._delay()
        if (last_moment := self._last_moment()) is not None:
            self.deadline = min(self.deadline or last_moment, last_moment)
        if not delay:
            self._start()
            return
        finished = parse_time(node.finished_at or self.execution.stamp())
        due = min(self.execution.now, finished + dt.timedelta(seconds=1)) + delay
        self.node.message = f"Backoff for {_shown(delay)}"
        self.execution.changed.add(self.node.id)
        self.execution.at(due, self._again)

    def daemon_lost(self, node: Node) -> None:
        self.node.daemoned = None
        self.execution.touch(self.node)
        self.child_done(node)

    def give_up(self) -> None:
        """Ends the waiting for the next attempt."""
        if self._last is not None and self._last.phase in ("Failed", "Error"):
            self._finish("Failed", self.execution.stopping)

    def _again(self) -> None:
        if self.node.phase == "Running":
            self.node.message = ""
            self.execution.changed.add(self.node.id)
            self._start()

    def _name(self) -> str:
        return f"{self.node.name}({self._attempt})"

    @property
    def avoided(self) -> Sequence[str]:
        """The nodes on which attempts have failed, if the next is to go elsewhere."""
        if (self._strategy.get("affinity") or {}).get("nodeAntiAffinity") is None:
            return ()
        tried = (self.execution.nodes[key] for key in self.node.children)
        return list(dict.fromkeys(n.host_node_name for n in tried if n.host_node_name))

    def _start(self) -> None:
        call = self._call
        self.execution.start(
            Call(
                self._name(),
                f"{self.node.display_name}({self._attempt})",
                call.raw,
                call.scope,
                call.place,
                call.boundary,
                capture_result=call.capture_result,
                hooked=call.hooked,
                attempt=self._attempt,
                inputs=self.node.inputs,
                resolved=self._resolved,
                extra={**call.extra, **self._variables()},
            ),
            self,
        )

    def _variables(self) -> dict[str, str]:
        """What the next attempt knows about the one before."""
        last = self._last
        exit_code = last.outputs.exit_code if last is not None and last.outputs else ""
        return {
            "retries": str(self._attempt),
            "lastRetry.exitCode": exit_code or "0",
            "lastRetry.status": "" if last is None else last.phase,
            "lastRetry.duration": str(_seconds(last)),
            "lastRetry.message": "" if last is None else last.message,
        }

    def _enough(self, node: Node) -> str | None:
        """Why there is no further attempt, or ``None``; in upstream's order."""
        if self.execution.stopping and not self.exempt:
            return self.execution.stopping
        if (reason := self._too_late()) is not None:
            return reason
        if not self._policy_allows(node):
            return node.message
        limit = self._strategy.get("limit")
        if limit is not None and self._attempt > int(limit):
            return "No more retries left"
        expression = self._strategy.get("expression")
        if expression and not self._scope.child(self._facts(node)).decide(expression):
            return "retryStrategy.expression evaluated to false"
        return None

    def _facts(self, node: Node) -> dict[str, str]:
        """What ``expression`` is about: the attempt that has failed."""
        exit_code = node.outputs.exit_code if node.outputs else ""
        return {
            **self._variables(),
            "retries": str(self._attempt - 1),
            "lastRetry.exitCode": exit_code or "-1",
        }

    def _policy_allows(self, node: Node) -> bool:
        default = "Always" if self._strategy.get("expression") else "OnFailure"
        match self._strategy.get("retryPolicy") or default:
            case "Always":
                return True
            case "OnError":
                return node.phase == "Error"
            case "OnTransientError":
                return any(sign in node.message for sign in _TRANSIENT)
        return node.phase == "Failed"

    def _last_moment(self) -> dt.datetime | None:
        longest = (self._strategy.get("backoff") or {}).get("maxDuration")
        if not longest or self._first is None or self._first.started_at is None:
            return None
        begun = parse_time(self._first.started_at)
        return begun + dt.timedelta(seconds=parse_duration(longest))

    def _too_late(self) -> str | None:
        backoff = self._strategy.get("backoff") or {}
        if backoff and not backoff.get("duration"):
            raise ValueError("no base duration specified for retryStrategy")
        end = self._last_moment()
        if end is None:
            return None
        if self.execution.now > end:
            return "Max duration limit exceeded"
        if self.execution.now + (self._delay() or dt.timedelta()) > end:
            return "Backoff would exceed max duration limit"
        return None

    def _delay(self) -> dt.timedelta | None:
        backoff = self._strategy.get("backoff") or {}
        if not backoff.get("duration"):
            return None
        seconds = parse_duration(backoff["duration"])
        factor = int(backoff.get("factor") or 0)
        if factor > 0:
            seconds = min(seconds * float(factor) ** (self._attempt - 1), _LONGEST)
        if backoff.get("cap"):
            seconds = min(seconds, parse_duration(backoff["cap"]))
        return dt.timedelta(seconds=seconds)

    def _finish(self, phase: Phase, message: str) -> None:
        last = self._last
        if last is not None:
            self.node.outputs = last.outputs
            self.node.progress = last.progress
        self.execution.finish(self.node, phase, message)


def _seconds(node: Node | None) -> int:
    if node is None or not node.started_at or not node.finished_at:
        return 0
    return int((parse_time(node.finished_at) - parse_time(node.started_at)).total_seconds())


def _shown(delay: dt.timedelta) -> str:
    """A duration in up to two units, as upstream's ``util/humanize`` writes it."""
    seconds = int(delay.total_seconds())
    if seconds < 60:
        return "0 seconds" if seconds < 1 else _counted(seconds, "second")
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if hours < 1:
        return f"{_counted(minutes, 'minute')} {seconds % 60} seconds"
    if days < 1:
        return f"{_counted(hours, 'hour')} {minutes % 60} minutes"
    return f"{_counted(days, 'day')} {hours % 24} hours"


def _counted(number: int, unit: str) -> str:
    return f"{number} {unit}{'' if number == 1 else 's'}"

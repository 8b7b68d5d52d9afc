"""``retryStrategy``: a node of type Retry whose children are the attempts."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from kubeling.kube.durations import parse_duration
from kubeling.kube.objects import Obj, parse_time
from kubeling.workflows.frames import Call, Frame
from kubeling.workflows.nodes import node_id
from kubeling.workflows.resources import Node, Phase
from kubeling.workflows.scope import Scope
from kubeling.workflows.templates import Resolved

if TYPE_CHECKING:
    from kubeling.workflows.execution import Execution

__all__ = ["RetryFrame"]

_POLICIES = {
    "Always": ("Failed", "Error"),
    "OnFailure": ("Failed",),
    "OnError": ("Error",),
    "OnTransientError": ("Error",),
}


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
        self.depth = owner.depth + 1
        self.deadline = owner.deadline
        self.scheduling = owner.scheduling
        self._call = call
        self._resolved = resolved
        self._scope = scope
        self._strategy: Obj = scope.render(strategy, keep=("lastRetry", "retries"))
        self._attempt = 0
        self._last: Node | None = None

    def open(self) -> None:
        """Makes, or finds, the first attempt."""
        self._start()

    def joined(self, node: Node) -> None:
        self.execution.connect([self.node.id], node.id)

    def child_done(self, node: Node) -> None:
        self._last = node
        if node.daemoned:
            self.execution.daemonize(self.node, node.pod_ip)
            return
        if node.phase not in ("Failed", "Error"):
            self._finish(node.phase, node.message)
            return
        self._attempt += 1
        if node_id(self.execution.name, self._name()) in self.execution.nodes:
            self._start()
            return
        reason = self._enough(node)
        if reason is not None:
            self._finish(node.phase, reason)
            return
        self.execution.meter(node, self._resolved)
        delay = self._delay()
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
        last = self._last
        exit_code = last.outputs.exit_code if last is not None and last.outputs else ""
        return {
            "retries": str(self._attempt),
            "lastRetry.exitCode": exit_code or ("0" if last is None else "-1"),
            "lastRetry.status": "" if last is None else last.phase,
            "lastRetry.duration": str(_seconds(last)),
            "lastRetry.message": "" if last is None else last.message,
        }

    def _enough(self, node: Node) -> str | None:
        """Why there is no further attempt, or ``None``."""
        if self.execution.stopping and not self.exempt:
            return self.execution.stopping
        expression = self._strategy.get("expression")
        default = "Always" if expression else "OnFailure"
        if node.phase not in _POLICIES[self._strategy.get("retryPolicy") or default]:
            return node.message
        limit = self._strategy.get("limit")
        if limit is not None and self._attempt > int(limit):
            return "No more retries left"
        if expression and not self._scope.child(self._variables()).evaluate(expression):
            return "retryStrategy.expression evaluated to false"
        return self._too_late()

    def _too_late(self) -> str | None:
        longest = (self._strategy.get("backoff") or {}).get("maxDuration")
        if not longest or self.node.started_at is None:
            return None
        end = parse_time(self.node.started_at) + dt.timedelta(seconds=parse_duration(longest))
        if self.execution.now + (self._delay() or dt.timedelta()) > end:
            return "Max duration limit exceeded"
        return None

    def _delay(self) -> dt.timedelta | None:
        backoff = self._strategy.get("backoff") or {}
        if not backoff.get("duration"):
            return None
        seconds = parse_duration(backoff["duration"])
        if backoff.get("factor") is not None:
            seconds *= float(backoff["factor"]) ** (self._attempt - 1)
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
    return f"{delay.total_seconds():g} seconds"

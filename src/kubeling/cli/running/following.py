"""Follows a run to its end, and prints what its steps write."""

from __future__ import annotations

import asyncio
from typing import Final

from kubeling.cli.running.submission import Reading, Submission
from kubeling.cli.running.view import View
from kubeling.cli.running.watching import Watch
from kubeling.gateway.steps.model import BAD
from kubeling.kube.advice import advice
from kubeling.kube.client import Client
from kubeling.kube.errors import ApiError
from kubeling.kube.objects import Obj, name, namespace

__all__ = ["follow", "tell_failures"]

_SHOWN: Final = 3
_TAIL: Final = 15


async def follow(
    submission: Submission, client: Client, view: View, *, logs: bool
) -> Reading | None:
    """The run's last reading; ``None`` if the user leaves it to itself."""
    async with asyncio.TaskGroup() as group:
        writers = _Writers(group, submission, client, view, wanted=logs)
        watch = Watch(submission.read, submission.stop, view, "run", writers.at)
        reading = await watch.run(writers.pressed)
        await writers.finish(reading)
    return reading


class _Writers:
    """Prints what steps write, each from its beginning, while it is written."""

    def __init__(
        self,
        group: asyncio.TaskGroup,
        submission: Submission,
        client: Client,
        view: View,
        *,
        wanted: bool,
    ) -> None:
        self._wanted = wanted
        self._group = group
        self._submission = submission
        self._client = client
        self._view = view
        self._known: set[tuple[str, str]] = set()
        self._tasks: list[asyncio.Task[None]] = []

    def pressed(self, key: str) -> None:
        """``l`` asks for what is written, and for silence again."""
        if key.lower() == "l":
            self._wanted = not self._wanted

    async def at(self, reading: Reading) -> None:
        """The run has come so far."""
        self._view.muted = not self._wanted
        if self._wanted:
            await self.look(reading)

    async def finish(self, reading: Reading | None) -> None:
        """Prints the rest of what was written; without a reading, nothing more."""
        if reading is not None and self._wanted:
            await self.look(reading)
            return
        for task in self._tasks:
            task.cancel()

    async def look(self, reading: Reading) -> None:
        """Begins with the steps that have begun since."""
        labels = {s.id: s.label for s in reading.tree.leaves() if s.started is not None}
        async for step, pod in self._submission.pods_of(set(labels)):
            for container in pod["spec"]["containers"]:
                key = (name(pod), container["name"])
                if key not in self._known and _has_begun(pod):
                    self._known.add(key)
                    several = len(pod["spec"]["containers"]) > 1
                    label = f"{labels[step]}/{container['name']}" if several else labels[step]
                    work = self._write(pod, container["name"], label)
                    self._tasks.append(self._group.create_task(work))

    async def _write(self, pod: Obj, container: str, label: str) -> None:
        rest = b""
        try:
            async for chunk in self._client.logs(
                name(pod), namespace(pod), container=container, follow=True
            ):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    self._view.log(label, line.decode(errors="replace"))
        except (ApiError, ConnectionError) as error:
            self._view.log(label, f"(the log ends here: {error})")
        if rest:
            self._view.log(label, rest.decode(errors="replace"))


def _has_begun(pod: Obj) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Running", "Succeeded", "Failed")


async def tell_failures(submission: Submission, reading: Reading, view: View) -> None:
    """Says of the first failed steps why, with the end of their logs and what to try."""
    bad = [step for step in reading.tree.leaves() if step.state in BAD]
    if reading.message and not bad:
        view.say(reading.message, "red")
    for step in bad[:_SHOWN]:
        said = await submission.error_of(step.id)
        first, _, rest = said.partition("\n")
        view.say(f"✗ {step.label}: {first}", "red")
        for line in rest.strip().splitlines()[-_TAIL:]:
            view.say(f"  | {line}")
        if hint := advice(said):
            view.say(f"  Try this: {hint}")
    if len(bad) > _SHOWN:
        view.say(f"… and {len(bad) - _SHOWN} more failed steps")

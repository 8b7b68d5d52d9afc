"""Watches a run to its end, prints what steps write, and asks what ctrl-C is meant to stop."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from typing import Final, Literal

import click

from kubeling.cli.running.keys import Keys
from kubeling.cli.running.submission import Reading, Submission
from kubeling.cli.running.view import View
from kubeling.gateway.steps.model import BAD
from kubeling.kube.advice import advice
from kubeling.kube.client import Client
from kubeling.kube.errors import ApiError
from kubeling.kube.objects import Obj, name, namespace

__all__ = ["follow", "tell_failures"]

_INTERVAL: Final = 0.25
_SHARE: Final = 8
_SHOWN: Final = 3
_TAIL: Final = 15


async def follow(
    submission: Submission, client: Client, view: View, *, logs: bool
) -> Reading | None:
    """The run's last reading; ``None`` if the user leaves it to itself."""
    watch = _Watch(submission, client, view, logs=logs)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, watch.interrupted.set)
    try:
        with view.shown():
            return await watch.run()
    finally:
        watch.keys.stop()
        loop.remove_signal_handler(signal.SIGINT)


class _Watch:
    """Reads how far the run is, again and again, until it has ended or the user leaves."""

    def __init__(self, submission: Submission, client: Client, view: View, *, logs: bool) -> None:
        self._submission = submission
        self._client = client
        self._view = view
        self._logs = logs
        self.interrupted = asyncio.Event()
        self.keys = Keys(self._pressed)

    def _pressed(self, key: str) -> None:
        if key.lower() == "l":
            self._logs = not self._logs

    async def run(self) -> Reading | None:
        if self._view.is_live:
            self.keys.listen()
        async with asyncio.TaskGroup() as group:
            writers = _Writers(group, self._submission, self._client, self._view)
            reading = await self._until_end(writers)
            await writers.finish(reading if self._logs else None)
        return reading

    async def _until_end(self, writers: _Writers) -> Reading | None:
        lost = False
        while True:
            began = time.perf_counter()
            try:
                reading = await self._submission.read()
            except (ConnectionError, TimeoutError):
                # The platform restarts: the run goes on with it.
                if not lost:
                    self._view.say("the platform does not answer; waiting for it …")
                lost = True
            else:
                lost = False
                self._view.update(reading)
                if reading.final:
                    return reading
                self._view.muted = not self._logs
                if self._logs:
                    await writers.look(reading)
            took = time.perf_counter() - began
            if await self._pause(max(_INTERVAL, took * _SHARE)) == "leave":
                return None

    async def _pause(self, seconds: float) -> Literal["stop", "leave", "watch"]:
        """Waits, unless ctrl-C is pressed: then does what that is meant for."""
        try:
            async with asyncio.timeout(seconds):
                await self.interrupted.wait()
        except TimeoutError:
            return "watch"
        self.interrupted.clear()
        meant = await self._meaning()
        if meant == "stop":
            await self._submission.stop()
        return meant

    async def _meaning(self) -> Literal["stop", "leave", "watch"]:
        """What ctrl-C is meant to end; where nobody can be asked, only the watching."""
        if not sys.stdin.isatty():
            return "leave"
        self.keys.stop()
        self._view.pause()
        question = "\nStop the run, leave it running, or go on watching? [s/l/W]"
        try:
            answer = await asyncio.to_thread(
                click.prompt, question, default="w", show_default=False, prompt_suffix=" "
            )
        except click.Abort:
            return "leave"
        word = str(answer).strip().lower()[:1]
        if word == "l":
            return "leave"
        self._view.resume()
        if self._view.is_live:
            self.keys.listen()
        return "stop" if word == "s" else "watch"


class _Writers:
    """Prints what steps write, each from its beginning, while it is written."""

    def __init__(
        self, group: asyncio.TaskGroup, submission: Submission, client: Client, view: View
    ) -> None:
        self._group = group
        self._submission = submission
        self._client = client
        self._view = view
        self._known: set[tuple[str, str]] = set()
        self._tasks: list[asyncio.Task[None]] = []

    async def finish(self, reading: Reading | None) -> None:
        """Prints the rest of what was written; without a reading, nothing more."""
        if reading is not None:
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

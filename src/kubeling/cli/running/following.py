"""Follows a run to its end, and prints what its steps write."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from kubeling.cli.running.submission import Reading, Submission
from kubeling.cli.running.view import View, trail_of
from kubeling.cli.running.watching import Watch
from kubeling.cli.running.writers import Writers
from kubeling.gateway.steps.model import BAD
from kubeling.kube.advice import advice
from kubeling.kube.client import Client
from kubeling.kube.objects import Obj

__all__ = ["follow", "tell_failures"]

_SHOWN: Final = 3
_TAIL: Final = 15


async def follow(
    submission: Submission, client: Client, view: View, *, logs: bool
) -> Reading | None:
    """The run's last reading; ``None`` if the user leaves it to itself."""

    async def pods(reading: Reading) -> AsyncIterator[tuple[str, Obj]]:
        begun = {s.id: s.label for s in reading.tree.leaves() if s.started is not None}
        async for step, pod in submission.pods_of(set(begun)):
            yield begun[step], pod

    async with asyncio.TaskGroup() as group:
        writers = Writers(group, client, view, pods, wanted=logs)
        watch = Watch(submission.read, submission.stop, view, "run", writers.at)
        reading = await watch.run(writers.pressed)
        await writers.finish(reading)
    return reading


async def tell_failures(submission: Submission, reading: Reading, view: View) -> None:
    """Says of the first failed steps why, with the end of their logs and what to try."""
    bad = [step for step in reading.tree.leaves() if step.state in BAD]
    if reading.message and not bad:
        view.say(reading.message, "red")
    for step in bad[:_SHOWN]:
        said = await submission.error_of(step.id)
        first, _, rest = said.partition("\n")
        view.say(f"✗ {trail_of(reading.tree, step)}{step.label}: {first}", "red")
        for line in rest.strip().splitlines()[-_TAIL:]:
            view.say(f"  | {line}")
        if hint := advice(said):
            view.say(f"  Try this: {hint}")
    if len(bad) > _SHOWN:
        view.say(f"… and {len(bad) - _SHOWN} more failed steps")

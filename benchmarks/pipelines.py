"""What a step of a pipeline costs, beside the engines that people would use instead.

python benchmarks/pipelines.py [--part cold steps peers loop growth] [--rounds 3] [--venvs FOLDER]

Steps are Python components as the kfp SDK compiles them, each a process of its own that adds one to
a number. ``cold`` is one for which the SDK has to be made available on a platform that ran none yet
and was started some seconds ago, its wheel being in uv's cache. ``steps`` runs them in a chain of
20 and 100 at once, four at a time: warm (different numbers), and cached (the same again). ``peers``
does the same, and then with kfp.local, Prefect, Dagster and Metaflow, steps in processes where they
can, each in an environment of its own below FOLDER; ratios are to the platform's figures of the
same run. ``loop`` is one of 1,000 iterations. ``growth`` is the control plane alone, with pods that
succeed at once: 100 to 10,000 steps.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from control_plane import control_plane, real_platform
from figures import MILLISECONDS, heading
from pipeline_peers import PEERS, PeerError, bare, measure, own_work
from pipeline_specs import AT_ONCE, TRUE, chain, loop, timed

from kubeling.kube.client import Client
from kubeling.kube.objects import Obj
from kubeling.pipelines.component import COMPONENT

SETTLED_SECONDS = 6.0
"""What a platform makes ready after its start is ready then."""

Shapes = dict[str, tuple[int, Callable[[int, int], Obj]]]


def shown(label: str, seconds: float, steps: int = 1, note: str = "") -> None:
    figure = MILLISECONDS.show(seconds / steps * 1000)
    print(f"{label:<34} {figure:>12} a step   {note}".rstrip(), flush=True)


async def warm(client: Client, shapes: Shapes, rounds: int) -> dict[str, float]:
    """Seconds by shape; each round has numbers of its own, so that no cache has an answer."""
    await timed(client, "environment", chain(3, -100))
    return {
        shape: min(
            [await timed(client, f"{shape}-{r}", make(n, 1000 * (r + 1))) for r in range(rounds)]
        )
        for shape, (n, make) in shapes.items()
    }


async def cold(rounds: int) -> None:
    heading("A Python component whose packages are not there, on Kubeling")
    times = []
    for _ in range(rounds):
        async with real_platform() as client:
            await timed(client, "database", chain(1, 0, TRUE))
            await asyncio.sleep(SETTLED_SECONDS)
            times.append(await timed(client, "cold", chain(1, 0)))
    shown("cold (environment made)", min(times))


async def steps(shapes: Shapes, rounds: int) -> None:
    heading("Python components on Kubeling")
    shown("bare interpreter", bare(10, sys.executable, "-I", "-c", "pass"))
    async with real_platform() as client:
        found = await warm(client, shapes, rounds)
        for shape, (count, make) in shapes.items():
            shown(f"{shape} of {count}, warm", found[shape], count)
            again = await timed(client, f"{shape}-again", make(count, 1000))
            shown(f"{shape} of {count}, cached", again, count)


async def iterations(count: int) -> None:
    heading(f"A loop of {count:,} iterations on Kubeling")
    async with real_platform() as client:
        await timed(client, "warm", chain(3, 0))
        shown("Python component each", await timed(client, "loop", loop(count, 0)), count)
        shown("the same, cached", await timed(client, "again", loop(count, 0)), count)
        shown("/bin/true each", await timed(client, "true", loop(count, 0, TRUE)), count)


async def growth(sizes: list[int]) -> None:
    heading("The control plane alone: CPU per step")
    print(f"{'shape':<8} {'steps':>6} {'seconds':>8} {'CPU ms a step':>14}")
    for shape, make in (("loop", loop), ("chain", chain)):
        for count in sizes:
            async with control_plane(COMPONENT) as client:
                cpu = time.process_time()
                took = await timed(client, "r", make(count, 0, TRUE))
                used = (time.process_time() - cpu) / count * 1000
            print(f"{shape:<8} {count:>6} {took:>8.1f} {used:>14.2f}", flush=True)


async def peers(shapes: Shapes, folder: Path, rounds: int, names: list[str]) -> None:
    heading("Side by side")
    shown("bare interpreter", bare(10, sys.executable, "-I", "-c", "pass"))
    shown("bare interpreter, component's work", own_work(10, folder))
    async with real_platform() as client:
        ours = await warm(client, shapes, rounds)
    sizes = [count for count, _ in shapes.values()]
    for shape, (count, _) in shapes.items():
        shown(f"Kubeling, {shape} of {count}", ours[shape], count)
    for name in names:
        try:
            found = await asyncio.to_thread(measure, folder, name, *sizes, AT_ONCE, rounds)
        except PeerError as error:
            print(f"{name}: {error}", flush=True)
            continue
        for shape, seconds in found.items():
            count, ratio = shapes[shape][0], f"{seconds / ours[shape]:.1f}x"
            shown(f"{name}, {shape} of {count}", seconds, count, ratio)


def main() -> None:
    parts = ("cold", "steps", "peers", "loop", "growth")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", nargs="+", choices=parts, default=list(parts))
    parser.add_argument("--rounds", type=int, default=3, help="of which the best counts")
    parser.add_argument("--chain", type=int, default=20, help="steps in a row")
    parser.add_argument("--fan", type=int, default=100, help="steps side by side")
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--iterations", type=int, default=1000)
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--venvs", type=Path, help="where the peers' environments are kept")
    given = parser.parse_args()
    shapes: Shapes = {"chain": (given.chain, chain), "fan": (given.fan, loop)}
    if "cold" in given.part:
        asyncio.run(cold(given.rounds))
    if "steps" in given.part:
        asyncio.run(steps(shapes, given.rounds))
    if "peers" in given.part:
        with TemporaryDirectory() as folder:
            venvs = (given.venvs or Path(folder)).absolute()
            asyncio.run(peers(shapes, venvs, given.rounds, given.peers))
    if "loop" in given.part:
        asyncio.run(iterations(given.iterations))
    if "growth" in given.part:
        asyncio.run(growth(given.sizes))


if __name__ == "__main__":
    main()

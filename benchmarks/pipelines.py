"""What a step of a pipeline costs, beside the engines that people would use instead.

python benchmarks/pipelines.py [--part steps peers loop growth] [--rounds 3] [--venvs FOLDER]

Steps are Python components as the kfp SDK compiles them, each a process of its own that adds one to
a number. ``steps`` runs them in a chain of 20 and 100 at once, four at a time: cold (nothing of it
ran before on this platform), warm (different numbers), and cached (the same again). ``peers`` does
the same with kfp.local, Prefect, Dagster and Metaflow, steps in processes where they can, each in
an environment of its own below FOLDER. ``loop`` is one of 1,000 iterations. ``growth`` is the
control plane alone, with pods that succeed at once: 100 to 10,000 steps.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from control_plane import control_plane, real_platform
from figures import MILLISECONDS, heading

from kubeling.kube.client import Client
from kubeling.kube.objects import Obj
from kubeling.pipelines.component import COMPONENT
from kubeling.pipelines.resources import RUNS

CHAIN, FAN, AT_ONCE = 20, 100, 4
KFP = "2.17.3"
PEERS = {
    "kfp_local": [f"kfp=={KFP}", "kfp==2.17.0"],
    "prefect": ["prefect==3.8.*", "fastapi<0.116"],
    "dagster": ["dagster==1.13.*"],
    "metaflow": ["metaflow==2.19.*", "setuptools<81"],
}
HERE = Path(__file__).parent
BODY = "\nimport kfp\nfrom kfp import dsl\nfrom kfp.dsl import *\nfrom typing import *\n\n"
BODY += "def add(x: int) -> int:\n    return x + 1\n\n"
INSTALL = f"""
if ! [ -x "$(command -v pip)" ]; then
    python3 -m ensurepip || python3 -m ensurepip --user || apt-get install python3-pip
fi

PIP_DISABLE_PIP_VERSION_CHECK=1 python3 -m pip install --quiet --no-warn-script-location \
'kfp=={KFP}' '--no-deps' 'typing-extensions>=3.7.4,<5; python_version<"3.9"' && "$0" "$@"
"""
RUN = """program_path=$(mktemp -d)

printf "%s" "$0" > "$program_path/ephemeral_component.py"
_KFP_RUNTIME=true python3 -m kfp.dsl.executor_main \
--component_module_path "$program_path/ephemeral_component.py" "$@"
"""
ADD: Obj = {
    "image": "python:3.11",
    "command": ["sh", "-c", INSTALL, "sh", "-ec", RUN, BODY],
    "args": ["--executor_input", "{{$}}", "--function_to_execute", "add"],
}
TRUE: Obj = {"image": "busybox", "command": ["true"]}
NUMBER = {"parameterType": "NUMBER_INTEGER"}


def pipeline(tasks: Obj, container: Obj, **components: Obj) -> Obj:
    """A compiled pipeline whose steps are all alike."""
    step: Obj = {"executorLabel": "step", "inputDefinitions": {"parameters": {"x": NUMBER}}}
    if container is ADD:
        step["outputDefinitions"] = {"parameters": {"Output": NUMBER}}
    return {
        "schemaVersion": "2.1.0",
        "pipelineInfo": {"name": "p"},
        "root": {"dag": {"tasks": tasks}},
        "components": {"step": step, **components},
        "deploymentSpec": {"executors": {"step": {"container": container}}},
    }


def task(source: Obj, *after: str, component: str = "step", **fields: Any) -> Obj:
    return {
        "componentRef": {"name": component},
        "cachingOptions": {"enableCache": True},
        "inputs": {"parameters": {"x": source}},
        "dependentTasks": list(after),
        **fields,
    }


def constant(value: int) -> Obj:
    return {"runtimeValue": {"constant": value}}


def chain(steps: int, first: int, container: Obj = ADD) -> Obj:
    """Every step takes what the one before has made, or at least comes after it."""
    tasks = {"t0": task(constant(first))}
    for number in range(1, steps):
        before = f"t{number - 1}"
        made = {"taskOutputParameter": {"producerTask": before, "outputParameterKey": "Output"}}
        source = made if container is ADD else constant(number)
        tasks[f"t{number}"] = task(source, before)
    return pipeline(tasks, container)


def loop(steps: int, first: int, container: Obj = ADD, at_once: int = AT_ONCE) -> Obj:
    """One step per item."""
    items = {"raw": json.dumps([first + number for number in range(steps)])}
    inner = {"componentInputParameter": "x"}
    body = {
        "inputDefinitions": {"parameters": {"x": NUMBER}},
        "dag": {"tasks": {"s": task(inner)}},
    }
    over = {"parameterIterator": {"itemInput": "x", "items": items}}
    limit = {"iteratorPolicy": {"parallelismLimit": at_once}}
    loops = task(constant(0), component="body", **over, **limit)
    loops["inputs"] = {}
    return pipeline({"loop": loops}, container, body=body)


async def timed(client: Client, name: str, spec: Obj) -> float:
    """Seconds from creating a run to its end."""
    began = time.perf_counter()
    await client.create(
        RUNS, {"metadata": {"name": name}, "spec": {"pipelineSpec": spec}}, "default"
    )
    while True:
        async for event in client.watch(RUNS, "default", fields=f"metadata.name={name}"):
            status = event.object.get("status") or {}
            if status.get("finishedAt"):
                if status["state"] != "SUCCEEDED":
                    raise RuntimeError(f"{name}: {status['state']}: {status['message']}")
                return time.perf_counter() - began


def shown(label: str, seconds: float, steps: int) -> None:
    print(f"{label:<34} {MILLISECONDS.show(seconds / steps * 1000):>12} a step", flush=True)


async def steps(rounds: int) -> None:
    heading("Python components on Kubeling")
    async with real_platform() as client:
        shown("chain, cold (environment made)", await timed(client, "cold", chain(1, 0)), 1)
        for shape, count, make in (("chain", CHAIN, chain), ("fan", FAN, loop)):
            warm = [
                await timed(client, f"{shape}-{r}", make(count, 1000 * (r + 1)))
                for r in range(rounds)
            ]
            shown(f"{shape} of {count}, warm", min(warm), count)
            again = await timed(client, f"{shape}-again", make(count, 1000))
            shown(f"{shape} of {count}, cached", again, count)


async def iterations() -> None:
    heading("A loop of 1,000 iterations on Kubeling")
    async with real_platform() as client:
        await timed(client, "warm", chain(1, 0))
        shown("Python component each", await timed(client, "loop", loop(1000, 0)), 1000)
        shown("the same, cached", await timed(client, "again", loop(1000, 0)), 1000)
        shown("/bin/true each", await timed(client, "true", loop(1000, 0, TRUE)), 1000)


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


def peers(folder: Path, rounds: int) -> None:
    heading("The same elsewhere")
    for name, wanted in PEERS.items():
        python = folder / name / "bin" / "python"
        if not python.exists():
            uv = [str(Path(sys.executable).with_name("uv")), "-q"]
            subprocess.run(
                [*uv, "venv", "--seed", "--python", sys.executable, str(folder / name)], check=True
            )
            install = [*uv, "pip", "install", "--python", str(python)]
            if name == "kfp_local":
                subprocess.run([*install, wanted[1]], check=True)
                install, wanted = [*install, "--no-deps"], wanted[:1]
            subprocess.run([*install, *wanted], check=True)
        with TemporaryDirectory() as scratch:
            command = [str(python), str(HERE / "peers" / f"{name}_steps.py"), str(CHAIN), str(FAN)]
            done = subprocess.run(
                [*command, str(AT_ONCE), str(rounds)], cwd=scratch, capture_output=True, text=True
            )
        if done.returncode:
            print(f"{name}: {done.stderr.strip().splitlines()[-1:]}", flush=True)
            continue
        found = json.loads(done.stdout.splitlines()[-1])
        for shape, count in (("chain", CHAIN), ("fan", FAN)):
            if found.get(shape):
                shown(f"{name}, {shape} of {count}", found[shape], count)


def main() -> None:
    parts = ("steps", "peers", "loop", "growth")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", nargs="+", choices=parts, default=list(parts))
    parser.add_argument("--rounds", type=int, default=3, help="of which the best counts")
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--venvs", type=Path, help="where the peers' environments are kept")
    given = parser.parse_args()
    if "steps" in given.part:
        asyncio.run(steps(given.rounds))
    if "peers" in given.part:
        with TemporaryDirectory() as folder:
            peers((given.venvs or Path(folder)).absolute(), given.rounds)
    if "loop" in given.part:
        asyncio.run(iterations())
    if "growth" in given.part:
        asyncio.run(growth(given.sizes))


if __name__ == "__main__":
    main()

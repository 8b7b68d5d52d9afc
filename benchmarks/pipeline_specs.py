"""Compiled pipelines for benchmarks, and how long one takes: steps that are all alike.

A step is a Python component as the kfp SDK compiles it, a process of its own that adds one to a
number, or a container that runs ``true``.
"""

from __future__ import annotations

import json
import time
from typing import Any

from kubeling.kube.client import Client
from kubeling.kube.objects import Obj
from kubeling.pipelines.resources import RUNS

AT_ONCE = 4
KFP = "2.17.3"
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


def chain(steps: int, first: int, container: Obj = ADD) -> Obj:
    """Every step takes what the one before has made, or at least comes after it."""
    tasks = {"t0": _task(_constant(first))}
    for number in range(1, steps):
        before = f"t{number - 1}"
        made = {"taskOutputParameter": {"producerTask": before, "outputParameterKey": "Output"}}
        source = made if container is ADD else _constant(number)
        tasks[f"t{number}"] = _task(source, before)
    return _pipeline(tasks, container)


def loop(steps: int, first: int, container: Obj = ADD, at_once: int = AT_ONCE) -> Obj:
    """One step per item."""
    items = {"raw": json.dumps([first + number for number in range(steps)])}
    inner = {"componentInputParameter": "x"}
    body = {
        "inputDefinitions": {"parameters": {"x": NUMBER}},
        "dag": {"tasks": {"s": _task(inner)}},
    }
    over = {"parameterIterator": {"itemInput": "x", "items": items}}
    limit = {"iteratorPolicy": {"parallelismLimit": at_once}}
    loops = _task(_constant(0), component="body", **over, **limit)
    loops["inputs"] = {}
    return _pipeline({"loop": loops}, container, body=body)


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


def _pipeline(tasks: Obj, container: Obj, **components: Obj) -> Obj:
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


def _task(source: Obj, *after: str, component: str = "step", **fields: Any) -> Obj:
    return {
        "componentRef": {"name": component},
        "cachingOptions": {"enableCache": True},
        "inputs": {"parameters": {"x": source}},
        "dependentTasks": list(after),
        **fields,
    }


def _constant(value: int) -> Obj:
    return {"runtimeValue": {"constant": value}}

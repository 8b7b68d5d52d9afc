"""Katib's examples, run and judged by Katib's own end-to-end test of them.

That is ``run-e2e-experiment.py`` of upstream's GitHub actions, unmodified and in an environment
with ``kubeflow-katib``: it gives each example a budget of two trials, waits for its end, resumes
those that may be resumed, and looks at the best trial, the trials' number and what became of the
suggestion. The images the examples train in are the platform's stand-ins for them.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.conformance.rows import Case, Platform, Row
from tests.support.client_python import python_with

from kubeling.kube.client import Client
from kubeling.kube.config import load
from kubeling.kube.https import HttpsTransport
from kubeling.kube.objects import new_object
from kubeling.kube.resources import ROLE_BINDINGS, SERVICE_ACCOUNTS

__all__ = ["ENVIRONMENT", "cases", "images", "run"]

ENVIRONMENT: Final = {
    "KUBELING_ENGINE_CAPACITY": "{cpu: '8', nvidia.com/gpu: '1', xilinx/aws-vu9p-f1: '1'}"
}
"""Devices that are none: who asks for one trains on nothing that needs it."""

_CATALOGUE: Final = Path(__file__).with_name("katib_images.yaml")
_EXAMPLES: Final = "katib/examples/v1beta1"
_SCRIPT: Final = "katib/test/e2e/v1beta1/scripts/gh-actions/run-e2e-experiment.py"
_PBT: Final = "trial-images/simple-pbt/pbt_test.py"
_NAMESPACE: Final = "default"
_SDK: Final = ("kubeflow-katib==0.19.0", "kubernetes==34.1.0", "pytest")
_AT_ONCE: Final = 4
_WITHIN: Final = 400.0
_LONGEST: Final = 500
_SKIPPED: Final = {
    "tekton/pipeline-run.yaml": "needs Tekton",
    "trial-template/trial-configmap-source.yaml": (
        "names parameters that upstream's template of that name lacks"
    ),
}
_STOOD_IN: Final = {
    "fpga/xgboost-example.yaml": "its FPGA is none",
    "kubeflow-training-operator/mpijob-horovod.yaml": "Horovod's program is stood in for",
    "metrics-collector/custom-metrics-collector.yaml": (
        "its collector speaks an older API, as it says itself: stood in for"
    ),
    "nas/darts-cpu.yaml": "CIFAR-10, which it trains on, is stood in for",
    "nas/darts-gpu.yaml": "CIFAR-10, which it trains on, is stood in for; its GPU is none",
    "nas/enas-cpu.yaml": "CIFAR-10, which it trains on, is stood in for",
    "nas/enas-gpu.yaml": "CIFAR-10, which it trains on, is stood in for; its GPU is none",
}


def cases(upstream: Path) -> list[Case]:
    """Every example, in a group with those of its folder."""
    root = upstream / _EXAMPLES
    found = sorted(path for path in root.glob("*/*.yaml"))
    return [
        Case(
            str(path.relative_to(root)),
            f"katib examples: {path.parent.name}",
            path,
            skip=_SKIPPED.get(str(path.relative_to(root)), ""),
            message=_STOOD_IN.get(str(path.relative_to(root)), ""),
        )
        for path in found
    ]


def images(upstream: Path) -> str:
    """Entries of the catalogue: one image is a file of upstream's, run as it is."""
    text = (upstream / _EXAMPLES / _PBT).read_text()
    program = "".join(f"      {line}\n" if line else "\n" for line in text.splitlines())
    return f"""{_CATALOGUE.read_text()}
- images: ["kubeflow/katib/simple-pbt"]
  python: {{requirements: [numpy]}}
  programs:
    pbt_test.py: |
{program}
    python3: |
      #!/bin/sh
      [ "$1" = /opt/pbt/pbt_test.py ] && shift && set -- "$(command -v pbt_test.py)" "$@"
      exec python "$@"
"""


async def run(cases: Sequence[Case], platform: Platform) -> list[Row]:
    """Runs the cases on a platform that is up; a row for each, in their order."""
    await _prepare(platform)
    python = await asyncio.to_thread(python_with, *_SDK)
    gate = asyncio.Semaphore(_AT_ONCE)
    return await asyncio.gather(*(_run(case, platform, python, gate) for case in cases))


async def _prepare(platform: Platform) -> None:
    """The account that the example with a Workflow names, with the rights its steps need."""
    client = Client(HttpsTransport(load(platform.kubeconfig)))
    try:
        await client.apply(SERVICE_ACCOUNTS, new_object(SERVICE_ACCOUNTS, "argo", _NAMESPACE))
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"}
        subject = {"kind": "ServiceAccount", "name": "argo", "namespace": _NAMESPACE}
        binding = new_object(ROLE_BINDINGS, "argo", _NAMESPACE, roleRef=role, subjects=[subject])
        await client.apply(ROLE_BINDINGS, binding)
    finally:
        await client.close()


async def _run(case: Case, platform: Platform, python: Path, gate: asyncio.Semaphore) -> Row:
    if case.skip:
        return Row(case.name, case.group, "not runnable", case.skip)
    upstream = next(folder for folder in case.path.parents if folder.name == "katib").parent
    async with gate:
        process = await asyncio.create_subprocess_exec(
            str(python),
            str(upstream / _SCRIPT),
            f"--experiment-path={case.path}",
            f"--namespace={_NAMESPACE}",
            env={**os.environ, "KUBECONFIG": str(platform.kubeconfig)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            output, _ = await asyncio.wait_for(process.communicate(), _WITHIN)
        except TimeoutError:
            process.kill()
            await process.wait()
            return Row(case.name, case.group, "failed", f"did not end within {_WITHIN:g} s")
    if process.returncode == 0:
        return Row(case.name, case.group, "passed", case.message)
    return Row(case.name, case.group, "failed", _why(output.decode(errors="replace")))


def _why(output: str) -> str:
    """What the server refused, or the last thing the script said."""
    refused = re.search(r'HTTP response body: .*?"message":"((?:[^"\\]|\\.)*)"', output)
    if refused is not None:
        return f"refused: {refused[1]}"[:_LONGEST]
    lines = output.strip().splitlines()
    return lines[-1][:_LONGEST] if lines else "no output"

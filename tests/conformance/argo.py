"""Argo Workflows' examples, run as upstream's own test of them runs them.

That test (``test/e2e/examples_test.go``) applies every template, ConfigMap and claim of the folder,
submits every Workflow without the label ``workflows.argoproj.io/no-test`` and wants it to succeed.
Workflows with that label say why upstream leaves them out; those that only take long, are flaky or
must fail run here all the same, each group under its label.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import aiohttp
from tests.conformance import argo_cluster, argo_tests
from tests.conformance.argo_cluster import NAMESPACE
from tests.conformance.outside import outside
from tests.conformance.rows import Case, Platform, Row

from kubeling.kube import yaml
from kubeling.kube.client import Client
from kubeling.kube.config import load
from kubeling.kube.errors import ApiError
from kubeling.kube.https import HttpsTransport
from kubeling.workflows.resources import WORKFLOWS

__all__ = ["IMAGES", "cases", "outside", "run"]

IMAGES: Final = Path(__file__).with_name("images.yaml")
"""The images of the examples, for the platform's ``images.yaml``."""

_EXAMPLES: Final = "argo-workflows/examples"
_NO_TEST: Final = "workflows.argoproj.io/no-test"
_AT_ONCE: Final = 8
_WITHIN: Final = 300.0
_IMAGES: Final = frozenset(
    {"alpine", "argoproj/argosay", "busybox", "curlimages/curl", "debian", "docker/whalesay",
     "golang", "influxdb", "nginx", "node", "python", "quay.io/argoproj/argoexec", "stedolan/jq",
     "ubuntu"}
)  # fmt: skip
_ALONE: Final = {
    "k8s-patch-json-pod.yaml": "patches the pod of its resource step, which has none here",
    "k8s-patch-merge-pod.yaml": "patches the pod of its resource step, which has none here",
    "k8s-patch-pod.yaml": "patches the pod of its resource step, which has none here",
    "k8s-resource-log-selector.yaml": "its image is a placeholder for one's own",
    "resource-claims.yaml": "needs a driver of devices",
    "resource-claims-template-override.yaml": "needs a driver of devices",
    "resource-flags.yaml": "needs OpenShift's Route",
    "exit-handler-slack.yaml": "needs a Slack channel",
    "forever.yaml": "never ends",
    "TestWorkflowFailedWhenAllPodSetFailedFromPending": "needs pods that take seconds to begin",
    "influxdb-ci.yaml": "builds InfluxDB",
    "workflow-level-executor-plugin.yaml": "needs an executor plugin",
    "hello-hybrid.yaml": "needs a node with Windows",
    "hello-windows.yaml": "needs a node with Windows",
}
"""What single examples need, where it cannot be seen from them."""

_PARTS: Final = {
    r"\bplugin:": "needs an executor plugin",
}
_HOSTS: Final = frozenset(
    {"argoproj.github.io", "github.com", "google.com", "httpbin.org", "raw.githubusercontent.com",
     "storage.googleapis.com"}
)  # fmt: skip
"""What :mod:`.outside` stands in for."""

_STORES: Final = ("minio:9000", "s3.amazonaws.com")
_ENDS: Final = {
    "custom-metrics.yaml": "",
    "dag-continue-on-fail.yaml": "Failed",
    "dag-disable-failFast.yaml": "Failed",
    "dag-task-level-timeout.yaml": "Failed",
    "exit-handlers.yaml": "Failed",
    "loops-arbitrary-sequential-steps.yaml": "Failed",
    "pod-gc-strategy.yaml": "Failed",
    "pod-gc-strategy-with-label-selector.yaml": "Failed",
    "resubmit.yaml": "",
    "retry-with-steps.yaml": "",
    "retry-conditional.yaml": "",
    "retry-on-error.yaml": "",
    "step-level-timeout.yaml": "Failed",
    "template-defaults.yaml": "",
    "timeouts-step.yaml": "Failed",
    "timeouts-workflow.yaml": "Failed",
    "work-avoidance.yaml": "",
}
"""Where a Workflow is not to succeed, the phase it ends in; empty if that is left to chance."""


def cases(upstream: Path) -> list[Case]:
    """Every Workflow of the examples, and those of the end-to-end tests that can be taken alone."""
    root = upstream / _EXAMPLES
    examples = [case for path in _files(root) for case in _cases(path, root)]
    return [*examples, *map(_with_needs, argo_tests.cases(upstream))]


async def run(cases: Sequence[Case], platform: Platform) -> list[Row]:
    """Runs the cases on a platform that is up; a row for each, in their order."""
    gate = asyncio.Semaphore(_AT_ONCE)
    async with (
        _client(platform) as client,
        aiohttp.ClientSession(platform.url) as server,
        argo_cluster.others(client),
    ):
        for upstream in {_checkout(case.path) for case in cases}:
            await argo_cluster.prepare(client, platform, upstream)
        return await asyncio.gather(*(_run(client, server, case, gate) for case in cases))


# -- reading -----------------------------------------------------------------------------------


def _files(root: Path) -> Iterator[Path]:
    yield from sorted(path for path in root.rglob("*.y*ml") if path.is_file())


def _checkout(path: Path) -> Path:
    return next(f for f in path.parents if f.name == "argo-workflows")


def _cases(path: Path, root: Path) -> Iterator[Case]:
    found = [d for d in yaml.load_all(path.read_text()) if d and d.get("kind") == WORKFLOWS.kind]
    for number, workflow in enumerate(found):
        label = (workflow["metadata"].get("labels") or {}).get(_NO_TEST) or "must succeed"
        yield Case(
            name=str(path.relative_to(root)) + (f"#{number}" if number else ""),
            group=f"argo examples: {label}",
            path=path,
            expect=_ENDS.get(path.name, "Succeeded"),
            skip=_ALONE.get(path.name) or _needs(workflow),
        )


def _with_needs(case: Case) -> Case:
    alone = _ALONE.get(case.path.name) or _ALONE.get(case.name.split()[-1])
    return replace(case, skip=alone or _needs(_workflow(case)))


def _needs(workflow: dict[str, Any]) -> str:
    """What a Workflow needs that one machine without the internet has not."""
    text = yaml.dump(workflow["spec"])
    for pattern, why in _PARTS.items():
        if re.search(pattern, text):
            return why
    for image in re.findall(r"\bimage: (\S+)", text):
        name = image.strip("'\"").removeprefix("docker.io/").partition(":")[0]
        if "{{" not in image and name not in _IMAGES:
            return f"needs the image {image}"
    if found := re.search(r"\b(gcs|azure|oss|hdfs):\n", text):
        return f"needs a store of others: {found[1]}"
    if "endpoint: " in text and not any(store in text for store in _STORES):
        return "needs a store of others: s3"
    if found := re.search(r"\b(apt-get|pip install|git clone)\b", text):
        return f"needs the internet: {found[1]}"
    for host in re.findall(r"https?://(?!127\.|localhost|\{\{)([\w.-]+\.(?:com|org|io|dev))", text):
        if host not in _HOSTS:
            return f"needs the internet: {host}"
    return ""


def _workflow(case: Case) -> dict[str, Any]:
    number = int(case.name.partition("#")[2] or 0)
    documents = [d for d in yaml.load_all(case.text or case.path.read_text()) if d]
    if case.text:
        found = {"apiVersion": WORKFLOWS.api_version, "kind": WORKFLOWS.kind, **documents[0]}
        found = yaml.load(
            yaml.dump(found).replace(" Parameter:", " parameter:")
        )  # as Go reads keys
        for template in found["spec"].get("templates") or ():
            # Go's reader makes texts of numbers where texts are wanted.
            if args := (template.get("container") or {}).get("args"):
                template["container"]["args"] = [str(argument) for argument in args]
        return found
    return dict([d for d in documents if d.get("kind") == WORKFLOWS.kind][number])


# -- running -----------------------------------------------------------------------------------


@asynccontextmanager
async def _client(platform: Platform) -> AsyncIterator[Client]:
    client = Client(HttpsTransport(load(platform.kubeconfig)), field_manager="conformance")
    try:
        yield client
    finally:
        await client.close()


async def _run(
    client: Client, server: aiohttp.ClientSession, case: Case, gate: asyncio.Semaphore
) -> Row:
    if case.skip:
        return Row(case.name, case.group, "not runnable", case.skip)
    async with gate:
        try:
            ended = await asyncio.wait_for(_ended(client, server, _workflow(case)), _WITHIN)
        except ApiError as error:
            return Row(case.name, case.group, "failed", f"refused: {error}")
        except TimeoutError:
            return Row(case.name, case.group, "failed", f"did not end in {_WITHIN:g} s")
    status = ended["status"]
    message = status.get("message") or ""
    if case.expect in ("", status["phase"]) and case.message in message:
        return Row(case.name, case.group, "passed")
    return Row(case.name, case.group, "failed", f"{status['phase']}: {_why(status)}")


async def _ended(
    client: Client, server: aiohttp.ClientSession, workflow: dict[str, Any]
) -> dict[str, Any]:
    metadata = workflow["metadata"]
    start = metadata.pop("name", "") or metadata.get("generateName") or "unnamed"
    metadata["generateName"] = start.rstrip("-") + "-"
    metadata["namespace"] = NAMESPACE
    created = await client.create(WORKFLOWS, workflow, NAMESPACE)
    name = created["metadata"]["name"]
    while True:
        found = created
        watch = client.watch(
            WORKFLOWS,
            NAMESPACE,
            fields=f"metadata.name={name}",
            resource_version=found["metadata"]["resourceVersion"],
        )
        with suppress(ConnectionError):
            async for event in watch:
                found = event.object
                await argo_cluster.resume(server, found)
                if event.type == "DELETED" or (
                    (found.get("status") or {}).get("phase") in ("Succeeded", "Failed", "Error")
                ):
                    return found


def _why(status: dict[str, Any]) -> str:
    """The Workflow's message and, where it only names another node, that node's."""
    bad = [n for n in (status.get("nodes") or {}).values() if n["phase"] in ("Failed", "Error")]
    told = [f"{n.get('displayName')}: {n.get('message', '')}" for n in bad]
    plain = [text for text in told if not re.search(r"child '.*' failed", text)]
    return " | ".join(dict.fromkeys([status.get("message") or "", *plain]))


# -- by hand -----------------------------------------------------------------------------------


def main() -> None:
    """Runs the cases whose names contain one of the words and prints their rows."""
    import json
    import os

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("words", nargs="*")
    arguments = parser.parse_args()
    endpoints = json.loads((arguments.data_dir / "endpoints.json").read_text())
    platform = Platform(endpoints["dashboard"], Path(endpoints["kubeconfig"]), arguments.data_dir)
    upstream = Path(os.environ["KUBELING_UPSTREAM"])
    words = arguments.words or [""]
    wanted = [c for c in cases(upstream) if any(word in f"{c.group} {c.name}" for word in words)]
    rows = asyncio.run(run(wanted, platform))
    for row in rows:
        print(f"{row.outcome}\t{row.group}\t{row.name}\t{row.reason}")
    sys.exit(any(row.outcome == "failed" for row in rows))


if __name__ == "__main__":
    main()

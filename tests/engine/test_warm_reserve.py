"""Interpreters are kept for pods that are not there, where a Deployment asks for that."""

import asyncio
import itertools
import os
import signal
import socket
import sys
from pathlib import Path

import pytest
from tests.engine.memory_api import MemoryApi
from tests.engine.node import TIMEOUT, Node, container, ended, running_node
from tests.engine.test_warm_python import (
    python,
    ran,
    template_pid,
    templates,
    until_ready,
    until_running,
)

from kubeling.engine.launcher import LaunchError
from kubeling.engine.sandbox.plan import TemplatePlan
from kubeling.engine.sandbox.warm.interpreter import KNOWN
from kubeling.engine.templates import ANNOTATION
from kubeling.kube.client import Client
from kubeling.kube.objects import Obj, new_object
from kubeling.kube.resources import DEPLOYMENTS

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="templates need root"),
    pytest.mark.skipif(sys.version_info[:2] not in KNOWN, reason="templates know other versions"),
]

COMMAND = ["python", "-c", "import json; print(json.dumps(1))"]


def at_rest(name: str, *containers: Obj) -> Obj:
    """A Deployment without pods that has the interpreters of its pods kept."""
    pods = {
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": list(containers)},
    }
    selector = {"matchLabels": {"app": name}}
    spec = {"replicas": 0, "selector": selector, "template": pods}
    return new_object(DEPLOYMENTS, name, "default", annotations={ANNOTATION: "ready"}, spec=spec)


def program(name: str = "main", image: str = "kubeling/python") -> Obj:
    return container(name, image=image, command=COMMAND)


async def is_forked(node: Node) -> bool:
    """Whether a pod with the command is forked; it does what it would do in any case."""
    before = templates(node).forked
    assert (await ran(node, python("p", *COMMAND)))[3] == ["1"]
    return templates(node).forked > before


async def test_what_deployments_ask_for_is_there_from_the_start_and_only_once(
    tmp_path: Path, api: MemoryApi
) -> None:
    client = Client(api)
    for name in ("one", "other"):
        await client.create(DEPLOYMENTS, at_rest(name, program(), program("again")), "default")
    others = [program("unknown", "registry.example/unknown"), container("shell", "true")]
    await client.create(DEPLOYMENTS, at_rest("without", *others), "default")
    async with running_node(tmp_path / "data", api, warm_python_idle_seconds=0.1) as node:
        await until_ready(node)
        assert await is_forked(node)
        assert templates(node).running == 1


async def test_what_cannot_be_run_is_in_nobodys_way(node: Node) -> None:
    odd = {**program(), "env": [{"name": "PATH", "value": "/a\0b"}]}
    await node.client.create(DEPLOYMENTS, at_rest("odd", odd), "default")
    await node.client.create(DEPLOYMENTS, at_rest("one", program()), "default")
    await until_ready(node)
    assert await is_forked(node)


async def test_nothing_is_kept_any_more_when_nobody_asks(tmp_path: Path, api: MemoryApi) -> None:
    async with running_node(tmp_path / "data", api, warm_python_idle_seconds=0.2) as node:
        for name in ("one", "other"):
            await node.client.create(DEPLOYMENTS, at_rest(name, program()), "default")
        await until_ready(node)
        await node.client.delete(DEPLOYMENTS, "one", "default")
        assert await is_forked(node)
        silent = {"metadata": {"annotations": {ANNOTATION: None}}}
        await node.client.patch(DEPLOYMENTS, "other", silent, "default")
        await until_running(node, 0)


async def test_forks_wait_for_the_pods_of_a_deployment_that_is_to_have_some(node: Node) -> None:
    await node.client.create(DEPLOYMENTS, at_rest("one", program()), "default")
    await until_ready(node)
    assert not templates(node).standing_by
    awake = {"metadata": {"annotations": {ANNOTATION: None}}, "spec": {"replicas": 1}}
    await node.client.patch(DEPLOYMENTS, "one", awake, "default")
    async with asyncio.timeout(TIMEOUT):
        for _ in itertools.count():
            if templates(node).standing_by:
                break
            await asyncio.sleep(0.001)
    assert await is_forked(node)


async def test_an_event_says_why_none_can_be_kept(node: Node) -> None:
    image = "talkative:\n  python: {}\n  ahead: [this]\n"
    (node.engine.config.data_dir / "images.yaml").write_text(image)
    talkative = at_rest("one", program(image="talkative"))
    await node.client.create(DEPLOYMENTS, talkative, "default")
    await node.seen_event(
        "NoInterpreterKept",
        "container main starts with a new interpreter, as none can be kept: "
        "importing ahead prints something",
    )


async def test_one_that_could_not_be_started_is_tried_again(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = node.engine.launcher.start_template
    there_is_room = asyncio.Event()

    async def start(plan: TemplatePlan) -> socket.socket:
        if not there_is_room.is_set():
            raise LaunchError("Cannot allocate memory")
        return await real(plan)

    monkeypatch.setattr(node.engine.launcher, "start_template", start)
    monkeypatch.setattr("kubeling.engine.templatefailures._LONGEST_SECONDS", 0.2)
    await node.client.create(DEPLOYMENTS, at_rest("one", program()), "default")
    await node.seen_event("NoInterpreterKept", "Cannot allocate memory")
    there_is_room.set()
    await until_ready(node)
    assert await is_forked(node)


async def test_one_that_was_killed_is_there_again(node: Node) -> None:
    await node.client.create(DEPLOYMENTS, at_rest("one", program()), "default")
    await until_ready(node)
    folder = node.engine.config.paths.templates
    before, pid = os.listdir(folder), template_pid(node)
    os.kill(pid, signal.SIGKILL)
    await ended(pid)
    await is_forked(node)
    async with asyncio.timeout(TIMEOUT):
        for _ in itertools.count():
            if templates(node).running and before != os.listdir(folder):
                break
            await asyncio.sleep(0.01)
    assert await is_forked(node)

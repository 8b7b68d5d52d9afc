"""Deleting pods: grace, hooks, force, and nothing left behind."""

import time

from tests.engine.node import Node, container, ended, pod, removed

from kubeling.kube.objects import Obj
from kubeling.kube.resources import PODS

LOOP = "while :; do sleep 0.05; done"


async def delete(node: Node, name: str = "p", grace: int | None = None) -> float:
    begun = time.monotonic()
    await node.client.delete(PODS, name, "default", grace_period_seconds=grace)
    await node.gone(name)
    return time.monotonic() - begun


async def start(node: Node, main: Obj, **spec: object) -> int:
    """Returns the process id of the pod's supervisor."""
    created = await node.create(pod("p", main, **spec))
    await node.running("p")
    paths = node.engine.config.paths.pod(created["metadata"]["uid"]).container("main", 0)
    return int(paths.state.read_text().split('"pid": ')[1].split(",")[0])


async def test_a_pod_that_listens_stops_at_once(node: Node) -> None:
    pid = await start(node, container(script="sleep 60"))
    assert await delete(node) < 3
    await ended(pid)


async def test_sigterm_reaches_the_command_and_its_children(node: Node) -> None:
    flag = node.engine.config.workspace / "saved"
    child = f"sh -c 'trap \"sleep 0.3; touch {flag}; exit\" TERM; echo up; {LOOP}'"
    await start(node, container(script=f"{child}; true"))
    await node.says("p", "up")
    await delete(node)
    assert flag.exists()


async def test_a_pod_that_does_not_listen_is_killed_after_its_grace(node: Node) -> None:
    pid = await start(node, container(script=f"trap '' TERM; {LOOP}"))
    assert 0.9 < await delete(node, grace=1) < 4
    await ended(pid)


async def test_force_deletion_kills_at_once(node: Node) -> None:
    pid = await start(node, container(script=f"trap '' TERM; {LOOP}"))
    assert await delete(node, grace=0) < 2
    await ended(pid)


async def test_the_hook_before_the_stop_runs_first(node: Node) -> None:
    hook = {"preStop": {"exec": {"command": ["sh", "-c", "echo hook > order"]}}}
    main = container(script=f"trap 'echo term >> order; exit' TERM; {LOOP}", lifecycle=hook)
    await start(node, main)
    await delete(node)
    assert (node.engine.config.workspace / "order").read_text() == "hook\nterm\n"


async def test_the_hook_after_the_start_runs_in_the_container(node: Node) -> None:
    hook = {"postStart": {"exec": {"command": ["sh", "-c", "touch /tmp/hooked"]}}}
    main = container(script="until test -e /tmp/hooked; do sleep 0.02; done", lifecycle=hook)
    assert (await node.run(pod("p", main)))["status"]["phase"] == "Succeeded"


async def test_a_deleted_pod_s_files_are_removed(node: Node) -> None:
    done = await node.run(pod("p", container(script="mkdir -m 0 /tmp/x; echo hi")))
    folder = node.engine.config.paths.pod(done["metadata"]["uid"]).root
    assert folder.exists()
    await delete(node)
    await removed(folder)


async def test_a_waiting_pod_can_be_deleted(node: Node) -> None:
    main = container(script="true", envFrom=[{"secretRef": {"name": "never"}}])
    await node.create(pod("p", main))
    await node.event("Failed")
    assert await delete(node) < 3

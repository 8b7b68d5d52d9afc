"""securityContext: what a process can honour holds, what it cannot is refused or told."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.engine.memory_api import MemoryApi
from tests.engine.node import Node, container, pod, running_node, unprivileged_node

from kubeling.kube.objects import Obj


@pytest.fixture
async def unprivileged(tmp_path: Path, api: MemoryApi) -> AsyncIterator[Node]:
    async with unprivileged_node(tmp_path / "data", api) as node:
        yield node


@pytest.fixture(params=[running_node, unprivileged_node], ids=["root", "user namespace"])
async def any_node(
    request: pytest.FixtureRequest, tmp_path: Path, api: MemoryApi
) -> AsyncIterator[Node]:
    async with request.param(tmp_path / "data", api) as node:
        yield node


async def said(node: Node, script: str, context: Obj, **spec: object) -> list[str]:
    await node.run(pod("p", container(script=script, securityContext=context), **spec))
    return (await node.logs("p")).splitlines()


async def test_a_container_runs_as_the_user_and_group_asked_for(any_node: Node) -> None:
    context = {"runAsUser": 1234, "runAsGroup": 567}
    assert await said(any_node, "id -u; id -g; touch /tmp/mine && echo ok", context) == [
        "1234", "567", "ok",
    ]  # fmt: skip


async def test_the_container_s_user_comes_before_the_pod_s(any_node: Node) -> None:
    spec = {"securityContext": {"runAsUser": 1, "runAsGroup": 2}}
    assert await said(any_node, "id -u; id -g", {"runAsUser": 3}, **spec) == ["3", "2"]


async def test_groups_are_those_asked_for_and_no_others(node: Node) -> None:
    spec = {"securityContext": {"supplementalGroups": [500, 600], "fsGroup": 700}}
    script = "sed -n 's/^Groups:[[:space:]]*//p' /proc/self/status"
    assert (await said(node, script, {"runAsUser": 1000}, **spec))[0].split() == [
        "500", "600", "700",
    ]  # fmt: skip


async def test_run_as_non_root_without_a_user_is_a_user_that_is_not_root(any_node: Node) -> None:
    assert await said(any_node, "id -u", {"runAsNonRoot": True}) == ["1000"]


async def test_run_as_non_root_refuses_root(node: Node) -> None:
    main = container(securityContext={"runAsNonRoot": True, "runAsUser": 0})
    await node.create(pod("p", main))
    event = await node.seen_event("Failed", "runAsUser breaks non-root policy")
    assert "container: main" in event["message"]
    waiting = await node.until("p", _waiting)
    assert _waiting(waiting)["reason"] == "CreateContainerConfigError"


async def test_with_a_read_only_root_only_volumes_can_be_written(any_node: Node) -> None:
    script = (
        "for d in /etc /usr /tmp . /root; do touch $d/x 2>/dev/null && echo $d; done;"
        "touch /v/x && echo volume; echo > /dev/null && echo device; pwd"
    )
    main = container(
        script=script,
        workingDir="/made/for/it",
        securityContext={"readOnlyRootFilesystem": True},
        volumeMounts=[{"name": "v", "mountPath": "/v"}],
    )
    await any_node.run(pod("p", main, volumes=[{"name": "v", "emptyDir": {}}]))
    assert (await any_node.logs("p")).splitlines() == ["volume", "device", "/made/for/it"]


async def test_capabilities_are_dropped_and_added(node: Node) -> None:
    async def bounding(name: str, capabilities: Obj) -> int:
        main = container(
            script="sed -n 's/^CapBnd:[[:space:]]*//p' /proc/self/status",
            securityContext={"capabilities": capabilities},
        )
        await node.run(pod(name, main))
        return int(await node.logs(name), 16)

    net_bind, sys_ptrace = 1 << 10, 1 << 19
    assert await bounding("none", {"drop": ["ALL"]}) == 0
    assert await bounding("one", {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}) == net_bind
    assert await bounding("more", {"add": ["CAP_SYS_PTRACE"]}) & sys_ptrace
    assert not await bounding("usual", {}) & sys_ptrace


@pytest.mark.parametrize(
    ("context", "text"),
    [
        ({"capabilities": {"add": ["FLY"]}}, 'unknown capability "CAP_FLY"'),
        (
            {"seccompProfile": {"type": "Localhost", "localhostProfile": "p.json"}},
            'seccompProfile: profile "p.json" cannot be loaded',
        ),
        (
            {"appArmorProfile": {"type": "Localhost", "localhostProfile": "mine"}},
            'appArmorProfile: profile "mine" cannot be loaded',
        ),
    ],
)
async def test_what_this_node_does_not_know_is_refused(node: Node, context: Obj, text: str) -> None:
    await node.create(pod("p", container(securityContext=context)))
    assert text in _waiting(await node.until("p", _waiting))["message"]


async def test_no_new_privileges(any_node: Node) -> None:
    script = "sed -n 's/^NoNewPrivs:[[:space:]]*//p' /proc/self/status"
    assert await said(any_node, script, {"allowPrivilegeEscalation": False}) == ["1"]


async def test_a_privileged_container_has_the_machine_s_devices_and_kernel(node: Node) -> None:
    script = "test -e /dev/mem -o -e /dev/kmsg && echo devices; mount -t tmpfs x /mnt && echo mount"
    assert await said(node, script, {"privileged": True}) == ["devices", "mount"]


async def test_an_unmasked_proc_is_whole(node: Node) -> None:
    script = "test -w /proc/sys/kernel/domainname && echo open || echo closed"
    assert await said(node, script, {"procMount": "Unmasked"}) == ["open"]


async def test_the_runtime_s_own_profiles_are_accepted(node: Node) -> None:
    context = {
        "seccompProfile": {"type": "RuntimeDefault"},
        "appArmorProfile": {"type": "RuntimeDefault"},
    }
    assert await said(node, "echo ok", context) == ["ok"]


async def test_what_needs_root_is_told(unprivileged: Node) -> None:
    spec = {"securityContext": {"fsGroup": 100}}
    assert await said(unprivileged, "echo ran", {}, **spec) == ["ran"]
    await unprivileged.seen_event("ReducedIsolation", "fsGroup and supplementalGroups need")


async def test_a_pod_that_wants_its_own_users_is_told_that_there_are_none(node: Node) -> None:
    assert await said(node, "echo ran", {}, hostUsers=False) == ["ran"]
    await node.seen_event("ReducedIsolation", "hostUsers: false is not honoured")


async def test_plain_processes_tell_what_does_not_hold(tmp_path: Path, api: MemoryApi) -> None:
    async with running_node(tmp_path / "data", api, isolation=False) as node:
        await said(
            node, "true", {"readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
        )
        await node.seen_event("ReducedIsolation", "readOnlyRootFilesystem is not honoured")


async def test_safe_kernel_settings_are_the_pod_s_own(node: Node) -> None:
    sysctls = [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "80"},
               {"name": "kernel.shm_rmid_forced", "value": "1"}]  # fmt: skip
    script = "cd /proc/sys; cat net/ipv4/ip_unprivileged_port_start kernel/shm_rmid_forced"
    assert await said(node, script, {}, securityContext={"sysctls": sysctls}) == ["80", "1"]
    done = await node.run(pod("other", container(script=script)))
    assert done["status"]["phase"] == "Succeeded"
    assert (await node.logs("other")).split() == ["1024", "0"]


async def test_other_kernel_settings_are_refused(node: Node) -> None:
    sysctls = [{"name": "kernel.msgmax", "value": "1"}]
    await node.create(pod("p", container(), securityContext={"sysctls": sysctls}))
    await node.seen_event("Failed", 'forbidden sysctl: "kernel.msgmax" not allowlisted')


def _waiting(obj: Obj) -> Obj:
    statuses = obj["status"].get("containerStatuses") or [{"state": {}}]
    waiting: Obj = statuses[0]["state"].get("waiting") or {}
    return waiting if waiting.get("message") else {}

"""What containers change goes with them, though their views of the machine are used again."""

import asyncio
import glob
import itertools
import os
import signal
import tempfile
from pathlib import Path

from tests.engine.memory_api import MemoryApi
from tests.engine.node import TIMEOUT, Node, container, pod, running_node

from kubeling.engine.sandbox import linux
from kubeling.kube.objects import Obj
from kubeling.kube.resources import PODS


async def said(node: Node, name: str, script: str, **fields: object) -> str:
    done = await node.run(pod(name, container(script=script), **fields))
    assert done["status"]["phase"] == "Succeeded", done["status"]
    return await node.logs(name)


def write(path: str, text: str) -> None:
    Path(path).write_text(text)


def layers(node: Node) -> set[str]:
    return set(glob.glob(f"{node.engine.config.paths.layers}/*/*"))


async def test_a_container_that_changes_nothing_leaves_a_layer_for_the_next(node: Node) -> None:
    await said(node, "first", "cat /etc/hostname")
    (layer,) = layers(node)
    for name in ("second", "third"):
        assert await said(node, name, "cat /etc/hostname") == f"{name}\n"
    assert layers(node) == {layer}


async def test_nothing_that_a_container_changed_is_seen_by_the_next(node: Node) -> None:
    show = "cat /etc/mine /tmp/mine 2>/dev/null; stat -c '%a %U' / /tmp; ls -d /usr/bin/env"
    before = await said(node, "before", show)
    changes = (
        "echo x > /etc/mine",
        "echo x > /tmp/mine",
        "chmod 700 /",
        "chmod 755 /tmp",
        "chown 1 /",
        "rm /usr/bin/env",
        "mkdir -p /var/deep/in && rm -r /var/deep",
    )
    for number, change in enumerate(changes):
        await said(node, f"change-{number}", change)
        assert await said(node, f"after-{number}", show) == before, change


async def test_a_few_files_left_in_tmp_are_taken_out_and_the_rest_is_used_again(
    node: Node, tmp_path: Path
) -> None:
    write(f"{tmp_path}/stays", "here\n")
    before = await said(node, "first", "ls -A /tmp")
    (layer,) = layers(node)
    leaving = (
        "echo x > /tmp/file",
        "mkdir -p /tmp/in/deep && echo x > /tmp/in/deep/file && chmod 0 /tmp/in/deep",
        f"ln -s {tmp_path} /tmp/elsewhere",
        "mkfifo /tmp/pipe",
    )
    for number, left in enumerate(leaving):
        await said(node, f"leave-{number}", left)
        assert await said(node, f"look-{number}", "ls -A /tmp") == before, left
    assert layers(node) == {layer}
    assert (tmp_path / "stays").exists()
    await said(node, "many", "for n in $(seq 100); do echo > /tmp/$n; done")
    assert await said(node, "after", "ls -A /tmp") == before


async def test_what_changes_on_the_machine_is_seen_by_the_next(node: Node) -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        file, replaced = f"{folder}/file", f"{folder}/replaced"
        write(replaced, "old\n")
        show = f"ls {folder}; cat {replaced} {file} 2>/dev/null || true"
        assert await said(node, "before", show) == "replaced\nold\n"
        (layer,) = layers(node)
        write(file, "here\n")
        write(f"{folder}/new", "new\n")
        os.rename(f"{folder}/new", replaced)
        assert await said(node, "after", show) == "file\nreplaced\nnew\nhere\n"
        assert layers(node) == {layer}


async def test_places_of_volumes_are_no_changes(node: Node) -> None:
    def mounted() -> Obj:
        mounts = [
            {"name": "v", "mountPath": path} for path in ("/in/the/root", "/tmp/in", "/run/x")
        ]
        volumes = [{"name": "v", "emptyDir": {}}]
        main = container(script="ls /in/the/root; echo > /in/the/root/x", volumeMounts=mounts)
        return pod(f"p{len(node.informers.of(PODS).list())}", main, volumes=volumes)

    for _ in range(3):
        done = await node.run(mounted())
        assert await node.logs(done["metadata"]["name"]) == ""
    assert len(layers(node)) == 1
    assert "in" not in os.listdir("/")
    assert await said(node, "without", "ls -d /in 2>/dev/null || echo none") == "none\n"


async def test_a_container_that_runs_on_keeps_its_changes(tmp_path: Path, api: MemoryApi) -> None:
    script = "echo mine > /etc/mine; until [ -e go ]; do sleep 0.02; done; cat /etc/mine"
    async with running_node(tmp_path / "data", api, end_pods=False) as node:
        await node.create(pod("p", container(script=script)))
        await node.running("p")
    async with running_node(tmp_path / "data", api) as node:
        for number in range(3):
            assert "mine" not in await said(node, f"other-{number}", "ls /etc | grep -x mine || :")
        (node.engine.config.workspace / "go").touch()
        await node.finished("p")
        assert await node.logs("p") == "mine\n"


async def test_a_platform_that_is_started_again_removes_what_it_left(
    tmp_path: Path, api: MemoryApi
) -> None:
    async with running_node(tmp_path / "data", api, end_pods=False) as node:
        await said(node, "p", "true")
        before = layers(node)
    async with running_node(tmp_path / "data", api) as node:
        async with asyncio.timeout(TIMEOUT):
            for number in itertools.count():
                await said(node, f"q{number}", "true")
                if not before & layers(node):
                    break


async def test_containers_start_when_the_layers_keeper_was_killed(node: Node) -> None:
    await said(node, "before", "true")
    (keeper,) = node.engine.config.paths.layers.iterdir()
    os.kill(int(keeper.name.partition("-")[0]), signal.SIGKILL)
    assert await said(node, "after", "echo x > /etc/mine; cat /etc/mine") == "x\n"


async def test_a_disk_that_was_taken_out_holds_nothing_up(tmp_path: Path, api: MemoryApi) -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as place:
        disk = tempfile.mkdtemp(dir=place)
        linux.mount(place, disk, flags=linux.MS_BIND)
        try:
            starting = running_node(tmp_path / "data", api)
            node = await starting.__aenter__()
        finally:
            linux.umount(disk, linux.MNT_DETACH)
        os.rmdir(disk)
        assert await said(node, "p", "echo on") == "on\n"
        await starting.__aexit__(None, None, None)

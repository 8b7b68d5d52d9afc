"""Volumes: whose they are, where they lie, how large they get, and what is not to be had."""

import socket
from pathlib import Path

import pytest
from tests.engine.memory_api import MemoryApi
from tests.engine.node import Node, container, pod, removed, running_node, unprivileged_node

from kubeling.engine.hostpaths import HostPathError, host_path
from kubeling.engine.memoryvolumes import mount_in_memory
from kubeling.engine.sandbox import linux
from kubeling.kube.objects import Obj, condition
from kubeling.kube.resources import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS


def mounted(script: str, path: str = "/v", **fields: object) -> Obj:
    return container(script=script, volumeMounts=[{"name": "v", "mountPath": path}], **fields)


async def output(node: Node, main: Obj, volume: Obj, **spec: object) -> str:
    await node.run(pod("p", main, volumes=[{"name": "v", **volume}], **spec))
    return await node.logs("p")


_MOUNTS = Path("/proc/self/mounts")


def has_mounts(folder: Path) -> bool:
    return f" {folder}/" in _MOUNTS.read_text()


def is_mounted(folder: Path) -> bool:
    return f" {folder} " in _MOUNTS.read_text()


MEMORY: Obj = {"emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}
TOKEN: Obj = {"projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}
SHARED: Obj = {"securityContext": {"runAsUser": 1000, "fsGroup": 100}}


# Whose they are


async def test_volumes_belong_to_the_fs_group(node: Node) -> None:
    script = "stat -c '%a %g' /v; touch /v/mine && stat -c %g /v/mine; ls -d /v/mine"
    assert await output(node, mounted(script), {"emptyDir": {}}, **SHARED) == (
        "2777 100\n100\n/v/mine\n"
    )


async def test_the_fs_group_may_read_secrets(node: Node) -> None:
    await node.secret("s", key="x")
    volume: Obj = {"secret": {"secretName": "s", "defaultMode": 0o400}}
    script = "stat -Lc '%a %g' /v/key; cat /v/key"
    assert await output(node, mounted(script), volume, **SHARED) == "440 100\nx"


async def test_a_claim_s_volume_can_be_written_by_who_is_not_root(
    node: Node, tmp_path: Path
) -> None:
    folder = tmp_path / "made-by-us"
    volume = {
        "metadata": {"name": "pv", "annotations": {"pv.kubernetes.io/provisioned-by": "x"}},
        "spec": {"hostPath": {"path": str(folder)}},
    }
    await node.client.create(PERSISTENT_VOLUMES, volume)
    claim = {"metadata": {"name": "data"}, "spec": {"volumeName": "pv"}}
    await node.client.create(PERSISTENT_VOLUME_CLAIMS, claim, "default")
    claimed: Obj = {"persistentVolumeClaim": {"claimName": "data"}}
    main = mounted("echo kept > /v/file; stat -c %g /v/file")
    assert await output(node, main, claimed, **SHARED) == "100\n"
    assert (folder / "file").read_text() == "kept\n"


async def test_a_user_can_read_its_token(node: Node) -> None:
    script = "id -u; stat -Lc '%a %u' /v/token; cat /v/token"
    main = mounted(script, securityContext={"runAsUser": 1000})
    assert await output(node, main, TOKEN) == "1000\n600 1000\ntoken-for-default-api"


async def test_without_a_common_user_every_user_can_read_the_token(node: Node) -> None:
    assert await output(node, mounted("stat -Lc %a /v/token"), TOKEN) == "644\n"


async def test_modes_are_those_asked_for(node: Node) -> None:
    await node.config_map("c", a="1")
    volume: Obj = {"configMap": {"name": "c", "defaultMode": 0o440}}
    assert await output(node, mounted("stat -Lc %a /v/a"), volume) == "440\n"


# Where they lie


async def test_a_volume_in_memory_is_shared_and_no_larger_than_its_limit(node: Node) -> None:
    mounts = [{"name": "v", "mountPath": "/dev/shm"}]
    write = "head -c 4000000 /dev/zero 2> /dev/null > /dev/shm/big || echo full"
    first = container("first", write, volumeMounts=mounts)
    script = "stat -fc %T /dev/shm; stat -c %s /dev/shm/big"
    await node.run(
        pod(
            "p",
            container(script=script, volumeMounts=mounts),
            initContainers=[first],
            volumes=[{"name": "v", **MEMORY}],
        )
    )
    assert (await node.logs("p", "first")).splitlines() == ["full"]
    assert (await node.logs("p", "main")).splitlines() == ["tmpfs", "1048576"]


async def test_nothing_in_memory_is_left_of_a_pod(node: Node) -> None:
    main = mounted("until test -e /v/go; do sleep 0.02; done")
    done = await node.create(pod("p", main, volumes=[{"name": "v", **MEMORY}]))
    await node.running("p")
    folder = node.engine.config.paths.pod(done["metadata"]["uid"])
    assert is_mounted(folder.volumes / "v")
    (folder.volumes / "v" / "go").touch()
    await node.finished("p")
    assert is_mounted(folder.volumes / "v")
    await node.client.delete(PODS, "p", "default")
    await node.gone("p")
    await removed(folder.root)
    assert not is_mounted(folder.volumes / "v")


async def test_secrets_are_never_on_disk(node: Node) -> None:
    await node.secret("s", key="x")
    main = mounted("stat -fc %T /v; cat /v/key")
    done = await node.create(pod("p", main, volumes=[{"name": "v", "secret": {"secretName": "s"}}]))
    await node.finished("p")
    assert await node.logs("p") == "tmpfs\nx"
    folder = node.engine.config.paths.memory / done["metadata"]["uid"]
    assert (folder / "v" / "key").read_bytes() == b"x"
    await node.client.delete(PODS, "p", "default")
    await removed(folder)


async def test_nothing_stays_mounted_when_all_pods_are_ended(
    tmp_path: Path, api: MemoryApi
) -> None:
    async with running_node(tmp_path / "data", api) as node:
        await node.create(pod("p", mounted("sleep 60"), volumes=[{"name": "v", **MEMORY}]))
        await node.running("p")
        assert is_mounted(node.engine.config.paths.memory)
    assert not has_mounts(tmp_path)


def test_a_volume_in_memory_is_found_again(tmp_path: Path) -> None:
    assert mount_in_memory(tmp_path, {})
    try:
        assert not mount_in_memory(tmp_path, {})
    finally:
        linux.umount(str(tmp_path))


async def test_without_root_a_volume_in_memory_is_on_disk_and_says_so(
    tmp_path: Path, api: MemoryApi
) -> None:
    async with unprivileged_node(tmp_path / "data", api) as node:
        assert await output(node, mounted("echo x > /v/a; cat /v/a"), MEMORY) == "x\n"
        await node.seen_event("ReducedIsolation", "emptyDir v is on disk")


# How large they get


@pytest.mark.parametrize(
    ("resources", "volume", "text"),
    [
        ({}, {"sizeLimit": "1Mi"}, 'Usage of EmptyDir volume "v" exceeds the limit "1Mi". '),
        (
            {"limits": {"ephemeral-storage": "1Mi"}},
            {},
            'Container main exceeded its local ephemeral storage limit "1Mi". ',
        ),
    ],
)
async def test_a_pod_that_fills_the_disk_is_evicted(
    tmp_path: Path, api: MemoryApi, resources: Obj, volume: Obj, text: str
) -> None:
    async with running_node(tmp_path / "data", api, storage_check_seconds=0.05) as node:
        place = "/v" if volume else "/var"
        script = f"head -c 3000000 /dev/zero > {place}/big; sleep 60"
        volumes = [{"name": "v", "emptyDir": volume}]
        done = await node.run(pod("p", mounted(script, resources=resources), volumes=volumes))
        assert (done["status"]["phase"], done["status"]["reason"]) == ("Failed", "Evicted")
        assert done["status"]["message"] == text
        disrupted = condition(done, "DisruptionTarget")
        assert disrupted is not None
        assert disrupted.reason == "TerminationByKubelet"
        await node.seen_event("Evicted", text)


# Parts of volumes


async def test_a_sub_path_is_as_open_as_its_volume(node: Node) -> None:
    main = container(
        script="touch /v/x && echo ok",
        volumeMounts=[{"name": "v", "mountPath": "/v", "subPath": "a/b"}],
        securityContext={"runAsUser": 1000},
    )
    assert await output(node, main, {"emptyDir": {}}) == "ok\n"


async def test_a_sub_path_from_variables(node: Node) -> None:
    env = [{"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]
    one = {"name": "v", "mountPath": "/one", "subPathExpr": "runs/$(POD)"}
    main = container(
        script="touch /one/x; ls /all/runs/p", env=env,
        volumeMounts=[one, {"name": "v", "mountPath": "/all"}],
    )  # fmt: skip
    assert await output(node, main, {"emptyDir": {}}) == "x\n"


@pytest.mark.parametrize(
    ("mount", "text"),
    [
        ({"subPathExpr": "$(NONE)"}, 'missing value for "NONE"'),
        ({"mountPropagation": "Bidirectional"}, "mountPropagation Bidirectional is not available"),
        ({"recursiveReadOnly": "Enabled"}, "recursiveReadOnly is not available"),
    ],
)
async def test_mounts_that_cannot_be_had_are_refused(node: Node, mount: Obj, text: str) -> None:
    main = container(volumeMounts=[{"name": "v", "mountPath": "/v", **mount}])
    await node.create(pod("p", main, volumes=[{"name": "v", "emptyDir": {}}]))
    await node.seen_event("Failed", text)


async def test_a_link_in_a_volume_does_not_lead_to_the_machine(node: Node) -> None:
    volumes = [{"name": "v", "emptyDir": {}}]
    first = container("first", "ln -s /etc /v/out", volumeMounts=[{"name": "v", "mountPath": "/v"}])
    main = container(volumeMounts=[{"name": "v", "mountPath": "/w", "subPath": "out"}])
    await node.create(pod("p", main, initContainers=[first], volumes=volumes))
    await node.seen_event("Failed", '"out" leads out of the volume')


# What changes


async def test_labels_and_annotations_reach_a_running_pod_s_files(node: Node) -> None:
    items = [{"path": "notes", "fieldRef": {"fieldPath": "metadata.annotations"}}]
    script = "until grep -q new /v/notes; do sleep 0.05; done; cat /v/notes"
    obj = pod("p", mounted(script), volumes=[{"name": "v", "downwardAPI": {"items": items}}])
    obj["metadata"]["annotations"] = {"state": 'old "one"\n'}
    await node.create(obj)
    await node.running("p")
    await node.client.patch(PODS, "p", {"metadata": {"annotations": {"b": "new"}}}, "default")
    await node.finished("p")
    assert await node.logs("p") == 'b="new"\nstate="old \\"one\\"\\n"'


async def test_resources_of_a_container_as_files(node: Node) -> None:
    def item(path: str, resource: str, divisor: str) -> Obj:
        reference = {"containerName": "main", "resource": resource, "divisor": divisor}
        return {"path": path, "resourceFieldRef": reference}

    items = [
        item("bytes", "limits.memory", "0"),
        item("mib", "limits.memory", "1Mi"),
        item("cpus", "requests.cpu", "1"),
        item("millis", "requests.cpu", "1m"),
    ]
    resources = {"limits": {"memory": "128Mi"}, "requests": {"cpu": "250m"}}
    main = mounted("cd /v; for f in bytes mib cpus millis; do cat $f; echo; done",
                   resources=resources)  # fmt: skip
    volume: Obj = {"downwardAPI": {"items": items}}
    assert (await output(node, main, volume)).split() == ["134217728", "128", "1", "250"]


# What is not to be had


@pytest.mark.parametrize(
    ("volume", "text"),
    [
        ({"nfs": {"server": "s", "path": "/"}}, "type nfs is not available on this node"),
        ({"image": {"reference": "x"}}, "type image is not available on this node"),
        (
            {"projected": {"sources": [{"clusterTrustBundle": {"path": "p", "name": "b"}}]}},
            "source clusterTrustBundle is not available on this node",
        ),
        ({"configMap": {"name": "none"}}, 'configmap "none" not found'),
    ],
)
async def test_volumes_that_cannot_be_had_keep_the_pod_waiting(
    node: Node, volume: Obj, text: str
) -> None:
    await node.create(pod("p", mounted("true"), volumes=[{"name": "v", **volume}]))
    event = await node.seen_event("FailedMount", text)
    assert event["message"].startswith('MountVolume.SetUp failed for volume "v"')


# hostPath


def test_host_paths_are_made_as_their_type_says(tmp_path: Path) -> None:
    assert host_path({"path": str(tmp_path / "a")}).is_dir()
    assert host_path({"path": str(tmp_path / "b"), "type": "DirectoryOrCreate"}).is_dir()
    assert host_path({"path": str(tmp_path / "c"), "type": "FileOrCreate"}).is_file()
    assert host_path({"path": "/dev/null", "type": "CharDevice"}) == Path("/dev/null")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        assert host_path({"path": str(tmp_path / "s"), "type": "Socket"})


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        ("Directory", "directory"),
        ("File", "file"),
        ("Socket", "socket file"),
        ("CharDevice", "character device"),
        ("BlockDevice", "block device"),
    ],
)
def test_host_paths_of_another_type_are_refused(tmp_path: Path, kind: str, what: str) -> None:
    path = tmp_path / "x"
    with pytest.raises(HostPathError, match=f"hostPath type check failed: {path} is not a {what}"):
        host_path({"path": str(path), "type": kind})

"""Volumes at their mount paths."""

import json
from pathlib import Path

from tests.engine.node import Node, container, pod

from kubeling.kube.objects import Obj
from kubeling.kube.resources import CONFIG_MAPS, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES


def mounted(script: str, path: str = "/v", **mount: str | bool) -> Obj:
    return container(script=script, volumeMounts=[{"name": "v", "mountPath": path, **mount}])


async def output(node: Node, main: Obj, **volume: Obj) -> str:
    await node.run(pod("p", main, volumes=[{"name": "v", **volume}]))
    return await node.logs("p")


async def test_config_map_keys_are_files(node: Node) -> None:
    await node.config_map("c", a="1", b="2")
    assert await output(node, mounted("cd /v; cat a b"), configMap={"name": "c"}) == "12"


async def test_items_choose_keys_paths_and_modes(node: Node) -> None:
    await node.secret("s", key="x")
    items = [{"key": "key", "path": "deep/name", "mode": 0o400}]
    main = mounted("stat -Lc %a /v/deep/name; ls /v")
    assert await output(node, main, secret={"secretName": "s", "items": items}) == "400\ndeep\n"


async def test_a_missing_optional_source_is_an_empty_volume(node: Node) -> None:
    volume = {"name": "absent", "optional": True}
    assert await output(node, mounted("ls /v; echo ok"), configMap=volume) == "ok\n"


async def test_configuration_cannot_be_written(node: Node) -> None:
    await node.config_map("c", a="1")
    main = mounted("echo 2 > /v/a || echo refused")
    assert "refused" in await output(node, main, configMap={"name": "c"})


async def test_one_file_of_a_volume_can_be_mounted_alone(node: Node) -> None:
    await node.config_map("c", **{"my.conf": "x=1"})
    main = mounted("cat /etc/my/my.conf", "/etc/my/my.conf", subPath="my.conf")
    assert await output(node, main, configMap={"name": "c"}) == "x=1"


async def test_the_downward_api_as_files(node: Node) -> None:
    items = [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]
    assert await output(node, mounted("cat /v/name"), downwardAPI={"items": items}) == "p"


async def test_a_projected_volume_holds_token_and_config(node: Node) -> None:
    await node.config_map("c", a="1")
    namespace = {"path": "ns", "fieldRef": {"fieldPath": "metadata.namespace"}}
    sources = [
        {"serviceAccountToken": {"path": "token", "audience": "kf"}},
        {"configMap": {"name": "c"}},
        {"downwardAPI": {"items": [namespace]}},
    ]
    main = mounted("cd /var/run/secrets/kubeling; cat token a ns", "/var/run/secrets/kubeling")
    expected = "token-for-default-kf1default"
    assert await output(node, main, projected={"sources": sources}) == expected


async def test_host_paths_are_the_machine_s_own(node: Node, tmp_path: Path) -> None:
    (tmp_path / "host").mkdir()
    main = mounted("echo hi > /v/file")
    await output(node, main, hostPath={"path": str(tmp_path / "host")})
    assert (tmp_path / "host" / "file").read_text() == "hi\n"


async def test_a_read_only_mount_refuses_writes(node: Node) -> None:
    main = mounted("touch /v/x || echo refused", readOnly=True)
    assert "refused" in await output(node, main, emptyDir={})


async def test_a_bound_claim_is_a_folder_that_outlives_its_pods(node: Node, tmp_path: Path) -> None:
    source = {"hostPath": {"path": str(tmp_path / "pv")}}
    await node.client.create(PERSISTENT_VOLUMES, {"metadata": {"name": "pv"}, "spec": source})
    claim = {"metadata": {"name": "data"}, "spec": {"volumeName": "pv"}}
    await node.client.create(PERSISTENT_VOLUME_CLAIMS, claim, "default")
    volume = {"name": "v", "persistentVolumeClaim": {"claimName": "data"}}
    await node.run(pod("a", mounted("echo kept > /v/file"), volumes=[volume]))
    await node.run(pod("b", mounted("cat /v/file"), volumes=[volume]))
    assert await node.logs("b") == "kept\n"
    assert (tmp_path / "pv" / "file").read_text() == "kept\n"


async def test_an_ephemeral_volume_is_a_claim_of_the_pod_s_own(node: Node, tmp_path: Path) -> None:
    source = {"hostPath": {"path": str(tmp_path / "pv")}}
    await node.client.create(PERSISTENT_VOLUMES, {"metadata": {"name": "pv"}, "spec": source})
    volume = {"name": "v", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}}
    made = pod("p", mounted("echo scratch > /v/file"), volumes=[volume])
    owner = {"kind": "Pod", "name": "p", "uid": "of-another", "controller": True}
    claim = {
        "metadata": {"name": "p-v", "ownerReferences": [owner]},
        "spec": {"volumeName": "pv"},
    }
    await node.client.create(PERSISTENT_VOLUME_CLAIMS, claim, "default")
    created = await node.create(made)
    await node.seen_event("FailedMount", 'PVC "p-v" was not created for this pod')
    owner["uid"] = created["metadata"]["uid"]
    owners = {"metadata": {"ownerReferences": [owner]}, "status": {"phase": "Bound"}}
    await node.client.patch(PERSISTENT_VOLUME_CLAIMS, "p-v", owners, "default")
    await node.finished("p")
    assert (tmp_path / "pv" / "file").read_text() == "scratch\n"


async def test_a_changed_config_map_reaches_a_running_pod(node: Node) -> None:
    await node.config_map("c", a="old")
    main = mounted("cat /v/a; until grep -q new /v/a; do sleep 0.05; done; cat /v/a")
    await node.create(pod("p", main, volumes=[{"name": "v", "configMap": {"name": "c"}}]))
    await node.running("p")
    await node.says("p", "old")
    await node.client.patch(CONFIG_MAPS, "c", {"data": {"a": "new"}}, "default")
    await node.finished("p")
    assert await node.logs("p") == "oldnew"


async def test_files_keep_their_content_whatever_it_is(node: Node) -> None:
    content = json.dumps({"text": 'ü\n\t"quoted"'})
    await node.config_map("c", **{"f.json": content})
    assert await output(node, mounted("cat /v/f.json"), configMap={"name": "c"}) == content

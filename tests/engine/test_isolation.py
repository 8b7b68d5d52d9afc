"""The walls between a pod, the machine and other pods (Linux, as root)."""

import os
import tempfile

from tests.engine.node import Node, container, pod


async def said(node: Node, script: str, **fields: object) -> list[str]:
    await node.run(pod("p", container(script=script, **fields)))
    return (await node.logs("p")).splitlines()


async def test_changes_to_the_machine_s_files_stay_in_the_pod(node: Node) -> None:
    assert await said(node, "echo x > /etc/kubeling-test && cat /etc/kubeling-test") == ["x"]
    assert "kubeling-test" not in os.listdir("/etc")


async def test_tmp_is_the_pod_s_own(node: Node) -> None:
    with tempfile.NamedTemporaryFile(dir="/tmp") as ours:
        names = f"-e a -e {os.path.basename(ours.name)}"
        assert await said(node, f"touch /tmp/a; ls -A /tmp | grep -x {names}") == ["a"]


async def test_the_platform_s_data_is_hidden(node: Node) -> None:
    data = node.engine.config.data_dir
    (data / "secret.key").write_text("x")
    assert await said(node, f"ls -A {data} | grep -c secret") == ["0"]


async def test_an_images_own_program_is_where_the_image_has_it(node: Node) -> None:
    (node.engine.config.data_dir / "images.yaml").write_text(
        "mine:\n  host: true\n  programs:\n    /opt/mine/say: |\n"
        '      #!/bin/sh\n      echo "says $*"\n'
    )
    main = container(image="mine", command=["/opt/mine/say", "a"])
    await node.run(pod("p", main, securityContext={"runAsUser": 1000}))
    assert await node.logs("p") == "says a\n"
    await node.run(pod("q", container("q", image="mine", script="say b; ls /opt/mine")))
    assert await node.logs("q", "q") == "says b\nsay\n"
    assert "mine" not in os.listdir("/opt")


async def test_what_an_image_s_program_keeps_is_there_for_the_next_pod(node: Node) -> None:
    (node.engine.config.data_dir / "images.yaml").write_text(
        "mine:\n  host: true\n  keeps: {STORE: things}\n"
    )
    for number in (1, 2):
        name = f"p{number}"
        main = container(image="mine", script=f"echo {number} >> $STORE/kept; cat $STORE/kept")
        await node.run(pod(name, main, securityContext={"runAsUser": 1000}))
    assert await node.logs("p2") == "1\n2\n"
    await node.run(pod("other", container(script="ls -A /var/cache/kubeling/things")))
    assert "kept" not in (await node.logs("other")).splitlines()


async def test_only_the_pod_s_processes_are_seen(node: Node) -> None:
    count = await said(node, "ls /proc | grep -c '^[0-9]'")
    assert int(count[0]) < 8


async def test_the_host_name_is_the_pod_s(node: Node) -> None:
    assert await said(node, "uname -n; cat /etc/hostname") == ["p", "p"]


async def test_the_pod_knows_itself_by_name(node: Node) -> None:
    main = container(image="python", command=["python", "-c", "import socket;"
                     "print(socket.gethostbyname('p'))"])  # fmt: skip
    done = await node.run(pod("p", main))
    assert (await node.logs("p")).strip() == done["status"]["podIP"]


async def test_host_aliases_resolve(node: Node) -> None:
    aliases = [{"ip": "10.1.2.3", "hostnames": ["db.example"]}]
    main = container(script="grep db.example /etc/hosts")
    await node.run(pod("p", main, hostAliases=aliases))
    assert await node.logs("p") == "10.1.2.3\tdb.example\n"


async def test_processes_a_command_leaves_behind_end_with_it(node: Node) -> None:
    marker = node.engine.config.workspace / "alive"
    await said(node, f"(while :; do touch {marker}; sleep 0.02; done) & sleep 0.1")
    assert marker.exists()
    marker.unlink()
    await node.run(pod("q", container(script="sleep 0.2")))
    assert not marker.exists()


async def test_a_pod_cannot_mount_or_change_the_kernel_s_settings(node: Node) -> None:
    script = "mount -t tmpfs x /mnt || echo no; echo 1 > /proc/sys/vm/drop_caches || echo no"
    assert [line for line in await said(node, script) if line == "no"] == ["no", "no"]


async def test_run_as_user(node: Node) -> None:
    script = "id -u; python -c 'import json; print(1)'; touch /tmp/mine && echo ok"
    main = container(
        script=script, image="python", securityContext={"runAsUser": 1000, "runAsGroup": 100}
    )
    await node.run(pod("p", main))
    assert await node.logs("p") == "1000\n1\nok\n"


async def test_devices_are_there(node: Node) -> None:
    script = (
        "echo x > /dev/null; head -c 4 /dev/urandom | wc -c; echo out > /dev/stdout; ls /dev/shm"
    )
    assert await said(node, script) == ["4", "out"]

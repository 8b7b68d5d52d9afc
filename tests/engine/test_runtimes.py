"""What a pod is promised whatever runs it: commands of this machine, podman or docker.

(:mod:`kubeling.engine.runtime` is the contract.)
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.engine.memory_api import MemoryApi
from tests.engine.node import TIMEOUT, Node, container, ended, pod, running_node
from tests.support import containerengine

from kubeling.engine.node_api import ExecSession
from kubeling.engine.paths import ContainerPaths
from kubeling.kube.objects import Obj
from kubeling.kube.resources import PODS

OWN_GROUPS = Path("/sys/fs/cgroup/cgroup.controllers").exists()
_ASK = (
    'import socket; print(socket.create_connection(("localhost", 8123)).recv(9).decode(), end="")'
)


@dataclass
class Runtime:
    """One of the runtimes, and how to start a node with it."""

    name: str
    image: str
    folder: Path
    api: MemoryApi

    def node(self, *, end_pods: bool = True) -> AbstractAsyncContextManager[Node]:
        choice = "none" if self.name == "processes" else self.name
        return running_node(
            self.folder / "data", self.api, end_pods=end_pods, container_engine=choice
        )

    def main(self, script: str = "", **fields: object) -> Obj:
        return container(script=script, **{"image": self.image, **fields})

    def left(self) -> list[str]:
        return [] if self.name == "processes" else containerengine.containers_left(self.name)


@pytest.fixture(scope="module", params=["processes", "podman", "docker"])
def engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    name = str(request.param)
    if name == "processes":
        yield name
        return
    with containerengine.usable(name):
        containerengine.make_image(name, tmp_path_factory.mktemp("image"))
        yield name


@pytest.fixture
def runtime(engine: str, tmp_path: Path, api: MemoryApi) -> Runtime:
    image = "busybox" if engine == "processes" else containerengine.IMAGE
    return Runtime(engine, image, tmp_path, api)


@pytest.fixture
async def node(runtime: Runtime) -> AsyncIterator[Node]:
    async with runtime.node() as running:
        yield running
    assert runtime.left() == []


def terminated(obj: Obj) -> Obj:
    return obj["status"]["containerStatuses"][0]["state"]["terminated"]


def supervisor(paths: ContainerPaths) -> int:
    return int(json.loads(paths.state.read_text())["pid"])


def image_id(obj: Obj) -> str:
    return str(obj["status"]["containerStatuses"][0]["imageID"])


async def everything(session: ExecSession) -> dict[int, bytes]:
    found = {1: b"", 2: b""}
    async with asyncio.timeout(TIMEOUT):
        async for stream, data in session.output():
            found[stream] += data
    return found


async def test_output_is_the_log_and_the_exit_code_is_told(node: Node, runtime: Runtime) -> None:
    done = await node.run(pod("p", runtime.main("echo hello; echo oops >&2; exit 3")))
    assert done["status"]["phase"] == "Failed"
    assert (terminated(done)["exitCode"], terminated(done)["reason"]) == (3, "Error")
    assert await node.logs("p", stream="Stdout") == "hello\n"
    assert await node.logs("p", stream="Stderr") == "oops\n"
    status = done["status"]["containerStatuses"][0]
    assert status["imageID"]
    assert status["restartCount"] == 0


async def test_a_missing_program_is_named(node: Node, runtime: Runtime) -> None:
    done = await node.run(pod("p", runtime.main(command=["no-such-program"])))
    assert (terminated(done)["exitCode"], terminated(done)["reason"]) == (127, "StartError")
    assert '"no-such-program": executable file not found in $PATH' in terminated(done)["message"]
    assert await node.logs("p") == ""


async def test_variables_and_arguments(node: Node, runtime: Runtime) -> None:
    await node.secret("s", SECRET="two words\nand a line")
    env = [
        {"name": "WHO", "value": "world"},
        {"name": "PATH", "value": "/bin:/usr/bin:/mine"},
        {"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "s", "key": "SECRET"}}},
    ]
    script = 'echo "$0 $1 $WHO $PATH $SECRET"'
    main = runtime.main(command=["sh", "-c", script], args=["$(WHO)", "$$(WHO)"], env=env)
    await node.run(pod("p", main))
    assert await node.logs("p") == (
        "world $(WHO) world /bin:/usr/bin:/mine two words\nand a line\n"
    )


@pytest.mark.parametrize("engine", ["podman", "docker"], indirect=True)
async def test_what_an_image_says_holds_unless_the_container_says_otherwise(
    node: Node, runtime: Runtime
) -> None:
    await node.run(pod("p", runtime.main()))
    assert await node.logs("p") == "entry cmd\n"
    await node.run(pod("q", runtime.main(args=["given"])))
    assert await node.logs("q") == "entry given\n"
    await node.run(pod("r", runtime.main("echo $GREETING; pwd; id -u")))
    assert await node.logs("r") == "hello\n/home\n0\n"


async def test_volumes_are_at_their_paths(node: Node, runtime: Runtime) -> None:
    await node.config_map("settings", key="value")
    main = runtime.main(
        "cat /etc/settings/key; echo; echo kept > /data/file; touch /etc/settings/no 2>&1",
        volumeMounts=[
            {"name": "settings", "mountPath": "/etc/settings"},
            {"name": "data", "mountPath": "/data"},
        ],
    )
    folder = runtime.folder / "a, b"
    volumes = [
        {"name": "settings", "configMap": {"name": "settings"}},
        {"name": "data", "hostPath": {"path": str(folder), "type": "DirectoryOrCreate"}},
    ]
    await node.run(pod("p", main, volumes=volumes))
    assert "value\n" in await node.logs("p")
    assert "Read-only file system" in await node.logs("p")
    assert (folder / "file").read_text() == "kept\n"


async def test_a_working_directory_is_made_where_it_is_missing(
    node: Node, runtime: Runtime
) -> None:
    await node.run(pod("p", runtime.main("pwd", workingDir="/some/where")))
    assert await node.logs("p") == "/some/where\n"


async def test_user_and_groups_are_those_asked_for(node: Node, runtime: Runtime) -> None:
    security = {"runAsUser": 1234, "runAsGroup": 99, "supplementalGroups": [77]}
    await node.run(pod("p", runtime.main("id -u; id -g; id -G"), securityContext=security))
    user, group, groups = (await node.logs("p")).splitlines()
    assert (user, group) == ("1234", "99")
    assert {"99", "77"} <= set(groups.split())


async def test_the_termination_message_is_read(node: Node, runtime: Runtime) -> None:
    done = await node.run(pod("p", runtime.main("echo because > /dev/termination-log; exit 1")))
    assert terminated(done)["message"] == "because\n"


async def test_all_containers_of_a_pod_share_its_address_and_names(
    node: Node, runtime: Runtime
) -> None:
    # One runs the program, the other is of the catalogue: both see one network and its names.
    program = (
        "import socket, time\n"
        "s = socket.create_server(('127.0.0.1', 8123)); s.accept()[0].sendall(b'hi')\n"
        "print(socket.gethostbyname('p'), socket.gethostbyname('alias.example'))"
    )
    server = container("server", image="python", command=["python", "-c", program])
    script = "until echo | nc localhost 8123; do sleep 0.05; done"
    if runtime.name == "processes":  # the machine may have no nc
        script = f"until {sys.executable} -c '{_ASK}'; do sleep 0.05; done"
    client = container("client", script, image=runtime.image)
    names = container("names", "cat /etc/hosts; hostname", image=runtime.image)
    aliases = [{"ip": "1.2.3.4", "hostnames": ["alias.example"]}]
    done = await node.run(pod("p", server, client, names, hostAliases=aliases))
    assert done["status"]["phase"] == "Succeeded"
    assert await node.logs("p", "client", stream="Stdout") == "hi"
    assert await node.logs("p", "server") == f"{done['status']['podIP']} 1.2.3.4\n"
    assert "1.2.3.4\talias.example" in await node.logs("p", "names")


async def test_a_container_is_asked_to_stop_before_it_is_killed(
    node: Node, runtime: Runtime
) -> None:
    polite = runtime.main("trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done")
    await node.create(pod("p", polite))
    await node.running("p")
    await node.says("p", "up")
    reading = asyncio.create_task(anext(_following(node)))
    await asyncio.sleep(0)
    await node.client.delete(PODS, "p", "default")
    assert b"bye" in await reading
    await node.gone("p")


async def test_a_container_that_does_not_stop_is_killed(node: Node, runtime: Runtime) -> None:
    stubborn = runtime.main("trap '' TERM; echo up; while :; do sleep 0.05; done")
    await node.create(pod("p", stubborn, terminationGracePeriodSeconds=1))
    await node.running("p")
    await node.says("p", "up")
    await node.client.delete(PODS, "p", "default")
    await node.gone("p")


async def test_commands_run_inside(node: Node, runtime: Runtime) -> None:
    main = runtime.main("echo mine > /tmp/file; sleep 60", env=[{"name": "A", "value": "1"}])
    await node.create(pod("p", main))
    await node.running("p")
    api = node.engine.node_api
    command = ["sh", "-c", "cat; cat /tmp/file; echo $A >&2; exit 3"]
    session = await api.exec("default", "p", "", command, stdin=True)
    await session.write(b"typed\n")
    session.close_stdin()
    assert await everything(session) == {1: b"typed\nmine\n", 2: b"1\n"}
    assert await session.wait() == 3
    await session.close()


@pytest.mark.parametrize("tty", [False, True])
async def test_hanging_up_kills_a_command(node: Node, runtime: Runtime, tty: bool) -> None:
    await node.create(pod("p", runtime.main("sleep 60")))
    await node.running("p")
    command = ["sh", "-c", "(sleep 61; : child) & echo on; sleep 62; : command"]
    session = await node.engine.node_api.exec("default", "p", "", command, tty=tty)
    async with asyncio.timeout(TIMEOUT):
        assert (await anext(session.output()))[1].startswith(b"on")
    await session.close()
    # Not found by its own command line.
    looking = "while grep -q 'sleep.6[12]' /proc/[0-9]*/cmdline 2>/dev/null; do sleep 0.1; done"
    session = await node.engine.node_api.exec("default", "p", "", ["sh", "-c", looking])
    await everything(session)
    assert await session.wait() == 0
    await session.close()


async def test_a_terminal_inside(node: Node, runtime: Runtime) -> None:
    await node.create(pod("p", runtime.main("sleep 60")))
    await node.running("p")
    session = await node.engine.node_api.exec("default", "p", "", ["sh"], stdin=True, tty=True)
    output = session.output()
    await session.resize(77, 22)
    # The engines' clients pass the size on when the command runs already.
    await session.write(b"until stty size | grep '22 7''7'; do :; done\n")
    await session.write(b"test -t 0 && echo ter''minal; exit 5\n")
    seen = b""
    async with asyncio.timeout(TIMEOUT):
        async for _, data in output:
            seen += data
    assert b"terminal" in seen
    assert b"22 77" in seen
    assert await session.wait() == 5
    await session.close()


async def test_input_for_one_client_ends_with_it(node: Node, runtime: Runtime) -> None:
    main = runtime.main("cat; echo done >&2", stdin=True, stdinOnce=True)
    await node.create(pod("p", main))
    await node.running("p")
    session = await node.engine.node_api.attach("default", "p", "", stdin=True)
    await session.write(b"typed\n" * 20_000)
    session.close_stdin()
    found = await everything(session)
    assert found == {1: b"typed\n" * 20_000, 2: b"done\n"}
    await session.close()
    assert (await node.finished("p"))["status"]["phase"] == "Succeeded"


async def test_a_container_s_own_terminal(node: Node, runtime: Runtime) -> None:
    await node.create(pod("p", runtime.main(command=["sh"], stdin=True, tty=True)))
    await node.running("p")
    session = await node.engine.node_api.attach("default", "p", "", stdin=True)
    output = session.output()
    await session.write(b"test -t 1 && echo ter''minal; exit 4\n")
    seen = b""
    async with asyncio.timeout(TIMEOUT):
        async for _, data in output:
            seen += data
    assert b"terminal\r\n" in seen
    await session.close()
    assert terminated(await node.finished("p"))["exitCode"] == 4


@pytest.mark.parametrize("engine", ["processes", "podman"], indirect=True)
async def test_containers_see_each_other_s_processes_if_asked(node: Node, runtime: Runtime) -> None:
    watcher = runtime.main("until grep -q sought /proc/*/cmdline 2>/dev/null; do sleep 0.05; done")
    other = container("other", "sleep 60; : sought", restartPolicy="Always")
    found = pod("p", watcher, initContainers=[other], shareProcessNamespace=True)
    assert (await node.run(found))["status"]["phase"] == "Succeeded"


async def test_the_signal_to_stop_by_can_be_chosen(node: Node, runtime: Runtime) -> None:
    script = "trap 'echo by usr1; exit 0' USR1; echo up; while :; do sleep 0.05; done"
    await node.create(pod("p", runtime.main(script, lifecycle={"stopSignal": "SIGUSR1"})))
    await node.running("p")
    await node.says("p", "up")
    reading = asyncio.create_task(anext(_following(node)))
    await asyncio.sleep(0)
    await node.client.delete(PODS, "p", "default")
    assert b"by usr1" in await reading
    await node.gone("p")


async def test_too_much_memory_is_told(node: Node, runtime: Runtime) -> None:
    if runtime.name == "processes" and "memory" not in node.engine.cgroups.branches:
        pytest.skip("this machine has no control groups for memory")
    reasons = ["OOMKilled"]
    if runtime.name == "podman" and not OWN_GROUPS:
        reasons.append("Error")  # its monitor loses the news on control groups of version 1
    greedy = runtime.main(
        "x=xxxxxxxx; while :; do x=$x$x; done", resources={"limits": {"memory": "32Mi"}}
    )
    done = await node.run(pod("p", greedy))
    assert terminated(done)["exitCode"] == 137
    assert terminated(done)["reason"] in reasons


async def test_limits_can_be_changed_while_it_runs(node: Node, runtime: Runtime) -> None:
    if runtime.name == "processes" and "memory" not in node.engine.cgroups.branches:
        pytest.skip("this machine has no control groups for memory")
    resources = {"limits": {"memory": "64Mi"}, "requests": {"memory": "64Mi"}}
    created = await node.create(pod("p", runtime.main("sleep 60", resources=resources)))
    await node.running("p")
    more = {"limits": {"memory": "128Mi"}, "requests": {"memory": "128Mi"}}
    main = {**created["spec"]["containers"][0], "resources": more}
    await node.client.patch(PODS, "p", {"spec": {"containers": [main]}}, "default")
    await node.seen_event("ResizeCompleted", "main")
    changed = await node.running("p")
    assert changed["status"]["containerStatuses"][0]["restartCount"] == 0


async def test_a_crashing_container_is_restarted(node: Node, runtime: Runtime) -> None:
    main = runtime.main(
        "test -e /data/done && exit 0; echo again; touch /data/done; exit 1",
        volumeMounts=[{"name": "data", "mountPath": "/data"}],
    )
    volumes = [{"name": "data", "emptyDir": {}}]
    done = await node.run(pod("p", main, volumes=volumes, restartPolicy="OnFailure"))
    (status,) = done["status"]["containerStatuses"]
    assert status["restartCount"] == 1
    assert status["lastState"]["terminated"]["exitCode"] == 1
    assert await node.logs("p", previous=True) == "again\n"


async def test_it_runs_on_without_the_platform_and_is_found_again(runtime: Runtime) -> None:
    (runtime.folder / "shared").mkdir()
    main = runtime.main(
        "echo begun; until test -e /shared/go; do sleep 0.02; done; echo done; exit 4",
        volumeMounts=[{"name": "shared", "mountPath": "/shared"}],
    )
    volumes = [{"name": "shared", "hostPath": {"path": str(runtime.folder / "shared")}}]
    async with runtime.node(end_pods=False) as node:
        await node.create(pod("p", main, volumes=volumes))
        before = await node.running("p")
        await node.says("p", "begun")
    async with runtime.node() as node:
        (runtime.folder / "shared" / "go").touch()
        done = await node.finished("p")
        assert terminated(done)["exitCode"] == 4
        assert done["status"]["containerStatuses"][0]["restartCount"] == 0
        assert image_id(done) == image_id(before) != ""
        assert await node.logs("p") == "begun\ndone\n"
    assert runtime.left() == []


async def test_how_it_ended_while_there_was_no_platform_is_known(runtime: Runtime) -> None:
    async with runtime.node(end_pods=False) as node:
        created = await node.create(pod("p", runtime.main("sleep 0.5; echo last; exit 7")))
        await node.running("p")
        paths = node.engine.config.paths.pod(created["metadata"]["uid"]).container("main", 0)
    await ended(supervisor(paths))
    async with runtime.node() as node:
        assert terminated(await node.finished("p"))["exitCode"] == 7
        assert await node.logs("p") == "last\n"
    assert runtime.left() == []


async def test_a_pod_deleted_while_there_was_no_platform_is_ended(runtime: Runtime) -> None:
    async with runtime.node(end_pods=False) as node:
        created = await node.create(pod("p", runtime.main("sleep 60")))
        await node.running("p")
        paths = node.engine.config.paths.pod(created["metadata"]["uid"]).container("main", 0)
        pid = supervisor(paths)
    del runtime.api.objects["pods", "default", "p"]
    async with runtime.node():
        await ended(pid)
    assert runtime.left() == []


async def test_a_killed_supervisor_ends_its_container(node: Node, runtime: Runtime) -> None:
    created = await node.create(pod("p", runtime.main("sleep 60")))
    await node.running("p")
    paths = node.engine.config.paths.pod(created["metadata"]["uid"]).container("main", 0)
    os.kill(supervisor(paths), signal.SIGKILL)
    assert terminated(await node.finished("p"))["exitCode"] == 137


async def test_what_it_uses_is_measured(node: Node, runtime: Runtime) -> None:
    await node.create(pod("p", runtime.main("while :; do :; done")))
    await node.running("p")
    await node.engine.node_api.pod_usage()
    await node.run(pod("wait", container(script="sleep 0.3")))
    (usage,) = await node.engine.node_api.pod_usage("default")
    assert usage.containers[0].cpu > 0.1


async def _following(node: Node) -> AsyncIterator[bytes]:
    said = b""
    async for piece in node.engine.node_api.logs("default", "p", follow=True):
        said += piece
    yield said

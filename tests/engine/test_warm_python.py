"""A Python command that was forked from a warm interpreter sees what it would have seen anyway."""

import asyncio
import itertools
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.engine.memory_api import MemoryApi
from tests.engine.node import TIMEOUT, Node, container, ended, pod, running_node
from tests.engine.test_warm_commands import component
from tests.engine.warm_programs import FILES, PROBE, PROGRAMS

from kubeling.engine.sandbox.warm.interpreter import KNOWN
from kubeling.engine.templatemetrics import publish_templates
from kubeling.engine.templates import ANNOTATION, Templates
from kubeling.kube.objects import Obj
from kubeling.kube.resources import PODS
from kubeling.monitoring.registry import Registry

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="templates need root"),
    pytest.mark.skipif(sys.version_info[:2] not in KNOWN, reason="templates know other versions"),
]

SECURITY: list[Obj] = [
    {"runAsUser": 1000, "runAsGroup": 1000},
    {"runAsNonRoot": True, "allowPrivilegeEscalation": False},
    {"capabilities": {"drop": ["ALL"]}},
    {"readOnlyRootFilesystem": True},
    {"privileged": True},
]


def python(name: str, *command: str, cold: bool = False, **fields: Any) -> Obj:
    made = pod(name, container(image="kubeling/python", command=list(command), **fields))
    if cold:
        made["metadata"]["annotations"] = {ANNOTATION: "false"}
    return made


def templates(node: Node) -> Templates:
    assert node.engine.templates is not None
    return node.engine.templates


async def ran(node: Node, obj: Obj) -> tuple[Any, ...]:
    """How a pod has ended and what it has said, in any order: it does so on two streams."""
    done = await node.run(obj)
    name = obj["metadata"]["name"]
    state = done["status"]["containerStatuses"][0]["state"]["terminated"]
    log = await node.logs(name)
    await node.client.delete(PODS, name, "default")
    await node.gone(name)
    return state["exitCode"], state.get("signal"), state["reason"], sorted(log.splitlines())


async def warm(node: Node, *command: str, **fields: Any) -> None:
    """Has a template made for such commands."""
    before = templates(node).running
    for _ in range(2):
        await ran(node, python("first", *command, **fields))
    await until_ready(node, before + 1)


async def until_ready(node: Node, running: int = 1) -> None:
    """Waits for so many templates, or more."""
    async with asyncio.timeout(TIMEOUT):
        for _ in itertools.count():
            if templates(node).running >= running:
                break
            await asyncio.sleep(0.01)


async def until_running(node: Node, running: int) -> None:
    """Waits until there are so many templates and no more."""
    async with asyncio.timeout(TIMEOUT):
        for _ in itertools.count():
            if templates(node).running == running:
                break
            await asyncio.sleep(0.01)


async def both(node: Node, name: str, *command: str, **fields: Any) -> tuple[Any, Any]:
    """What a program says when it is executed, and when it is forked."""
    executed = await ran(node, python(name, *command, cold=True, **fields))
    before = templates(node).forked
    warm = await ran(node, python(name, *command, **fields))
    forked = templates(node).forked - before
    assert forked == 1, name
    return executed, warm


def assert_same(executed: tuple[Any, ...], forked: tuple[Any, ...], about: object) -> None:
    *ended, said = executed
    *ended_too, said_too = forked
    missing = [line for line in said if line not in said_too]
    more = [line for line in said_too if line not in said]
    assert (ended_too, more, missing) == (ended, [], []), about


def write_files(node: Node) -> None:
    for path, text in FILES.items():
        file = node.engine.config.workspace / path
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)


async def test_a_program_sees_the_same(node: Node) -> None:
    write_files(node)
    await warm(node, "python", "-c", "1")
    await warm(node, "python3", "-c", "1")
    await warm(node, "python", "-u", "-c", "1")
    for name, command in PROGRAMS.items():
        executed, forked = await both(node, name, *command)
        assert_same(executed, forked, name)


async def test_a_program_is_whom_it_would_be(node: Node) -> None:
    await warm(node, "python", "-c", "1")
    for security in SECURITY:
        executed, forked = await both(node, "who", "python", "-c", PROBE, securityContext=security)
        assert_same(executed, forked, security)


async def test_an_images_own_program_of_that_name_is_no_interpreter(node: Node) -> None:
    (node.engine.config.data_dir / "images.yaml").write_text(
        "mine:\n  python: {}\n  programs:\n    python3: |\n"
        '      #!/bin/sh\n      [ "$1" = there.py ] && set -- -c "print(1)"\n'
        '      exec python "$@"\n'
    )
    made = container(image="mine", command=["python3", "there.py"])
    for _ in range(3):
        ended = await ran(node, pod("mine", made))
        assert ended == (0, None, "Completed", ["1"])
    assert templates(node).forked == 0


EXECUTOR = """\
import json, os, stat, sys
path = sys.argv[sys.argv.index("--component_module_path") + 1]
print(sys.argv[0], [a for a in sys.argv[1:] if a != path], os.path.basename(path))
print(repr(open(path).read()), oct(os.stat(path).st_mode), os.listdir(os.path.dirname(path)))
print(len(os.path.dirname(path)), oct(os.stat(os.path.dirname(path)).st_mode), os.stat(path).st_uid)
print(sorted(os.environ.items()), os.getcwd(), json.dumps(sys.path), sys.orig_argv[:4])
print([m for m in ("kfp", "kfp.dsl", "random", "asyncio") if m in sys.modules])
sys.exit(5)
"""


@pytest.mark.skipif(os.path.realpath("/bin/sh") != "/usr/bin/dash", reason="/bin/sh is not dash")
async def test_a_component_of_the_pipelines_sdk_needs_no_shells(node: Node) -> None:
    package = node.engine.config.workspace / "kfp" / "dsl"
    package.mkdir(parents=True)
    for folder in (package, package.parent):
        (folder / "__init__.py").touch()
    (package / "executor_main.py").write_text(EXECUTOR)
    env = [{"name": "KUBELING_PACKAGES_READY", "value": "1"}, {"name": "odd.name", "value": "x"}]
    command = component()
    await warm(node, *command, env=env)
    for security in ({}, {"runAsUser": 1000}):
        fields: Obj = {"env": env, "securityContext": security}
        executed, forked = await both(node, "step", *command, **fields)
        assert_same(executed, forked, security)


async def test_limits_hold(node: Node) -> None:
    await warm(node, "python", "-c", "1")
    limited: Obj = {"limits": {"memory": "64Mi", "cpu": "500m"}}
    command = ["python", "-c", PROBE]
    executed, forked = await both(node, "limited", *command, resources=limited)
    assert_same(executed, forked, "limited")
    hungry = ["python", "-c", "x = bytearray(200 << 20)"]
    executed, forked = await both(node, "hungry", *hungry, resources=limited)
    assert_same(executed, forked, "hungry")
    assert forked[0] == 137


async def test_what_ought_to_be_different_is(node: Node) -> None:
    await warm(node, "python", "-c", "1")
    say = (
        "import random, uuid, os, secrets, tempfile, time, logging; print(random.random(), "
        "uuid.uuid4(), secrets.token_hex(), tempfile.mktemp(), id(object()) and os.urandom(4))"
    )
    said = [await ran(node, python("p", "python", "-c", say)) for _ in range(3)]
    assert templates(node).forked >= 3
    words = [set(lines[0].split()) for _, _, _, lines in said]
    assert not words[0] & words[1]
    assert not words[1] & words[2]


async def test_a_template_is_made_for_the_second_use_and_ends_when_idle(
    tmp_path: Path, api: MemoryApi
) -> None:
    async with running_node(tmp_path / "data", api, warm_python_idle_seconds=0.5) as node:
        await ran(node, python("p", "python", "-c", "1"))
        assert not templates(node).running
        await warm(node, "python", "-c", "1")
        folder = node.engine.config.paths.templates
        assert os.listdir(folder)
        async with asyncio.timeout(TIMEOUT):
            for _ in itertools.count():
                if not templates(node).running and not os.listdir(folder):
                    break
                await asyncio.sleep(0.01)


async def test_metrics_tell_of_it(node: Node) -> None:
    metrics = Registry()
    publish_templates(templates(node), metrics)
    await warm(node, "python", "-c", "1")
    await both(node, "p", "python", "-c", "1")
    text = metrics.render()
    assert 'kubeling_python_commands_total{start="executed"} 3' in text
    assert 'kubeling_python_commands_total{start="forked"} 1' in text
    assert "kubeling_python_templates 1" in text


async def test_it_can_be_turned_off(tmp_path: Path, api: MemoryApi) -> None:
    async with running_node(tmp_path / "data", api, warm_python=False) as node:
        assert node.engine.templates is None
        assert (await ran(node, python("p", "python", "-c", "print(1)")))[3] == ["1"]


async def test_a_program_is_executed_that_it_could_matter_to(node: Node) -> None:
    await warm(node, "python", "-c", "1")
    for fields in (
        {"env": [{"name": "PYTHONPATH", "value": "/somewhere"}]},
        {"env": [{"name": "LD_LIBRARY_PATH", "value": "/somewhere"}]},
        {"env": [{"name": "TZ", "value": "Asia/Tokyo"}]},
        {"tty": True},
        {"stdin": True, "stdinOnce": True},
    ):
        assert (await ran(node, python("p", "python", "-c", "print(1)", **fields)))[0] == 0
        assert templates(node).forked == 0, fields


async def test_a_program_is_executed_with_options_of_its_interpreter(node: Node) -> None:
    await warm(node, "python", "-c", "1")
    for options in (["-I"], ["-E"], ["-S"], ["-O"], ["-B"], ["-W", "error"], ["-X", "dev"]):
        assert (await ran(node, python("p", "python", *options, "-c", "print(1)")))[0] == 0
        assert templates(node).forked == 0, options


async def test_a_program_is_executed_whose_modules_a_volume_covers(node: Node) -> None:
    import sysconfig

    await warm(node, "python", "-c", "1")
    place = sysconfig.get_path("stdlib")
    obj = python("p", "python", "-c", "print(1)")
    obj["spec"]["volumes"] = [{"name": "v", "emptyDir": {}}]
    mounts = [{"name": "v", "mountPath": f"{place}/covered"}]
    obj["spec"]["containers"][0]["volumeMounts"] = mounts
    assert (await ran(node, obj))[0] == 0
    assert templates(node).forked == 0


def template_pid(node: Node) -> int:
    """The process that forks: a child of nobody's, in its own folder of the machine."""
    way = next(iter(templates(node)._ready.values())).folder
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                mounts = Path(f"/proc/{entry}/mountinfo").read_text()
            except OSError:
                continue
            if str(way) in mounts:
                return int(entry)
    raise AssertionError("there is no template")


async def test_containers_start_when_their_template_was_killed(node: Node) -> None:
    await warm(node, "python", "-c", "1")
    pid = template_pid(node)
    os.kill(pid, signal.SIGKILL)
    assert (await ran(node, python("p", "python", "-c", "print(1)")))[3] == ["1"]
    await ended(pid)
    await warm(node, "python", "-c", "1")
    executed, forked = await both(node, "p", "python", "-c", PROBE)
    assert_same(executed, forked, "p")


async def test_containers_start_when_their_template_is_stuck(node: Node) -> None:
    await warm(node, "python", "-c", "1")
    pid = template_pid(node)
    os.kill(pid, signal.SIGSTOP)
    say = "import os; open('ran', 'a').write('x'); print(1)"
    assert (await ran(node, python("p", "python", "-c", say)))[3] == ["1"]
    os.kill(pid, signal.SIGCONT)
    executed, forked = await both(node, "p", "python", "-c", PROBE)
    assert_same(executed, forked, "p")
    assert (node.engine.config.workspace / "ran").read_text() == "x"


async def stand_by(node: Node) -> int:
    """Has a fork wait for the next command; returns the process above it."""
    await warm(node, "python", "-c", "1")
    async with asyncio.timeout(TIMEOUT):
        for _ in itertools.count():
            await ran(node, python("before", "python", "-c", "1"))
            while templates(node).standing_by:
                if pid := spare_pid(node):
                    return pid
                await asyncio.sleep(0.01)
    raise AssertionError("nobody stands by")


def spare_pid(node: Node) -> int:
    zygote = node.engine.launcher.pid
    for child in Path(f"/proc/{zygote}/task/{zygote}/children").read_text().split():
        try:
            if Path(f"/proc/{child}/comm").read_text() == "kubeling-spare\n":
                return int(child)
        except OSError:
            continue
    return 0


async def test_a_command_whose_fork_stood_by_sees_what_was_mounted_since(node: Node) -> None:
    await stand_by(node)
    show = "print(open('/v/file').read())"
    obj = python("p", "python", "-c", show)
    memory = [{"name": "v", "emptyDir": {"medium": "Memory"}}]
    mounts = [{"name": "v", "mountPath": "/v"}]
    obj["spec"] |= {
        "volumes": memory,
        "initContainers": [container("write", "echo -n there > /v/file", volumeMounts=mounts)],
    }
    obj["spec"]["containers"][0]["volumeMounts"] = mounts
    assert (await ran(node, obj))[3] == ["there"]
    assert templates(node).forked >= 2


async def test_who_stands_by_ends_when_nobody_wants_it(node: Node) -> None:
    pid = await stand_by(node)
    await ended(pid)
    assert not templates(node).standing_by
    assert templates(node).running


async def test_a_container_starts_when_who_stood_by_for_it_was_killed(node: Node) -> None:
    os.kill(await stand_by(node), signal.SIGKILL)
    say = "import os; open('ran', 'a').write('x'); print(1)"
    assert (await ran(node, python("p", "python", "-c", say)))[3] == ["1"]
    assert (node.engine.config.workspace / "ran").read_text() == "x"


async def test_the_agents_end_is_the_end_of_who_stands_by(tmp_path: Path, api: MemoryApi) -> None:
    async with running_node(tmp_path / "data", api) as node:
        pid = await stand_by(node)
    await ended(pid)


async def test_the_agents_end_is_the_templates_but_no_containers(
    tmp_path: Path, api: MemoryApi
) -> None:
    wait = "import os, time\nprint(1, flush=True)\nwhile not os.path.exists('go'): time.sleep(0.01)"
    async with running_node(tmp_path / "data", api, end_pods=False) as node:
        await stand_by(node)
        pid = template_pid(node)
        forked = templates(node).forked
        await node.create(python("p", "python", "-c", wait))
        await node.running("p")
        await node.says("p", "1")
        assert templates(node).forked == forked + 1
    await ended(pid)
    async with running_node(tmp_path / "data", api) as node:
        (node.engine.config.workspace / "go").touch()
        done = await node.finished("p")
        assert done["status"]["phase"] == "Succeeded"
        assert not list(node.engine.config.paths.templates.glob("*"))


async def test_a_forked_program_ends_as_it_is_told(node: Node) -> None:
    await warm(node, "python", "-c", "1")
    program = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *a: (print('told', flush=True), sys.exit(0)))\n"
        "print('ready', flush=True)\ntime.sleep(60)"
    )
    await node.create(python("p", "python", "-c", program))
    await node.running("p")
    await node.says("p", "ready")
    await node.client.delete(PODS, "p", "default")
    await node.says("p", "told")
    await node.gone("p")
    assert templates(node).forked == 1


async def test_a_changed_environment_is_seen(node: Node) -> None:
    await warm(node, "python", "-c", "1")
    template = next(iter(templates(node)._ready.values()))
    seen = dict(template.seen)
    seen[next(iter(seen))] = 0
    template.seen = seen
    await ran(node, python("p", "python", "-c", "1"))
    assert templates(node).forked == 0
    assert not templates(node).running

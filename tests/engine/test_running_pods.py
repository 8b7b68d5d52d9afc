"""What a user sees of a pod that runs: output, exit codes, variables, order, restarts."""

import pytest
from tests.engine.node import Node, container, pod

from kubeling.kube.objects import Obj, condition


def terminated(obj: Obj, field: str = "containerStatuses") -> Obj:
    return obj["status"][field][0]["state"]["terminated"]


async def test_a_command_runs_and_its_output_is_the_log(node: Node) -> None:
    done = await node.run(pod("p", container(script="echo hello; echo oops >&2")))
    assert done["status"]["phase"] == "Succeeded"
    assert sorted((await node.logs("p")).split()) == ["hello", "oops"]


async def test_the_status_says_all_that_kubectl_describe_shows(node: Node) -> None:
    done = await node.run(pod("p", container(script="exit 0")))
    status = done["status"]
    assert status["podIP"].startswith("10.244.")
    assert status["hostIP"] == node.engine.host_ip
    assert status["qosClass"] == "BestEffort"
    assert status["startTime"].endswith("Z")
    assert done["spec"]["nodeName"] == "kubeling"
    (main,) = status["containerStatuses"]
    assert main["restartCount"] == 0
    assert main["ready"] is False
    assert terminated(done)["reason"] == "Completed"
    assert condition(done, "Ready").reason == "PodCompleted"  # type: ignore[union-attr]
    assert condition(done, "PodScheduled").status == "True"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("command", "code", "reason"),
    [
        (["sh", "-c", "exit 3"], 3, "Error"),
        (["no-such-program"], 127, "StartError"),
        (["/etc/hostname"], 126, "StartError"),
        (["sh", "-c", "kill -KILL $$$$"], 137, "Error"),
        (["sh", "-c", "kill -TERM $$$$"], 143, "Error"),
    ],
)
async def test_exit_codes_are_those_of_kubernetes(
    node: Node, command: list[str], code: int, reason: str
) -> None:
    done = await node.run(pod("p", container(command=command)))
    assert done["status"]["phase"] == "Failed"
    assert terminated(done)["exitCode"] == code
    assert terminated(done)["reason"] == reason


async def test_a_missing_program_is_named(node: Node) -> None:
    done = await node.run(pod("p", container(command=["no-such-program"])))
    message = 'exec: "no-such-program": executable file not found in $PATH'
    assert terminated(done)["message"] == message


async def test_variables_come_from_values_fields_config_maps_and_secrets(node: Node) -> None:
    await node.config_map("settings", COLOUR="blue", **{"log-level": "debug"})
    await node.secret("access", PASSWORD="s3cret")
    env = [
        {"name": "PLAIN", "value": "one"},
        {"name": "COMPOSED", "value": "$(PLAIN)-two-$(UNKNOWN)-$$(PLAIN)"},
        {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "CPUS", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
        {
            "name": "LEVEL",
            "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "log-level"}},
        },
        {"name": "PASS", "valueFrom": {"secretKeyRef": {"name": "access", "key": "PASSWORD"}}},
    ]
    names = ("PLAIN", "COMPOSED", "NAME", "IP", "CPUS", "LEVEL", "PASS", "COLOUR")
    script = "; ".join(f"echo ${name}" for name in names)
    main = container(script=script, env=env, envFrom=[{"configMapRef": {"name": "settings"}}])
    main["resources"] = {"limits": {"cpu": "500m"}}
    done = await node.run(pod("p", main))
    assert (await node.logs("p")).splitlines() == [
        "one", "one-two-$(UNKNOWN)-$(PLAIN)", "p", done["status"]["podIP"], "1", "debug",
        "s3cret", "blue",
    ]  # fmt: skip


async def test_args_are_expanded_with_the_variables(node: Node) -> None:
    main = container(command=["echo"], args=["$(WHO)!"], env=[{"name": "WHO", "value": "world"}])
    await node.run(pod("p", main))
    assert await node.logs("p") == "world!\n"


async def test_a_container_starts_in_the_workspace(node: Node) -> None:
    (node.engine.config.workspace / "train.py").write_text("print('trained')")
    main = container(image="python:3.11", command=["python", "train.py"])
    done = await node.run(pod("p", main))
    assert await node.logs("p") == "trained\n"
    assert done["status"]["phase"] == "Succeeded"


async def test_what_a_step_writes_to_the_workspace_is_there_afterwards(node: Node) -> None:
    await node.run(pod("p", container(script="echo 42 > model.txt")))
    assert (node.engine.config.workspace / "model.txt").read_text() == "42\n"


async def test_a_working_directory_is_made_where_it_is_missing(node: Node) -> None:
    await node.run(pod("p", container(script="pwd", workingDir="/home/jovyan/work")))
    assert await node.logs("p") == "/home/jovyan/work\n"


async def test_init_containers_run_one_after_the_other_before_the_rest(node: Node) -> None:
    shared = [{"name": "out", "mountPath": "/out"}]

    def step(name: str) -> Obj:
        return container(name, f"echo {name} >> /out/order", volumeMounts=shared)

    main = container(script="cat /out/order", volumeMounts=shared)
    init = [step("first"), step("second")]
    done = await node.run(
        pod("p", main, initContainers=init, volumes=[{"name": "out", "emptyDir": {}}])
    )
    assert await node.logs("p", "main") == "first\nsecond\n"
    assert terminated(done, "initContainerStatuses")["exitCode"] == 0


async def test_a_failed_init_container_fails_the_pod(node: Node) -> None:
    init = [container("setup", "exit 9")]
    done = await node.run(pod("p", container(script="echo never"), initContainers=init))
    assert done["status"]["phase"] == "Failed"
    waiting = done["status"]["containerStatuses"][0]["state"]["waiting"]
    assert waiting["reason"] == "PodInitializing"


async def test_a_sidecar_runs_beside_and_stops_after_the_main_container(node: Node) -> None:
    sidecar = container(
        "log", "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done"
    )
    sidecar["restartPolicy"] = "Always"
    done = await node.run(pod("p", container(script="sleep 0.2"), initContainers=[sidecar]))
    assert done["status"]["phase"] == "Succeeded"
    assert await node.logs("p", "log") == "up\nbye\n"


async def test_all_containers_of_a_pod_share_its_address(node: Node) -> None:
    server = container(
        "server", image="python", command=["python", "-c", "import socket;"
        "s = socket.create_server(('127.0.0.1', 8000)); s.accept()[0].sendall(b'hi')"],
    )  # fmt: skip
    client = container(
        "client", image="python", command=["python", "-c", "import socket, time\n"
        "for _ in range(100):\n"
        "  try: print(socket.create_connection(('localhost', 8000)).recv(9)); break\n"
        "  except OSError: time.sleep(0.05)"],
    )  # fmt: skip
    await node.run(pod("p", server, client))
    assert await node.logs("p", "client") == "b'hi'\n"


async def test_a_crashing_container_is_restarted_with_growing_pauses(node: Node) -> None:
    await node.create(pod("p", container(script="echo again; exit 1"), restartPolicy="OnFailure"))

    def backing_off(obj: Obj) -> bool:
        statuses = obj["status"].get("containerStatuses") or [{"state": {}}]
        return statuses[0]["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff"

    waiting = await node.until("p", backing_off)
    (main,) = waiting["status"]["containerStatuses"]
    assert main["restartCount"] == 1
    assert main["lastState"]["terminated"]["exitCode"] == 1
    assert "back-off 10s restarting failed container=main" in main["state"]["waiting"]["message"]
    assert await node.logs("p", previous=True) == "again\n"
    await node.event("BackOff")


async def test_on_failure_a_container_is_repeated_until_it_succeeds(node: Node) -> None:
    main = container(script="test -e done && exit 0; touch done; exit 1")
    done = await node.run(pod("p", main, restartPolicy="OnFailure"))
    assert done["status"]["phase"] == "Succeeded"
    assert done["status"]["containerStatuses"][0]["restartCount"] == 1


async def test_a_pod_past_its_deadline_is_stopped(node: Node) -> None:
    done = await node.run(pod("p", container(script="sleep 60"), activeDeadlineSeconds=1))
    assert done["status"]["phase"] == "Failed"
    assert done["status"]["reason"] == "DeadlineExceeded"


async def test_the_termination_message_is_read(node: Node) -> None:
    done = await node.run(pod("p", container(script="echo because > /dev/termination-log; exit 1")))
    assert terminated(done)["message"] == "because\n"


async def test_the_log_explains_a_failure_where_asked_to(node: Node) -> None:
    main = container(
        script="echo broken >&2; exit 1", terminationMessagePolicy="FallbackToLogsOnError"
    )
    done = await node.run(pod("p", main))
    assert terminated(done)["message"] == "broken\n"


async def test_events_tell_the_story(node: Node) -> None:
    await node.run(pod("p", container(script="exit 0")))
    for reason in ("Scheduled", "Pulled", "Created", "Started"):
        assert (await node.event(reason))["involvedObject"]["name"] == "p"

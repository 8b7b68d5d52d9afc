"""What becomes of templates that run something: pods of every shape, and what their ends mean."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.workflows.simulation import World, world

from kubeling.kube.objects import Obj
from kubeling.workflows.podpatch import patched, without_executor


def state(name: str, **state: Any) -> Obj:
    """A container's status."""
    return {"name": name, "ready": "running" in state, "state": state}


def exited(code: int, **more: Any) -> Obj:
    """The state of a container that has ended."""
    return {"exitCode": code, **({"reason": "Error"} if code else {}), **more}


def show(it: World, pod: Obj, phase: str, *containers: Obj, **more: Any) -> None:
    """Lets a pod's status be seen."""
    pod["status"] = {"phase": phase, "containerStatuses": list(containers), **more}
    it.advance(pod)


def only(it: World) -> Obj:
    """The one pod there is."""
    [pod] = it.pods.values()
    return pod


class TestContainerSets:
    SET = """
spec:
  entrypoint: main
  templates:
  - name: main
    containerSet:
      volumeMounts: [{name: work, mountPath: /shared}]
      containers:
      - {name: a, image: busybox, command: [make]}
      - {name: b, image: busybox, command: [test], dependencies: [a]}
      - {name: main, image: busybox, command: [ship], dependencies: [a, b]}
    outputs: {parameters: [{name: out, valueFrom: {path: /shared/out}}]}
    volumes: [{name: work, emptyDir: {}}]
"""

    def test_each_container_is_a_node_behind_those_it_waits_for(self) -> None:
        it = world(self.SET)
        it.advance()
        kinds = {n.display_name: n.type for n in it.execution.nodes.values()}
        assert kinds == {"wf": "Pod", "a": "Container", "b": "Container", "main": "Container"}
        assert it.node("wf").children == [it.node("a").id]
        assert it.node("a").children == [it.node("b").id, it.node("main").id]
        spec = only(it)["spec"]
        assert [c["name"] for c in spec["containers"]] == ["a", "b", "main"]
        mounts = [{m["mountPath"] for m in c["volumeMounts"]} for c in spec["containers"]]
        assert all({"/shared", "/var/run/argo/ctr"} <= paths for paths in mounts)

    def test_their_phases_are_those_of_their_containers(self) -> None:
        it = world(self.SET)
        it.advance()
        done, runs = state("a", terminated=exited(0)), state("b", running={})
        show(it, only(it), "Running", done, runs, state("main", running={}))
        assert it.phases() == {"wf": "Running", "a": "Succeeded", "b": "Running", "main": "Running"}
        failed = [done, state("b", terminated=exited(3)), state("main", terminated=exited(64))]
        show(it, only(it), "Failed", *failed)
        assert it.phases() == {"wf": "Failed", "a": "Succeeded", "b": "Failed", "main": "Error"}
        assert it.execution.message == "b: Error (exit code 3)"

    def test_its_outputs_are_those_of_main(self) -> None:
        it = world(self.SET)
        it.advance()
        told = state("main", terminated=exited(0, message="parameter out 2\nhi\n"))
        others = [state(name, terminated=exited(0)) for name in ("a", "b")]
        show(it, only(it), "Succeeded", *others, told)
        assert it.execution.phase == "Succeeded"
        outputs = it.node("wf").outputs
        assert outputs is not None
        assert outputs.parameters[0].value == "hi"


class TestDaemons:
    DAEMON = """
spec:
  entrypoint: main
  templates:
  - name: main
    steps:
    - - {name: server, template: server}
    - - name: client
        template: client
        arguments: {parameters: [{name: ip, value: "{{steps.server.ip}}"}]}
  - name: server
    daemon: true
    container: {image: busybox, command: [serve]}
  - name: client
    inputs: {parameters: [{name: ip}]}
    container: {image: busybox, command: [ask, "{{inputs.parameters.ip}}"]}
"""

    def pods(self, it: World) -> dict[str, Obj]:
        return {pod["spec"]["containers"][0]["command"][0]: pod for pod in it.pods.values()}

    def test_the_next_steps_begin_when_it_is_ready_and_know_where_it_is(self) -> None:
        it = world(self.DAEMON)
        it.advance()
        server = self.pods(it)["serve"]
        show(it, server, "Running", {**state("main", running={}), "ready": False})
        assert set(self.pods(it)) == {"serve"}
        show(it, server, "Running", state("main", running={}), podIP="10.0.0.7")
        assert self.pods(it)["ask"]["spec"]["containers"][0]["command"] == ["ask", "10.0.0.7"]
        assert it.node("server").daemoned
        assert it.phases()["server"] == "Running"

    def test_it_ends_with_the_template_that_started_it(self) -> None:
        it = world(self.DAEMON)
        it.advance()
        server = self.pods(it)["serve"]
        show(it, server, "Running", state("main", running={}), podIP="10.0.0.7")
        it.restart()
        it.advance()
        assert not it.ended
        it.end(self.pods(it)["ask"])
        assert it.ended == [server["metadata"]["name"]]
        assert (it.phases()["server"], it.execution.phase) == ("Succeeded", "Succeeded")
        assert not it.node("server").daemoned

    def test_one_that_ends_by_itself_has_failed(self) -> None:
        it = world(self.DAEMON)
        it.advance()
        it.end(self.pods(it)["serve"])
        assert it.execution.phase == "Failed"

    def test_one_that_is_lost_is_started_again_where_it_may_be(self) -> None:
        it = world(
            self.DAEMON.replace("daemon: true", "daemon: true\n    retryStrategy: {limit: 1}")
        )
        it.advance()
        show(it, self.pods(it)["serve"], "Running", state("main", running={}), podIP="10.0.0.7")
        show(it, self.pods(it)["serve"], "Failed", state("main", terminated=exited(1)))
        [again] = [
            pod for pod in it.running() if pod["spec"]["containers"][0]["command"][0] == "serve"
        ]
        show(it, again, "Running", state("main", running={}), podIP="10.0.0.8")
        it.end(self.pods(it)["ask"])
        assert it.phases()["server(0)"] == "Failed"
        assert it.phases()["server(1)"] == it.phases()["server"] == "Succeeded"
        assert it.execution.phase == "Succeeded"


class TestSidecars:
    TWO = """
spec:
  entrypoint: main
  templates:
  - name: main
    container:
      image: busybox
      command: [work]
      volumeMounts: [{name: work, mountPath: /shared}]
    sidecars: [{name: proxy, image: busybox, command: [proxy], mirrorVolumeMounts: true}]
    volumes: [{name: work, emptyDir: {}}]
"""

    def test_they_end_when_main_has_and_that_is_no_failure(self) -> None:
        it = world(self.TWO)
        it.advance()
        show(
            it, only(it), "Running", state("main", terminated=exited(0)), state("proxy", running={})
        )
        assert it.execution.phase == "Succeeded"
        assert it.ended == ["wf"]

    def test_a_main_that_ends_before_its_sidecar_can_start_ends_the_step(self) -> None:
        it = world(self.TWO)
        it.advance()
        never = state("proxy", waiting={"reason": "ImagePullBackOff"})
        show(it, only(it), "Pending", state("main", terminated=exited(1)), never)
        assert it.execution.message == "main: Error (exit code 1)"
        assert it.ended == ["wf"]

    def test_one_that_failed_of_itself_fails_the_step(self) -> None:
        it = world(self.TWO)
        it.advance()
        proxy = state("proxy", terminated=exited(2))
        show(it, only(it), "Failed", state("main", terminated=exited(0)), proxy)
        assert it.execution.message == "proxy: Error (exit code 2)"

    def test_they_may_see_the_volumes_of_main(self) -> None:
        it = world(self.TWO)
        it.advance()
        main, proxy = only(it)["spec"]["containers"]
        assert proxy["volumeMounts"] == main["volumeMounts"]
        assert "mirrorVolumeMounts" not in proxy


class TestPods:
    def test_what_the_template_says_goes_before_what_is_around_it(self) -> None:
        it = world("""
spec:
  entrypoint: main
  nodeSelector: {at: workflow}
  tolerations: [{key: workflow}]
  priority: 3
  podPriorityClassName: low
  hostAliases: [{ip: 10.0.0.1, hostnames: [a]}]
  podResources: {limits: {cpu: "1"}}
  podSpecPatch: '{"hostname": "here", "containers": [{"name": "main", "tty": true}]}'
  templates:
  - name: main
    nodeSelector: {at: steps}
    steps: [[{name: one, template: one}]]
  - name: one
    tolerations: [{key: template}]
    hostAliases: [{ip: 10.0.0.2, hostnames: [b]}]
    podSpecPatch: |
      containers:
      - name: main
        env: [{name: WHO, value: "{{pod.name}}"}]
    container: {image: busybox, command: [work]}
""")
        it.advance()
        pod = only(it)
        spec = pod["spec"]
        assert spec["nodeSelector"] == {"at": "steps"}
        assert spec["tolerations"] == [{"key": "template"}]
        assert spec["priorityClassName"] == "low"
        assert [alias["ip"] for alias in spec["hostAliases"]] == ["10.0.0.1", "10.0.0.2"]
        assert spec["resources"] == {"limits": {"cpu": "1"}}
        assert spec["hostname"] == "here"
        [main] = spec["containers"]
        assert main["tty"] is True
        env = {entry["name"]: entry["value"] for entry in main["env"]}
        assert env["WHO"] == pod["metadata"]["name"]
        assert (env["ARGO_CONTAINER_NAME"], env["ARGO_WORKFLOW_NAME"]) == ("main", "wf")
        assert (
            env["ARGO_NODE_ID"] == pod["metadata"]["annotations"]["workflows.argoproj.io/node-id"]
        )

    def test_only_volumes_that_are_mounted_are_asked_for(self) -> None:
        it = world("""
spec:
  entrypoint: main
  volumes: [{name: used, emptyDir: {}}, {name: unused, persistentVolumeClaim: {claimName: no}}]
  templates:
  - name: main
    container:
      image: busybox
      command: [work]
      volumeMounts: [{name: used, mountPath: /used}]
""")
        it.advance()
        assert only(it)["spec"]["volumes"] == [{"name": "used", "emptyDir": {}}]

    def test_one_that_waits_too_long_to_begin_is_given_up(self) -> None:
        it = world("""
spec:
  entrypoint: main
  templates:
  - name: main
    steps: [[{name: slow, template: slow}, {name: quick, template: slow}]]
  - name: slow
    pendingTimeout: 1m
    container: {image: busybox, command: [work]}
""")
        it.advance()
        slow, quick = it.pods.values()
        show(it, quick, "Running", state("main", running={}))
        assert it.execution.wake_at is not None
        it.now = it.execution.wake_at
        it.advance()
        assert (it.node("slow").phase, it.node("slow").message) == ("Failed", "timeout")
        assert it.stopped == [slow["metadata"]["name"]]
        assert it.node("quick").phase == "Running"

    def test_what_they_asked_for_is_added_up_over_the_time_they_ran(self) -> None:
        it = world("""
spec:
  entrypoint: main
  templates:
  - name: main
    steps: [[{name: one, template: one}]]
  - name: one
    container:
      image: busybox
      command: [work]
      resources: {limits: {memory: 1Gi}, requests: {cpu: 2}}
    sidecars: [{name: beside, image: busybox}]
""")
        it.advance()
        times = {"startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:30Z"}
        ended = [state(n, terminated=exited(0, **times)) for n in ("main", "beside")]
        show(it, only(it), "Succeeded", *ended)
        assert it.node("one").resources_duration == {"cpu": 63, "memory": 337}
        assert it.execution.resources_duration == it.node("wf").resources_duration
        assert it.execution.resources_duration == {"cpu": 63, "memory": 337}


NAMES = st.sampled_from("abcd")
ENV = st.dictionaries(NAMES, st.text(max_size=3), max_size=4)


@given(ENV, ENV)
def test_a_patch_merges_lists_by_key_as_the_api_server_does(own: Obj, patch: Obj) -> None:
    def spec(env: Obj) -> Obj:
        listed = [{"name": key, "value": value} for key, value in env.items()]
        return {"containers": [{"name": "main", "env": listed}]}

    [main] = patched(spec(own), spec(patch))["containers"]
    assert {entry["name"]: entry["value"] for entry in main["env"]} == {**own, **patch}
    names = [entry["name"] for entry in main["env"]]
    assert names == list(dict.fromkeys([*own, *patch]))


def test_a_patch_deletes_and_replaces_where_it_says_so() -> None:
    spec = {"containers": [{"name": "main", "command": ["a", "b"], "args": ["c"]}, {"name": "x"}]}
    patch: Obj = {
        "containers": [
            {"name": "x", "$patch": "delete"},
            {"name": "main", "command": ["d"], "args": None},
        ],
    }
    assert patched(spec, patch) == {"containers": [{"name": "main", "command": ["d"]}]}


def test_what_a_patch_says_of_upstreams_own_containers_is_left_out() -> None:
    main: Obj = {"containers": [{"name": "main", "image": "busybox"}]}
    resources = {"resources": {"requests": {"memory": "2Gi"}}}
    patch: Obj = {
        "initContainers": [{"name": "init", **resources}],
        "containers": [{"name": "wait", **resources}, {"name": "main", **resources}],
    }
    assert without_executor(patched(main, patch)) == {
        "containers": [{"name": "main", "image": "busybox", **resources}]
    }
    own: Obj = {**main, "initContainers": [{"name": "init", "image": "busybox"}]}
    [init] = without_executor(patched(own, patch))["initContainers"]
    assert init == {"name": "init", "image": "busybox", **resources}

"""The rules of a pod's life, held for any sequence of events."""

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from kubeling.engine.containers import Exit
from kubeling.engine.pods import (
    Backoff,
    ContainerState,
    Decision,
    Ended,
    PodState,
    Running,
    StopReason,
    Waiting,
    decide,
)
from kubeling.kube.objects import Obj

BACKOFF = Backoff()
policies = st.sampled_from(["Always", "OnFailure", "Never"])


def exited(code: int = 0, at: float = 0.0, ran: float = 1.0) -> Exit:
    return Exit(code, 0, "", "", at - ran, at)


def ended(code: int = 0, attempt: int = 0, at: float = 0.0) -> ContainerState:
    return ContainerState(Ended(exited(code, at)), attempt, crashes=attempt)


def pod(policy: str = "Always", init: list[Obj] | None = None, mains: int = 1) -> Obj:
    containers = [{"name": f"m{n}"} for n in range(mains)]
    return {
        "spec": {"restartPolicy": policy, "initContainers": init or [], "containers": containers}
    }


def on(
    obj: Obj, stopping: StopReason | None = None, now: float = 0.0, **states: ContainerState
) -> Decision:
    names = [c["name"] for c in obj["spec"]["initContainers"] + obj["spec"]["containers"]]
    known = {name: states.get(name, ContainerState()) for name in names}
    return decide(obj, PodState(known, stopping), now, BACKOFF)


RUNNING = ContainerState(Running(0.0), 0)
SIDECAR = {"name": "s", "restartPolicy": "Always"}


def test_all_main_containers_start_together() -> None:
    assert on(pod(mains=3)).start == ["m0", "m1", "m2"]


def test_init_containers_start_one_by_one() -> None:
    obj = pod(init=[{"name": "a"}, {"name": "b"}])
    assert on(obj).start == ["a"]
    assert on(obj, a=RUNNING).start == []
    assert on(obj, a=ended()).start == ["b"]
    assert on(obj, a=ended(), b=ended()).start == ["m0"]


def test_a_sidecar_need_only_have_started() -> None:
    obj = pod(init=[SIDECAR, {"name": "b"}])
    starting = ContainerState(Running(0.0, started=False), 0)
    assert on(obj, s=starting).start == []
    assert on(obj, s=RUNNING).start == ["b"]


def test_sidecars_stop_last_and_in_reverse() -> None:
    other = {"name": "t", "restartPolicy": "Always"}
    obj = pod("Never", init=[SIDECAR, other])
    assert on(obj, s=RUNNING, t=RUNNING, m0=ended()).stop == ["t"]
    assert on(obj, s=RUNNING, t=ended(), m0=ended()).stop == ["s"]
    assert on(obj, s=ended(), t=ended(), m0=ended()).phase == "Succeeded"
    assert on(obj, "Deleted", s=RUNNING, t=RUNNING, m0=RUNNING).stop == ["m0"]


def test_the_first_restart_is_immediate_and_the_next_wait_longer() -> None:
    assert [BACKOFF.delay(n) for n in range(8)] == [0, 10, 20, 40, 80, 160, 300, 300]
    assert on(pod(), m0=ended(1, attempt=0)).start == ["m0"]
    waiting = on(pod(), m0=ended(1, attempt=1), now=3.0)
    assert waiting.start == []
    assert waiting.backing_off == {"m0": 10.0}
    assert waiting.wake_at == 10.0
    assert on(pod(), m0=ended(1, attempt=1), now=10.0).start == ["m0"]


def test_a_long_run_ends_the_back_off() -> None:
    known = ContainerState(Ended(exited(1, at=0.0, ran=601.0)), 5, crashes=5)
    assert on(pod(), m0=known).start == ["m0"]


def test_a_failed_attempt_to_start_is_repeated_when_due() -> None:
    known = ContainerState(Waiting("ErrImagePull", "", retry_at=7.0))
    assert on(pod(), m0=known, now=5.0).wake_at == 7.0
    assert on(pod(), m0=known, now=7.0).start == ["m0"]


@given(policies, st.integers(0, 3))
def test_what_runs_again_and_what_does_not(policy: str, code: int) -> None:
    decision = on(pod(policy), m0=ended(code))
    again = policy == "Always" or (policy == "OnFailure" and code != 0)
    assert (decision.start == ["m0"]) is again
    assert decision.finished is not again
    if not again:
        assert decision.phase == ("Failed" if code else "Succeeded")


def rules(operator: str, *codes: int) -> list[Obj]:
    return [{"action": "Restart", "exitCodes": {"operator": operator, "values": list(codes)}}]


@given(policies, st.integers(0, 3))
def test_a_container_s_own_rules_come_before_its_policy_and_the_pod_s(
    policy: str, code: int
) -> None:
    own = {"restartPolicy": "Never", "restartPolicyRules": rules("In", 2)}
    obj = pod(policy)
    obj["spec"]["containers"] = [{"name": "m0", **own}]
    assert (on(obj, m0=ended(code)).start == ["m0"]) is (code == 2)
    own["restartPolicyRules"] = rules("NotIn", 0, 1)
    obj["spec"]["containers"] = [{"name": "m0", **own}]
    assert (on(obj, m0=ended(code)).start == ["m0"]) is (code > 1)


@given(policies)
def test_an_init_container_with_a_policy_of_its_own(policy: str) -> None:
    never = pod(policy, init=[{"name": "a", "restartPolicy": "Never"}])
    assert on(never, a=ended(1)).phase == "Failed"
    again = pod(policy, init=[{"name": "a", "restartPolicy": "OnFailure"}])
    assert on(again, a=ended(1)).start == ["a"]


def test_a_pod_past_its_deadline_has_failed_whatever_its_containers_say() -> None:
    assert on(pod(), "DeadlineExceeded", m0=RUNNING).stop == ["m0"]
    assert on(pod(), "DeadlineExceeded", m0=ended(0)).phase == "Failed"


class World:
    """Containers that do what they are told, and end as they like."""

    def __init__(self, obj: Obj) -> None:
        self.obj = obj
        names = [c["name"] for c in obj["spec"]["initContainers"] + obj["spec"]["containers"]]
        self.states = {name: ContainerState() for name in names}
        self.stopping: StopReason | None = None
        self.now = 0.0

    def turn(self) -> Decision:
        decision = decide(self.obj, PodState(self.states, self.stopping), self.now, BACKOFF)
        for name in decision.start:
            known = self.states[name]
            assert not known.running
            self.states[name] = ContainerState(
                Running(self.now), known.attempt + 1, known.ended, known.crashes + 1
            )
        for name in decision.stop:
            self.end(name, 143)
        return decision

    def end(self, name: str, code: int) -> None:
        known = self.states[name]
        if known.running:
            self.states[name] = dataclasses.replace(known, current=Ended(exited(code, self.now)))


inits = st.lists(st.booleans(), max_size=3).map(
    lambda kinds: [
        {"name": f"i{n}", **({"restartPolicy": "Always"} if sidecar else {})}
        for n, sidecar in enumerate(kinds)
    ]
)
steps = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2)), max_size=30)


@given(policies, inits, st.integers(1, 3), steps)
def test_whatever_happens_order_and_end_hold(
    policy: str, init: list[Obj], mains: int, events: list[tuple[int, int]]
) -> None:
    world = World(pod(policy, init, mains))
    plain = [c["name"] for c in init if "restartPolicy" not in c]
    for which, code in events:
        decision = world.turn()
        running = {name for name, known in world.states.items() if known.running}
        assert len(running & set(plain)) <= 1
        if any(name.startswith("m") for name in running):
            assert not running & set(plain)
            assert all(world.states[name].attempt >= 0 for name in plain)
        if decision.finished:
            assert not running
            return
        names = sorted(running)
        if names:
            world.end(names[which % len(names)], code)
        world.now += 400.0


@given(policies, inits, st.integers(1, 3), steps)
def test_a_deleted_pod_always_comes_to_rest(
    policy: str, init: list[Obj], mains: int, events: list[tuple[int, int]]
) -> None:
    world = World(pod(policy, init, mains))
    for which, code in events:
        world.turn()
        names = sorted(name for name, known in world.states.items() if known.running)
        if names:
            world.end(names[which % len(names)], code)
    world.stopping = "Deleted"
    for _ in range(mains + len(init) + 1):
        decision = world.turn()
        assert not decision.start
    assert decision.finished
    assert not any(known.running for known in world.states.values())

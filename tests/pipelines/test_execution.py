"""What a run does, told by its spec alone: order, conditions, loops, failures, retries."""

import datetime as dt
from typing import Any

from tests.pipelines.simulation import Simulation, echo, succeed
from tests.pipelines.specs import dag, output_of, selected, spec, step, task

from kubeling.pipelines.nodes import ArtifactRef, Outputs, TaskNode
from kubeling.pipelines.sightings import PodSeen

ADD = {"step": step(x="NUMBER_INTEGER", outputs={"out": "NUMBER_INTEGER"})}


def test_tasks_run_after_those_they_need() -> None:
    tasks = {
        "c": task(inputs={"x": output_of("b")}),
        "b": task(inputs={"x": output_of("a")}),
        "a": task(inputs={"x": 1.0}),
    }
    done = Simulation(spec(tasks, ADD)).run(echo)
    assert done.launched == ["a", "b", "c"]
    assert done.nodes["c"].outputs.parameters == {"out": 1}
    assert done.state("") == "SUCCEEDED"


def test_independent_tasks_run_at_once() -> None:
    done = Simulation(spec({n: task(inputs={"x": 1}) for n in "abc"}, ADD)).run(echo)
    assert done.at_once == 3


def test_a_failure_skips_what_follows_and_fails_the_run() -> None:
    tasks = {
        "a": task(inputs={"x": 1}),
        "b": task("step", "a", inputs={"x": 1}),
        "c": task(inputs={"x": 1}),
    }
    done = Simulation(spec(tasks, ADD)).run(lambda n: "it broke" if n.name == "a" else {})
    assert done.states() == {"a": "FAILED", "b": "SKIPPED", "c": "SUCCEEDED"}
    assert done.nodes["b"].message == "upstream task a failed"
    root = done.nodes[""]
    assert root.state == "FAILED"
    assert root.error is not None
    assert root.error.message == "task a failed: it broke"


def test_a_false_condition_skips_a_branch_and_the_run_succeeds() -> None:
    condition = "inputs.parameter_values['x'] == 'heads'"
    tasks = {
        "if": task("branch", inputs={"x": "tails"}, triggerPolicy={"condition": condition}),
        "after": task("step", "if", inputs={"x": 1}),
    }
    components = {**ADD, "branch": dag({"t": task(inputs={"x": 1})}, x="STRING")}
    done = Simulation(spec(tasks, components)).run(succeed)
    assert done.states() == {"if": "SKIPPED", "after": "SKIPPED"}
    assert done.nodes["if"].message == f"condition is false: {condition}"
    assert done.state("") == "SUCCEEDED"


def test_one_of_takes_the_branch_that_ran() -> None:
    def branch(value: str) -> dict[str, str]:
        return {"condition": f"inputs.parameter_values['x'] == '{value}'"}

    inner = {
        name: task(
            "branch", inputs={"x": {"componentInputParameter": "x"}}, triggerPolicy=branch(name)
        )
        for name in ("heads", "tails")
    }
    one_of = {
        "valueFromOneof": {"parameterSelectors": [selected(n)["valueFromParameter"] for n in inner]}
    }
    components = {
        "echo": step("echo", x="STRING", outputs={"out": "STRING"}),
        "branch": dag(
            {"say": task("echo", inputs={"x": {"componentInputParameter": "x"}})},
            outputs={"out": selected("say")},
            declared={"out": "STRING"},
            x="STRING",
        ),
        "branches": dag(inner, outputs={"out": one_of}, declared={"out": "STRING"}, x="STRING"),
    }
    tasks = {"b": task("branches", inputs={"x": "tails"})}
    done = Simulation(spec(tasks, components)).run(echo)
    assert done.nodes["b"].outputs.parameters == {"out": "tails"}
    assert done.launched == ["b/tails/say"]

    none = Simulation(spec({"b": task("branches", inputs={"x": "edge"})}, components)).run(echo)
    assert none.state("b") == "FAILED"


def loop(items: str, limit: int = 0) -> dict[str, object]:
    return {
        "parameterIterator": {"itemInput": "x", "items": {"raw": items}},
        "iteratorPolicy": {"parallelismLimit": limit},
    }


BODY = dag(
    {"square": task(inputs={"x": {"componentInputParameter": "x"}})},
    outputs={"out": selected("square")},
    declared={"out": "LIST"},
    x="NUMBER_INTEGER",
)


def test_a_loop_collects_in_the_order_of_its_items() -> None:
    done = Simulation(spec({"l": task("body", **loop("[3, 1, 2]"))}, {**ADD, "body": BODY})).run(
        echo
    )
    assert done.nodes["l"].outputs.parameters == {"out": [3, 1, 2]}
    assert done.at_once == 3


def test_a_loop_keeps_to_its_parallelism() -> None:
    tasks = {"l": task("body", **loop("[1, 2, 3, 4, 5]", 2))}
    done = Simulation(spec(tasks, {**ADD, "body": BODY})).run(echo)
    assert done.at_once == 2
    assert len(done.launched) == 5


def test_inner_loops_are_flattened() -> None:
    inner = task("body", **loop("[1, 2]"))
    outer = dag(
        {"inner": inner}, outputs={"out": selected("inner")}, declared={"out": "LIST"}, x="LIST"
    )
    tasks = {"l": task("outer", **loop("[[0], [0]]"))}
    done = Simulation(spec(tasks, {**ADD, "body": BODY, "outer": outer})).run(echo)
    assert done.nodes["l"].outputs.parameters == {"out": [1, 2, 1, 2]}


def test_a_loop_over_nothing_succeeds() -> None:
    done = Simulation(spec({"l": task("body", **loop("[]"))}, {**ADD, "body": BODY})).run(echo)
    assert done.nodes["l"].outputs.parameters == {"out": []}
    assert done.state("") == "SUCCEEDED"


def test_a_loop_goes_over_artifacts() -> None:
    found = [ArtifactRef(n, f"a{n}", "system.Dataset", f"/store/{n}") for n in range(2)]
    body = dag({"square": task(inputs={"x": 1})})
    body["inputDefinitions"] = {
        "artifacts": {"all": {"isArtifactList": True}, "one": {"artifactType": {}}}
    }
    over = {"itemInput": "one", "items": {"inputArtifact": "all"}}
    loop_task = task("body", artifactIterator=over)
    source = {"taskOutputArtifact": {"producerTask": "make", "outputArtifactKey": "made"}}
    loop_task["inputs"] = {"artifacts": {"all": source}}
    pipeline = spec({"make": task(inputs={"x": 1}), "l": loop_task}, {**ADD, "body": body})
    simulation = Simulation(pipeline)
    simulation.advance()
    seen = PodSeen("make", 0, 0, "Succeeded", outputs=Outputs({"out": 1}, {"made": found}))
    simulation.advance(seen)
    simulation.run(echo)
    given = [simulation.nodes[f"l/{n}"].inputs.artifacts["one"] for n in range(2)]
    assert given == [[found[0]], [found[1]]]
    assert simulation.state("") == "SUCCEEDED"


def test_a_task_is_tried_again_after_its_pause() -> None:
    policy = {"maxRetryCount": 2, "backoffDuration": "10s", "backoffFactor": 2}
    simulation = Simulation(spec({"a": task(inputs={"x": 1}, retryPolicy=policy)}, ADD))
    begun = simulation.now
    done = simulation.run(lambda n: {"out": 1} if n.attempt == 2 else "not yet")
    assert done.launched == ["a", "a", "a"]
    assert done.now - begun == dt.timedelta(seconds=30)
    assert done.state("a") == "SUCCEEDED"
    assert done.nodes["a"].error is None


def test_an_exit_handler_runs_after_a_failure_and_is_told() -> None:
    status = {"taskFinalStatus": {"producerTask": "guarded"}}
    tasks = {
        "guarded": task("group"),
        "exit": task(
            "note",
            "guarded",
            inputs={"status": status},
            triggerPolicy={"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"},
        ),
    }
    components = {
        **ADD,
        "group": dag({"a": task(inputs={"x": 1})}),
        "note": step("note", status={"parameterType": "TASK_FINAL_STATUS", "isOptional": True}),
    }
    done = Simulation(spec(tasks, components)).run(lambda n: "boom" if n.name == "a" else {})
    told = done.nodes["exit"].inputs.parameters["status"]
    assert told["state"] == "FAILED"
    assert told["error"] == {"code": 13, "message": "task a failed: boom"}
    assert told["pipelineTaskName"] == "guarded"
    assert done.state("exit") == "SUCCEEDED"
    assert done.state("") == "FAILED"


def test_defaults_optional_inputs_and_missing_ones() -> None:
    wanted = {"parameterType": "STRING"}
    components = {
        "step": step(
            "s",
            outputs={"out": "STRING"},
            x=wanted,
            d={**wanted, "defaultValue": "fallback"},
            o={**wanted, "isOptional": True},
        )
    }
    done = Simulation(spec({"a": task(inputs={"x": 3.0})}, components)).run(echo)
    assert done.nodes["a"].inputs.parameters == {"x": "3", "d": "fallback", "o": None}
    missing = Simulation(spec({"a": task()}, components)).run(echo)
    error = missing.nodes["a"].error
    assert error is not None
    assert error.message == 'input parameter "x" is required and nothing gives it'


def test_an_unknown_parameter_of_the_run_is_refused() -> None:
    tasks = {"a": task(inputs={"x": 1})}
    done = Simulation(spec(tasks, ADD, inputDefinitions={"parameters": {}}), epochs=3).run(echo)
    error = done.nodes[""].error
    assert error is not None
    assert error.message == 'the pipeline has no parameter "epochs" (it has: none)'
    assert done.launched == []


def test_text_may_hold_other_parameters() -> None:
    reference = "{{$.inputs.parameters['pipelinechannel--a-out']}}"
    tasks = {
        "a": task(inputs={"x": "7"}),
        "b": task(inputs={"pipelinechannel--a-out": output_of("a"), "x": f"got {reference}!"}),
    }
    components = {"step": step(x="STRING", outputs={"out": "STRING"})}
    done = Simulation(spec(tasks, components)).run(echo)
    assert done.nodes["b"].outputs.parameters == {"out": "got 7!"}


def test_terminating_cancels_what_waits_and_stops_what_runs() -> None:
    tasks = {"a": task(inputs={"x": 1}), "b": task("step", "a", inputs={"x": 1})}
    simulation = Simulation(spec(tasks, ADD))
    launched = simulation.advance().launch
    launched[0].stage = "pod"
    simulation.execution.terminating = True
    actions = simulation.advance()
    assert [node.path for node in actions.stop] == ["a"]
    assert simulation.state("b") == "CANCELED"


def test_a_restarted_run_keeps_what_succeeded() -> None:
    tasks = {"a": task(inputs={"x": 1}), "b": task(inputs={"x": output_of("a")})}
    simulation = Simulation(spec(tasks, ADD)).run(lambda n: "no" if n.name == "b" else {"out": 5})
    simulation.retry()
    simulation.run(echo)
    assert simulation.launched == ["b"]
    assert simulation.state("") == "SUCCEEDED"


def test_an_execution_goes_on_from_its_stored_nodes() -> None:
    """Whatever the moment, a controller that starts over does what the first one would have."""
    tasks = {
        "l": task("body", **loop("[1, 2, 3]", 2)),
        "t": task("sum", inputs={"x": output_of("l")}),
    }
    components = {**ADD, "body": BODY, "sum": step("sum", x="LIST", outputs={"out": "LIST"})}
    pipeline = spec(tasks, components)
    reference = Simulation(pipeline).run(echo)
    simulation = Simulation(pipeline)
    actions = simulation.advance()
    while actions.launch:
        simulation.crash()
        actions = simulation.advance()
        seen = [simulation._end(node, echo) for node in actions.launch]
        actions = simulation.advance(*seen)
    assert simulation.states() == reference.states()
    assert simulation.nodes["t"].outputs == reference.nodes["t"].outputs


ALWAYS = {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}


def test_a_retry_does_again_what_followed_a_failure() -> None:
    """An exit task was told of the failure; after the retry it is told of the success."""
    status = {"taskFinalStatus": {"producerTask": "guarded"}}
    tasks = {
        "guarded": task("group"),
        "exit": task("note", "guarded", inputs={"status": status}, triggerPolicy=ALWAYS),
    }
    components = {
        **ADD,
        "group": dag({"a": task(inputs={"x": 1}), "b": task(inputs={"x": output_of("a")})}),
        "note": step("note", status={"parameterType": "TASK_FINAL_STATUS", "isOptional": True}),
    }
    simulation = Simulation(spec(tasks, components))
    simulation.run(lambda n: "boom" if n.name == "b" else {"out": 1})
    assert simulation.state("exit") == "SUCCEEDED"
    simulation.retry()
    simulation.run(echo)
    assert simulation.launched == ["guarded/b", "exit"]
    assert simulation.nodes["exit"].inputs.parameters["status"]["state"] == "COMPLETE"
    assert simulation.state("") == "SUCCEEDED"


def test_a_retried_loop_keeps_to_its_parallelism() -> None:
    tasks = {"l": task("body", **loop("[1, 2, 3, 4]", 2))}
    simulation = Simulation(spec(tasks, {**ADD, "body": BODY}))
    simulation.run(lambda n: "no" if n.inputs.parameters["x"] != 2 else {"out": 2})
    simulation.retry()
    simulation.at_once = 0
    simulation.run(echo)
    assert simulation.at_once == 2
    assert simulation.launched == ["l/0/square", "l/2/square", "l/3/square"]
    assert simulation.nodes["l"].outputs.parameters == {"out": [1, 2, 3, 4]}


def test_a_nested_pipeline_is_tried_again_from_what_failed() -> None:
    inner = {"a": task(inputs={"x": 1}), "b": task(inputs={"x": output_of("a")})}
    policy = {"maxRetryCount": 2, "backoffDuration": "1s"}
    tasks = {"nested": task("pipeline", retryPolicy=policy)}
    simulation = Simulation(spec(tasks, {**ADD, "pipeline": dag(inner)}))
    simulation.run(lambda n: "no" if n.name == "b" and n.attempt < 2 else {"out": 1})
    assert simulation.launched == ["nested/a", "nested/b", "nested/b", "nested/b"]
    assert simulation.state("") == "SUCCEEDED"
    tried = Simulation(spec(tasks, {**ADD, "pipeline": dag(inner)})).run(lambda _: "no")
    assert tried.launched == ["nested/a"] * 3
    assert tried.state("nested") == "FAILED"


def test_a_run_ends_at_its_deadline_and_cleans_up() -> None:
    tasks = {
        "a": task(inputs={"x": 1}),
        "b": task("step", "a", inputs={"x": 1}),
        "exit": task("clean", "a", triggerPolicy=ALWAYS),
    }
    inner = {"first": task(inputs={"x": 1}), "then": task("step", "first", inputs={"x": 1})}
    simulation = Simulation(spec(tasks, {**ADD, "clean": dag(inner)}), deadline_seconds=60)
    actions = simulation.advance()
    assert actions.wake_at == simulation.now + dt.timedelta(seconds=60)
    actions.launch[0].stage = "pod"
    simulation.now = actions.wake_at
    assert [node.path for node in simulation.advance().stop] == ["a"]
    simulation.advance(PodSeen("a", 0, 0, "Failed"))
    simulation.run(succeed)
    assert simulation.launched == ["exit/first", "exit/then"], "an exit task may be a pipeline"
    assert simulation.states().items() >= {"a": "CANCELED", "b": "CANCELED"}.items()
    assert simulation.execution.overdue


def test_caching_is_off_where_the_task_or_a_group_around_it_says_so() -> None:
    on, off = {"cachingOptions": {"enableCache": True}}, {"cachingOptions": {}}
    asked = {"inner": task(inputs={"x": 1}, **on)}
    tasks = {
        "asks": task(inputs={"x": 1}, **on),
        "does-not": task(inputs={"x": 1}, **off),
        "in-a-branch": task("group"),
        "in-a-pipeline": task("group", **on),
        "in-one-without": task("group", **off),
    }
    simulation = Simulation(spec(tasks, {**ADD, "group": dag(asked)}))
    simulation.advance()
    reasons = {path: node.cache for path, node in simulation.nodes.items() if node.kind != "dag"}
    assert reasons == {
        "asks": "nothing cached",
        "does-not": "not cached: caching is off for this task",
        "in-a-branch/inner": "nothing cached",
        "in-a-pipeline/inner": "nothing cached",
        "in-one-without/inner": "not cached: caching is off for in-one-without",
    }


def test_a_long_chain_is_no_deep_recursion() -> None:
    tasks = {"t0": task(inputs={"x": 0})}
    tasks |= {f"t{n}": task("step", f"t{n - 1}", inputs={"x": n}) for n in range(1, 3000)}
    done = Simulation(spec(tasks, ADD)).run(echo, rounds=3001)
    assert done.state("") == "SUCCEEDED"
    assert done.execution.frontier.leaves_ended == 3000


def test_a_list_is_not_repeated_in_each_iteration_of_its_loop() -> None:
    iterator = {"itemInput": "x", "items": {"inputParameter": "all"}}
    body = dag(
        {"square": task(inputs={"x": {"componentInputParameter": "x"}})},
        x="NUMBER_INTEGER",
        all="LIST",
    )
    tasks = {"l": task("body", inputs={"all": [1, 2]}, parameterIterator=iterator)}
    done = Simulation(spec(tasks, {**ADD, "body": body})).run(echo)
    assert done.nodes["l/1"].inputs.parameters == {"x": 2}
    assert done.nodes["l"].inputs.parameters == {"all": [1, 2]}


def test_any_moment_is_a_good_one_to_crash() -> None:
    tasks = {
        "l": task("body", **loop("[1, 2, 3]", 2)),
        "n": task("pipeline", "l", retryPolicy={"maxRetryCount": 1}),
        "exit": task("step", "n", inputs={"x": 1}, triggerPolicy=ALWAYS),
    }
    inner = {"a": task(inputs={"x": 1}), "b": task(inputs={"x": output_of("a")})}
    pipeline = spec(tasks, {**ADD, "body": BODY, "pipeline": dag(inner)})

    def fail_once(node: TaskNode) -> dict[str, Any] | str:
        return "no" if node.name == "b" and not node.attempt else echo(node)

    reference = Simulation(pipeline).run(fail_once)
    for moment in range(6):
        simulation = Simulation(pipeline)
        actions = simulation.advance()
        for _ in range(moment):
            simulation.now = actions.wake_at or simulation.now
            seen = [simulation._end(node, fail_once) for node in actions.launch]
            actions = simulation.advance(*seen)
        simulation.crash()
        simulation.run(fail_once)
        assert simulation.states() == reference.states()
        assert sorted(simulation.launched) == sorted(reference.launched)

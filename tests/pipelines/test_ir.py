"""Rows of the intermediate representation that have no test of their own elsewhere."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import re
from typing import Any

import pytest
import sqlalchemy as sa
from tests.pipelines.simulation import Simulation, echo, succeed
from tests.pipelines.specs import dag, document, output_of, spec, step, task
from tests.pipelines.test_controller import controllers, ended, finish, pod_of, submit

from kubeling.component import Context
from kubeling.kube.objects import Obj, parse_time
from kubeling.pipelines.ir_reading import parse_spec
from kubeling.pipelines.nodes import ArtifactRef
from kubeling.pipelines.resources import RUNS
from kubeling.pipelines.tables import RUNS as TABLE

ADD = {"step": step(x="NUMBER_INTEGER", outputs={"out": "NUMBER_INTEGER"})}


def failure(simulation: Simulation, path: str = "a") -> str:
    error = simulation.nodes[path].error
    assert error is not None
    return error.message


def test_a_value_must_be_among_the_literals() -> None:
    declared = {"parameterType": "STRING", "literals": ["a", "b"]}
    components = {"step": step(x=declared, outputs={"out": "STRING"})}
    good = Simulation(spec({"a": task(inputs={"x": "b"})}, components)).run(echo)
    assert good.state("") == "SUCCEEDED"
    bad = Simulation(spec({"a": task(inputs={"x": "c"})}, components)).run(echo)
    assert failure(bad) == 'input parameter "x": c is not one of a, b'


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ({"runtimeValue": {"constantValue": {"intValue": "7"}}}, 7),
        ({"runtimeValue": {"constantValue": {"doubleValue": 2.5}}}, 2.5),
        ({"runtimeValue": {"constantValue": {"stringValue": "s"}}}, "s"),
        ({"runtimeValue": {"runtimeParameter": "given"}}, "from the run"),
    ],
)
def test_constants_of_older_compilers_and_parameters_of_the_run(source: Obj, value: Any) -> None:
    components = {"step": step(x="PARAMETER_TYPE_ENUM_UNSPECIFIED", outputs={"out": "STRING"})}
    inputs = {"parameters": {"given": {"parameterType": "STRING"}}}
    tasks = {"a": task(inputs={"x": source})}
    simulation = Simulation(
        spec(tasks, components, inputDefinitions=inputs), given="from the run"
    ).run(succeed)
    assert simulation.nodes["a"].inputs.parameters["x"] == value


def test_executors_that_cannot_be_run_are_refused() -> None:
    for kind in ("resolver", "customJob"):
        made = document({"a": task()}, {"step": step()})
        made["deploymentSpec"]["executors"]["step"] = {kind: {"x": {}}}
        with pytest.raises(ValueError, match=r"executors\.step: Unsupported value: only container"):
            parse_spec(made)


def test_what_runs_before_the_cache_is_asked_is_ignored() -> None:
    made = document({"a": task()}, {"step": step()})
    container = made["deploymentSpec"]["executors"]["step"]["container"]
    container["lifecycle"] = {"preCacheCheck": {"command": ["false"]}}
    assert parse_spec(made).deployment_spec.executors["step"].container is not None


def importer(uri: str = "/data/x", **fields: Any) -> Obj:
    kind = {"schemaTitle": "system.Dataset"}
    return {
        "executorLabel": "import",
        "executor": {"importer": {"artifactUri": {"constant": uri}, "typeSchema": kind, **fields}},
        "inputDefinitions": {"parameters": {"x": {"parameterType": "STRING"}}},
        "outputDefinitions": {"artifacts": {"made": {"artifactType": kind}}},
    }


def test_an_importer_has_a_condition_of_its_own() -> None:
    condition = {"condition": "inputs.parameter_values['x'] == 'yes'"}
    tasks = {
        name: task("import", inputs={"x": name}, triggerPolicy=condition) for name in ("yes", "no")
    }
    done = Simulation(spec(tasks, {"import": importer()})).run(succeed)
    assert done.states() == {"yes": "SUCCEEDED", "no": "SKIPPED"}


def test_an_imported_artifact_is_the_same_in_every_run_unless_it_is_to_be_another() -> None:
    def imported(**fields: Any) -> ArtifactRef:
        tasks = {"a": task("import", inputs={"x": "v"})}
        done = Simulation(spec(tasks, {"import": importer(**fields)})).run(succeed)
        return done.nodes["a"].outputs.artifacts["made"][0]

    metadata = {"k": "{{$.inputs.parameters['x']}}", "n": 1.0}
    assert imported(metadata=metadata).metadata == {"k": "v", "n": 1}
    assert imported() == imported()
    assert imported().id != imported(reimport=True).id
    assert imported(uri="file:///data/x").uri == "/data/x"


def test_one_of_several_artifacts_is_that_of_the_branch_that_ran() -> None:
    def branch(name: str) -> Obj:
        condition = {"condition": f"inputs.parameter_values['x'] == '{name}'"}
        given = {"x": {"componentInputParameter": "x"}}
        return task("import", inputs=given, triggerPolicy=condition)

    selectors = [{"producerSubtask": n, "outputArtifactKey": "made"} for n in ("one", "two")]
    inner = dag({"one": branch("one"), "two": branch("two")}, x="STRING")
    inner["dag"]["outputs"]["artifacts"] = {"made": {"artifactSelectors": selectors}}
    inner["outputDefinitions"] = {"artifacts": {"made": {}}}
    tasks = {"a": task("either", inputs={"x": "two"})}
    done = Simulation(spec(tasks, {"import": importer(), "either": inner})).run(succeed)
    assert [a.uri for a in done.nodes["a"].outputs.artifacts["made"]] == ["/data/x"]
    none = Simulation(
        spec({"a": task("either", inputs={"x": "3"})}, {"import": importer(), "either": inner})
    ).run(succeed)
    assert failure(none) == 'output "made": none of its branches ran (one, two)'


def test_a_null_passes_through_a_nested_pipeline_to_an_optional_input() -> None:
    optional = {"parameterType": "STRING", "isOptional": True}
    given = {"x": {"componentInputParameter": "x"}}
    components = {
        "step": step(x=optional, outputs={"out": "STRING"}),
        "nested": dag({"inner": task(inputs=given)}, x=optional),
    }
    done = Simulation(spec({"a": task("nested")}, components)).run(succeed)
    assert done.nodes["a/inner"].inputs.parameters == {"x": None}


async def test_images_resources_and_accelerators_may_come_from_parameters(
    context: Context,
) -> None:
    made = step(image="STRING", cpu="STRING")
    made["executor"]["container"] = {
        "image": "{{$.inputs.parameters['image']}}",
        "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)"}],
        "resources": {
            "resourceCpuLimit": "{{$.inputs.parameters['cpu']}}",
            "resourceMemoryRequest": "64Mi",
            "cpuRequest": 0.5,
            "accelerator": {"resourceType": "nvidia.com/gpu", "resourceCount": "2"},
        },
    }
    pipeline = document({"a": task(inputs={"image": "busybox", "cpu": "1"})}, {"step": made})
    async with controllers(context):
        await submit(context, pipeline)
        pod = await pod_of(context, "a")
    container = pod["spec"]["containers"][0]
    assert container["image"] == "busybox"
    assert container["env"] == [{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)"}]
    assert container["resources"]["limits"] == {"cpu": "1", "nvidia.com/gpu": "2"}
    assert container["resources"]["requests"]["memory"] == "64Mi"
    assert container["resources"]["requests"]["cpu"] == "500m"


async def test_job_placeholders(context: Context) -> None:
    made = step()
    names = ("pipeline_job_name", "pipeline_task_name", "pipeline_job_uuid", "pipeline_root")
    placeholders = [f"{{{{$.{name}}}}}" for name in names]
    made["executor"]["container"]["args"] = [*placeholders, "{{$.workspace_path}}/x"]
    async with controllers(context):
        run = await submit(context, document({"a": task()}, {"step": made}), displayName="mine")
        pod = await pod_of(context, "a")
    args = pod["spec"]["containers"][0]["args"]
    run_id = run["metadata"]["uid"]
    folder = str(context.artifacts.folder / "pipelines" / "default" / "p" / run_id)
    assert args == ["mine", "a", run_id, folder, "/kfp-workspace/x"]


async def test_models_that_are_images_are_mounted(context: Context) -> None:
    reads = step("read")
    reads["executor"]["container"]["args"] = ["{{$.inputs.artifacts['made'].path}}"]
    reads["inputDefinitions"] = {"artifacts": {"made": {}}}
    source = {"taskOutputArtifact": {"producerTask": "i", "outputArtifactKey": "made"}}
    tasks = {
        "i": task("import", inputs={"x": ""}),
        "read": {**task("read"), "inputs": {"artifacts": {"made": source}}},
    }
    components = {"import": importer("oci://registry/models/m:1"), "read": reads}
    async with controllers(context):
        await submit(context, document(tasks, components))
        pod = await pod_of(context, "read")
    [volume] = [v for v in pod["spec"]["volumes"] if "image" in v]
    assert volume["image"]["reference"] == "registry/models/m:1"
    mounts = {m["name"]: m["mountPath"] for m in pod["spec"]["containers"][0]["volumeMounts"]}
    assert mounts[volume["name"]] == "/oci/registry_models_m:1"
    assert pod["spec"]["containers"][0]["args"] == ["/oci/registry_models_m:1/models"]


async def test_a_run_is_kept_as_long_as_its_pipeline_says(context: Context) -> None:
    config = {"resourceTtlOnCompletion": 3600, "resourceTtlOnSuccess": 1}
    platform = {"platforms": {"kubernetes": {"pipelineConfig": config}}}
    async with controllers(context):
        await submit(context, document({"a": task()}, {"step": step()}), platformSpec=platform)
        await finish(context, await pod_of(context, "a"), "Succeeded", 0)
        status = (await ended(context, state="SUCCEEDED"))["status"]
        kept = parse_time(status["expiresAt"]) - parse_time(status["finishedAt"])
        assert kept == dt.timedelta(seconds=1)
        await gone(context)
    database = await context.open_database()
    rows = await database.run(lambda c: c.execute(sa.select(TABLE.c.state)).scalars().all())
    assert rows == ["SUCCEEDED"], "what is known of it stays"


async def gone(context: Context) -> None:
    """Returns when a Run has been deleted."""
    deleted: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def look(_: Obj | None, new: Obj | None) -> None:
        if new is None and not deleted.done():
            deleted.set_result(None)

    context.informers.of(RUNS).add_handler(look)
    async with asyncio.timeout(60):
        await deleted


def test_outputs_are_bound_through_nested_pipelines_to_who_made_them() -> None:
    inner = dag(
        {"deep": task(inputs={"x": {"componentInputParameter": "x"}})},
        outputs={
            "out": {"valueFromParameter": {"producerSubtask": "deep", "outputParameterKey": "out"}}
        },
        declared={"out": "NUMBER_INTEGER"},
        x="NUMBER_INTEGER",
    )
    tasks = {
        "a": task("nested", inputs={"x": 5.0}),
        "b": task(inputs={"x": output_of("a")}),
    }
    done = Simulation(spec(tasks, {**ADD, "nested": inner})).run(echo)
    assert done.nodes["b"].outputs.parameters == {"out": 5}


async def test_a_parameter_of_a_megabyte_reaches_a_python_component(context: Context) -> None:
    large = "x" * (1 << 20)
    made = step(x="STRING")
    program = 'python3 -m kfp.dsl.executor_main --component_module_path "$0" "$@"'
    made["executor"]["container"] = {
        "image": "python:3.11",
        "command": ["sh", "-ec", program],
        "args": ["--executor_input", "{{$}}", "--function_to_execute", "f"],
    }
    tasks = {"a": task(inputs={"x": large})}
    async with controllers(context):
        await submit(context, document(tasks, {"step": made}))
        pod = await pod_of(context, "a")
    container = pod["spec"]["containers"][0]
    assert "args" not in container
    assert len(json.dumps(pod)) < 10_000
    file = re.findall(r"'(/[^']+/\.arguments\.json)'", container["command"][2])[0]
    told = json.loads(context.artifacts.read(file))
    assert json.loads(told[1])["inputs"]["parameterValues"]["x"] == large
    assert told[2:] == ["--function_to_execute", "f"]


async def test_other_programs_are_told_to_take_large_values_as_artifacts(context: Context) -> None:
    made = step(x="STRING")
    made["executor"]["container"]["args"] = ["{{$.inputs.parameters['x']}}"]
    async with controllers(context):
        await submit(context, document({"a": task(inputs={"x": "x" * 200_000})}, {"step": made}))
        run = await ended(context, state="FAILED")
    assert "an argument has 200000 bytes, and Linux takes 131071" in run["status"]["message"]

"""What a user of the kfp SDK does, one command each; prints its findings as JSON.

Runs in the SDK's environment, which has neither pytest nor the platform.
"""

import json
import sys
import time
import warnings
from pathlib import Path

warnings.simplefilter("ignore")

import kfp_server_api  # noqa: E402
from kfp import Client, compiler, dsl  # noqa: E402


@dsl.container_component
def shell(script: str, argument: str):
    return dsl.ContainerSpec(image="busybox", command=["sh", "-c"], args=[script, argument])


@dsl.pipeline(name="slow")
def slow(folder: str):
    first = shell(script='echo ran; echo x >> "$0/ran-first"', argument=folder).set_display_name(
        "first"
    )
    second = shell(script='sleep 3; echo x >> "$0/ran-second"', argument=folder)
    second.after(first)
    second.set_display_name("second")


@dsl.pipeline(name="endless")
def endless(folder: str):
    shell(script='test -e "$0/go-on" || exec sleep 300', argument=folder)


@dsl.pipeline(name="quick")
def quick(text: str = "x"):
    shell(script="echo $0", argument=text)


def run(client: Client, package: str, arguments: str) -> dict:
    created = client.create_run_from_pipeline_package(package, arguments=json.loads(arguments))
    return wait(client, created.run_id)


def wait(client: Client, run_id: str) -> dict:
    ended = client.wait_for_run_completion(run_id, timeout=100, sleep_duration=1)
    details = ended.run_details.task_details if ended.run_details else []
    return {
        "run_id": run_id,
        "state": ended.state,
        "error": ended.error.message if ended.error else "",
        "tasks": [
            {"name": t.display_name, "state": t.state, "error": t.error.message if t.error else ""}
            for t in details
        ],
    }


def lifecycle(client: Client, package: str) -> dict:
    name = "control-flow-lifecycle"
    pipeline = client.upload_pipeline(package, pipeline_name=name, description="tested")
    version = client.upload_pipeline_version(
        package, pipeline_version_name="second", pipeline_id=pipeline.pipeline_id
    )
    versions = client.list_pipeline_versions(pipeline.pipeline_id, sort_by="created_at asc")
    experiment = client.create_experiment("lifecycle", description="tested")
    created = client.run_pipeline(
        experiment.experiment_id,
        "from a version",
        pipeline_id=pipeline.pipeline_id,
        version_id=version.pipeline_version_id,
        params={"marker": "/tmp/none"},
    )
    runs = client.list_runs(experiment_id=experiment.experiment_id)
    client.terminate_run(created.run_id)
    wait(client, created.run_id)
    client.archive_run(created.run_id)
    archived = client.get_run(created.run_id).storage_state
    client.unarchive_run(created.run_id)
    client.delete_run(created.run_id)
    return {
        "pipeline_id": pipeline.pipeline_id,
        "found": client.get_pipeline_id(name),
        "versions": [v.display_name for v in versions.pipeline_versions],
        "runs_in_experiment": runs.total_size,
        "archived": archived,
        "duplicate": _refused(lambda: client.upload_pipeline(package, pipeline_name=name)),
        "unknown": _refused(lambda: client.get_run(created.run_id)),
    }


def terminate(client: Client, folder: str) -> dict:
    run_id = _submit(client, endless, {"folder": folder})
    while client.get_run(run_id).state not in ("RUNNING",):
        time.sleep(0.2)
    begun = time.monotonic()
    client.terminate_run(run_id)
    ended = wait(client, run_id)
    seconds = time.monotonic() - begun
    Path(folder, "go-on").touch()
    client._run_api.run_service_retry_run(run_id)
    return {**ended, "seconds": seconds, "retried": wait(client, run_id)["state"]}


def recurring(client: Client) -> dict:
    experiment = client.create_experiment("recurring")
    compiler.Compiler().compile(quick, "quick.yaml")
    job = client.create_recurring_run(
        experiment.experiment_id,
        "every second",
        pipeline_package_path="quick.yaml",
        params={"text": "[[Index]]"},
        interval_second=1,
        max_concurrency=1,
    )
    deadline = time.monotonic() + 30
    fired = 0
    while not fired and time.monotonic() < deadline:
        time.sleep(0.5)
        fired = client.list_runs(experiment_id=experiment.experiment_id).total_size or 0
    states = [client.get_recurring_run(job.recurring_run_id).status]
    client.disable_recurring_run(job.recurring_run_id)
    states.append(client.get_recurring_run(job.recurring_run_id).status)
    listed = client.list_recurring_runs(experiment_id=experiment.experiment_id)
    client.delete_recurring_run(job.recurring_run_id)
    return {"fired": fired, "status": states, "listed": listed.total_size}


def submit_slow(client: Client, folder: str) -> str:
    return _submit(client, slow, {"folder": folder})


def _submit(client: Client, pipeline: object, arguments: dict) -> str:
    created = client.create_run_from_pipeline_func(
        pipeline, arguments=arguments, enable_caching=False
    )
    return created.run_id


def _refused(call: object) -> int:
    try:
        call()
    except kfp_server_api.ApiException as error:
        return error.status
    return 0


if __name__ == "__main__":
    import os
    import tempfile

    os.chdir(tempfile.mkdtemp())
    command, *arguments = sys.argv[1:]
    arguments = [str(Path(a).absolute()) if a.endswith(".yaml") else a for a in arguments]
    print(json.dumps(globals()[command](Client(), *arguments)))

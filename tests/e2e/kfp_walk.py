"""Every command of the kfp CLI and every method of its client, as somebody new to it tries them.

Runs in the SDK's environment; prints as JSON what each step gave. All commands run in this process,
because each start of the SDK takes seconds.
"""

import contextlib
import io
import json
import os
import sys
import warnings
from pathlib import Path

warnings.simplefilter("ignore")

import kfp  # noqa: E402
from click.testing import CliRunner  # noqa: E402
from kfp import dsl  # noqa: E402
from kfp.cli.cli import cli  # noqa: E402

SOURCE = """
from kfp import dsl

@dsl.container_component
def say(text: str):
    return dsl.ContainerSpec(image="busybox", command=["echo"], args=[text])

@dsl.pipeline(name="walk")
def walk(text: str = "hello"):
    say(text=text)
"""


@dsl.container_component
def say(text: str):
    return dsl.ContainerSpec(image="busybox", command=["echo"], args=[text])


@dsl.pipeline(name="by-function")
def by_function(text: str = "hello"):
    say(text=text)


def command(*arguments: str, fails: bool = False) -> object:
    """What a command printed as JSON, or its text."""
    runner = CliRunner()
    done = runner.invoke(cli, ["--output", "json", *arguments], input="y\n", obj={})
    said = done.output
    if (done.exit_code != 0) != fails:
        raise SystemExit(
            f"kfp {' '.join(arguments)} ended with {done.exit_code}: {said}\n{done.exception!r}"
        )
    start = min((at for c in "[{" if (at := said.find(c)) >= 0), default=-1)
    with contextlib.suppress(ValueError):
        return json.JSONDecoder().raw_decode(said[start:])[0] if start >= 0 else said
    return said


def commands(folder: Path) -> dict:
    """Every command but ``component build`` and ``diagnose-me``, which ask Docker and gcloud."""
    seen = {}
    (folder / "walk.py").write_text(SOURCE)
    package = str(folder / "walk.yaml")
    command("dsl", "compile", "--py", str(folder / "walk.py"), "--output", package)
    made = command("experiment", "create", "walk", "-d", "first steps")
    experiment = made["experiment_id"]
    seen["experiments"] = [e["display_name"] for e in command("experiment", "list")]
    seen["experiment"] = command("experiment", "get", experiment)["description"]
    pipeline = command("pipeline", "create", "-p", "walk", "-d", "p", package)["pipeline_id"]
    version = command("pipeline", "create-version", "-p", pipeline, "-v", "second", package)
    version = version["pipeline_version_id"]
    named = command("pipeline", "create-version", "-n", "walk", "-v", "third", package)
    command("pipeline", "delete-version", pipeline, named["pipeline_version_id"])
    seen["pipelines"] = [p["display_name"] for p in command("pipeline", "list", "-m", "5")]
    seen["pipeline"] = command("pipeline", "get", pipeline)["display_name"]
    listed = command("pipeline", "list-versions", pipeline, "--sort-by", "name")
    seen["versions"] = [v["display_name"] for v in listed]
    seen["version"] = command("pipeline", "get-version", pipeline, version)["display_name"]
    create = ["run", "create", "-e", "walk", "-r", "by-version", "-p", pipeline, "-v", version]
    run = command(*create, "text=hi")["run_id"]
    watched = command("run", "create", "-e", "walk", "-r", "by-file", "-f", package, "-w")
    seen["watched"] = "by-file" in json.dumps(watched) or "SUCCEEDED" in str(watched)
    by_name = ["run", "create", "-e", "walk", "-r", "by-name", "-n", "walk", "-v", version, "-w"]
    command(*by_name)
    seen["runs"] = sorted(r["display_name"] for r in command("run", "list", "-e", experiment))
    detail = command("run", "get", "-d", run)
    seen["detail"] = detail["display_name"] if isinstance(detail, dict) else str(detail)
    command("run", "get", "-w", run)
    command("run", "archive", run)
    command("run", "unarchive", run)
    command("run", "delete", run)
    command("run", "get", run, fails=True)
    job = ["recurring-run", "create", "--experiment-name", "walk", "--job-name", "nightly"]
    cron = ["--cron-expression", "0 0 0 * * *", "--pipeline-id", pipeline, "--version-id", version]
    made = command(*job, *cron, "text=night")["recurring_run_id"]
    interval = ["--interval-second", "86400", "--pipeline-package-path", package, "--catchup"]
    other = command(*job[:-1], "daily", *interval)["recurring_run_id"]
    listed = command("recurring-run", "list", "-e", experiment)
    seen["jobs"] = sorted(j["display_name"] for j in listed)
    command("recurring-run", "disable", made)
    seen["disabled"] = command("recurring-run", "get", made)["status"]
    command("recurring-run", "enable", made)
    seen["enabled"] = command("recurring-run", "get", made)["status"]
    for one in (made, other):
        command("recurring-run", "delete", one)
    command("experiment", "archive", "--experiment-name", "walk")
    seen["archived"] = command("experiment", "get", experiment)["storage_state"]
    command("experiment", "unarchive", "--experiment-id", experiment)
    command("experiment", "delete", experiment)
    command("pipeline", "delete", pipeline, fails=True)  # as upstream: it has versions
    for left in command("pipeline", "list-versions", pipeline):
        command("pipeline", "delete-version", pipeline, left["pipeline_version_id"])
    command("pipeline", "delete", pipeline)
    seen["left"] = command("pipeline", "list")
    return seen


def methods(folder: Path) -> dict:
    """Every public method of the client."""
    client = kfp.Client()
    client.set_user_namespace("")
    package = str(folder / "walk.yaml")
    seen = {
        "multi_user": client.get_kfp_healthz().multi_user,
        "namespace": client.get_user_namespace(),
    }
    experiment = client.create_experiment("methods", description="d").experiment_id
    assert client.create_experiment("methods").experiment_id == experiment
    assert client.get_experiment(experiment_name="methods").experiment_id == experiment
    pipeline = client.upload_pipeline(package, "methods", description="d").pipeline_id
    second = client.upload_pipeline_version(package, "v2", pipeline_id=pipeline)
    third = client.upload_pipeline_version_from_pipeline_func(
        by_function, "v3", pipeline_name="methods"
    )
    func = client.upload_pipeline_from_pipeline_func(by_function, "function").pipeline_id
    assert client.get_pipeline_id("methods") == pipeline
    assert client.get_pipeline_id("nobody") is None
    assert client.get_pipeline(pipeline).description == "d"
    version = client.get_pipeline_version(pipeline, second.pipeline_version_id)
    seen["version"] = version.display_name
    seen["versions"] = client.list_pipeline_versions(pipeline).total_size
    wanted = {"operation": "IS_SUBSTRING", "key": "display_name", "stringValue": "METH"}
    found = client.list_pipelines(filter=json.dumps({"predicates": [wanted]}))
    seen["found"] = [p.display_name for p in found.pipelines]
    runs = [
        client.run_pipeline(experiment, "one", package, params={"text": "x"}),
        client.run_pipeline(
            experiment,
            "two",
            pipeline_id=pipeline,
            version_id=second.pipeline_version_id,
            enable_caching=False,
        ),
        client.create_run_from_pipeline_func(
            by_function, experiment_name="methods", run_name="three"
        ),
        client.create_run_from_pipeline_package(package, experiment_id=experiment, run_name="four"),
    ]
    for run in runs:
        ended = client.wait_for_run_completion(run.run_id, timeout=90, sleep_duration=1)
        assert ended.state == "SUCCEEDED", ended
    seen["runs"] = sorted(
        r.display_name for r in client.list_runs(experiment_id=experiment, page_size=10).runs
    )
    first = runs[0].run_id
    client.archive_run(first)
    assert client.get_run(first).storage_state == "ARCHIVED"
    client.unarchive_run(first)
    client.terminate_run(first)
    client.delete_run(first)
    job = client.create_recurring_run(
        experiment, "job", cron_expression="0 0 0 * * *", pipeline_id=pipeline, max_concurrency=3,
        version_id=third.pipeline_version_id, no_catchup=True, description="d", enabled=False,
    )  # fmt: skip
    kept = client.get_recurring_run(job.recurring_run_id)
    seen["job"] = [kept.status, kept.max_concurrency, kept.no_catchup, kept.description]
    client.enable_recurring_run(job.recurring_run_id)
    client.disable_recurring_run(job.recurring_run_id)
    seen["jobs"] = client.list_recurring_runs(experiment_id=experiment).total_size
    client.delete_recurring_run(job.recurring_run_id)
    client.archive_experiment(experiment)
    client.unarchive_experiment(experiment)
    seen["experiments"] = sorted(e.display_name for e in client.list_experiments().experiments)
    client.delete_experiment(experiment)
    client.delete_pipeline_version(pipeline, second.pipeline_version_id)
    for own in (pipeline, func):
        for entry in client.list_pipeline_versions(own).pipeline_versions or ():
            client.delete_pipeline_version(own, entry.pipeline_version_id)
        client.delete_pipeline(own)
    return seen


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    os.environ["HOME"] = str(folder)  # the client keeps a context there
    with contextlib.redirect_stdout(io.StringIO()):
        found = {"commands": commands(folder), "methods": methods(folder)}
    print(json.dumps(found))

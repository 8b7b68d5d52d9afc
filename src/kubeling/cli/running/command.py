"""``kubeling run``: a pipeline, a Workflow or a file of stages, submitted and watched."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from kubeling.cli.connection import Connection, connected, resource_options
from kubeling.cli.errors import CliError
from kubeling.cli.instance import Endpoints, Instance

if TYPE_CHECKING:
    from kubeling.cli.running.documents import Documents
    from kubeling.cli.running.submission import Pipelines, Reading, Submission
    from kubeling.kube.objects import Obj

__all__ = ["run_file"]

_INTERRUPTED: Final = 130


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says about a run."""

    file: Path
    parameters: Mapping[str, str]
    name: str
    experiment: str
    no_cache: bool
    python: str
    pipeline: str
    pipeline_root: str


@click.command("run")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-p", "--parameter", "words", multiple=True, metavar="NAME=VALUE", help="An input.")
@click.option("--name", default="", help="The run's name.")
@click.option("--experiment", default="", help="The run's experiment; made if it is not there.")
@click.option("--no-cache", is_flag=True, help="Run every step again.")
@click.option("--follow/--detach", default=True, help="Watch it to its end, or return at once.")
@click.option("--logs", is_flag=True, help="Print what the steps write.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, nothing else.")
@click.option("--python", default="", help="The Python that has kfp, for pipelines in Python.")
@click.option("--pipeline", default="", help="Which pipeline, if a file defines several.")
@click.option("--pipeline-root", default="", help="Where the run's artifacts are kept.")
@resource_options
def run_file(
    file: Path,
    words: tuple[str, ...],
    name: str,
    experiment: str,
    no_cache: bool,
    follow: bool,
    logs: bool,
    as_json: bool,
    python: str,
    pipeline: str,
    pipeline_root: str,
    namespace: str,
    kubeconfig: Path | None,
    data_dir: Path,
) -> int:
    """Run a pipeline (.py or compiled), a Workflow, or a file of stages.

    The exit code is 0 if the run succeeds and 1 if it fails. Ctrl-C asks whether to stop the run or
    to leave it running. Without a running platform, one is started for the present folder.
    """
    from kubeling.cli.running.documents import pairs, read_documents

    options = Options(
        file, pairs(words), name, experiment, no_cache, python, pipeline, pipeline_root
    )
    if file.suffix == ".py":
        from kubeling.cli.running.compiling import compile_pipeline

        text = compile_pipeline(file, python, pipeline)
    else:
        text = _text(file)
    documents = read_documents(text, str(file))
    if documents.pipeline is None and documents.workflow is None and documents.stages is None:
        raise documents.unknown(str(file))
    endpoints = _platform(kubeconfig, data_dir)
    work = _run(
        options, documents, endpoints, (data_dir, kubeconfig, namespace), follow, logs, as_json
    )
    return asyncio.run(work)


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except UnicodeDecodeError:
        raise CliError(f"{file}: not a text file", "Unpack an archive first.") from None


def _platform(kubeconfig: Path | None, data_dir: Path) -> Endpoints | None:
    from kubeling.cli.running.starting import running_platform

    return running_platform(Instance(data_dir)) if kubeconfig is None else None


async def _run(
    options: Options,
    documents: Documents,
    endpoints: Endpoints | None,
    where: tuple[Path, Path | None, str],
    follow: bool,
    logs: bool,
    as_json: bool,
) -> int:
    from kubeling.cli.running.following import follow as watch
    from kubeling.cli.running.following import tell_failures
    from kubeling.cli.running.view import View

    async with connected(*where) as connection, _pipelines(endpoints) as pipelines:
        submission = await _submit(options, documents, endpoints, connection, pipelines)
        view = View(submission.title, quiet=as_json)
        view.say(f"{submission.title} started")
        if submission.page:
            view.say(submission.page, "dim")
        if not follow:
            if as_json:
                click.echo(json.dumps({"id": submission.id, "page": submission.page}))
            return 0
        reading = await watch(submission, connection.client, view, logs=logs)
        if reading is None:
            view.say(f"{submission.title} goes on. {submission.page}")
            return _INTERRUPTED
        if as_json:
            click.echo(json.dumps(_result(submission, reading), indent=2))
        elif not reading.succeeded:
            await tell_failures(submission, reading, view)
        view.say(f"{submission.title} {reading.state}")
        return 0 if reading.succeeded else 1


@contextlib.asynccontextmanager
async def _pipelines(endpoints: Endpoints | None) -> AsyncIterator[Pipelines | None]:
    if endpoints is None:
        yield None
        return
    import aiohttp

    from kubeling.cli.running.submission import Pipelines

    async with aiohttp.ClientSession() as session:
        yield Pipelines(session, endpoints.dashboard)


async def _submit(
    options: Options,
    documents: Documents,
    endpoints: Endpoints | None,
    connection: Connection,
    pipelines: Pipelines | None,
) -> Submission:
    if (package := documents.pipeline) is not None:
        if pipelines is None:
            raise CliError(
                "pipelines are submitted to a platform of this machine only",
                "On a cluster use the kfp SDK, or apply a Run.",
            )
        return await _submit_pipeline(options, package, connection, pipelines)
    for option, given in (
        ("--experiment", options.experiment),
        ("--no-cache", options.no_cache),
        ("--pipeline-root", options.pipeline_root),
    ):
        if given:
            raise CliError(f"{option} is for pipelines; {options.file} is none")
    return await _submit_workflow(options, documents, endpoints, connection, pipelines)


async def _submit_pipeline(
    options: Options, package: Obj, connection: Connection, pipelines: Pipelines
) -> Submission:
    from kubeling.cli.running.documents import pipeline_parameters
    from kubeling.cli.running.submission import PipelineRun
    from kubeling.gateway.inputs import without_caching

    parameters = pipeline_parameters(package, options.parameters)
    if options.no_cache:
        package = without_caching(package)
    info = (package.get("pipeline_spec") or package)["pipelineInfo"]
    now = dt.datetime.now().strftime("%Y-%m-%d %H-%M-%S")
    body: Obj = {
        "display_name": options.name or f"{info.get('name', 'run')} {now}",
        "pipeline_spec": package,
        "runtime_config": {"parameters": parameters},
    }
    if options.pipeline_root:
        body["runtime_config"]["pipeline_root"] = options.pipeline_root
    if options.experiment:
        body["experiment_id"] = await pipelines.experiment(options.experiment)
    run = await pipelines.call("POST", "/runs", body)
    return PipelineRun(pipelines, connection.client, run)


async def _submit_workflow(
    options: Options,
    documents: Documents,
    endpoints: Endpoints | None,
    connection: Connection,
    pipelines: Pipelines | None,
) -> Submission:
    from kubeling.cli.running.documents import with_arguments
    from kubeling.cli.running.submission import WORKFLOWS, WorkflowRun

    workflow = documents.workflow
    if workflow is None:
        workflow = _of_stages(options.file, documents.stages, endpoints)
    workflow = with_arguments(workflow, options.parameters, options.name)
    namespace = str(workflow["metadata"].get("namespace") or connection.namespace)
    created = await connection.client.create(WORKFLOWS, workflow, namespace)
    return WorkflowRun(connection.client, created, pipelines)


def _of_stages(file: Path, stages: Obj | None, endpoints: Endpoints | None) -> Obj:
    from kubeling.workflows.stages import workflow_from_stages

    if endpoints is None:
        raise CliError(
            f"{file}: stages run the files of a platform's workspace, which a cluster has not"
        )
    workspace = Path(endpoints.workspace)
    beside = file.absolute().parent
    # What lies elsewhere is not seen by the stages; such files name what is in the workspace.
    folder = beside if beside.is_relative_to(workspace) else workspace
    try:
        return workflow_from_stages(stages, folder, is_workspace=folder == workspace)
    except ValueError as error:
        raise CliError(f"{file}: {error}") from None


def _result(submission: Submission, reading: Reading) -> Obj:
    return {
        "id": submission.id,
        "name": submission.title,
        "state": reading.state,
        "message": reading.message,
        "page": submission.page,
        "steps": [
            {
                "name": step.label,
                "state": step.state,
                "seconds": round(step.finished - step.started, 3)
                if step.finished is not None and step.started is not None
                else None,
                **({"cache": step.cache} if step.cache else {}),
            }
            for step in reading.tree.leaves()
        ],
    }

"""The ``kubeling`` command.

Commands are looked up by name and imported when called, so that ``kubeling --help`` stays under
150 ms whatever the commands need.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from typing import Any, Final, NoReturn

import click

from kubeling import __version__
from kubeling.cli.errors import CliError
from kubeling.cli.lazy import Commands, LazyGroup

__all__ = ["cli", "main"]

_SECTIONS: Final[dict[str, Commands]] = {
    "The platform": {
        "up": ("kubeling.cli.up:up", "Start everything; with --detach, return when ready."),
        "down": ("kubeling.cli.lifecycle:down", "Stop the platform and the processes of its pods."),
        "status": (
            "kubeling.cli.lifecycle:status",
            "Say whether it runs, where, and what is in it.",
        ),
        "reset": ("kubeling.cli.lifecycle:reset", "Stop it and delete everything it keeps."),
        "doctor": ("kubeling.cli.doctor:doctor", "Check this machine and say what to do."),
        "config": ("kubeling.cli.config:config", "Print the settings, and where each came from."),
        "env": ("kubeling.cli.lifecycle:env", "Print exports for kubectl and the SDKs."),
        "controllers": (
            "kubeling.cli.controllers:controllers",
            "Run all controllers against any API server.",
        ),
        "inference-gateway": (
            "kubeling.cli.inference_gateway:inference_gateway",
            "Serve the models of a cluster at one address.",
        ),
        "demo": ("kubeling.cli.demo:demo", "Run the main job: from data to a monitored model."),
    },
    "Resources": {
        "apply": ("kubeling.cli.apply:apply", "Create or update what the manifests say."),
        "get": ("kubeling.cli.get:get", "List objects, or show one."),
        "describe": ("kubeling.cli.describe:describe", "Show an object with its events."),
        "logs": ("kubeling.cli.logs:logs", "Print what a pod, job or step wrote."),
        "delete": ("kubeling.cli.apply:delete", "Delete objects."),
        "wait": ("kubeling.cli.wait:wait", "Wait for a condition."),
        "why": ("kubeling.cli.why:why", "Find the first cause of what went wrong."),
        "run": (
            "kubeling.cli.running.command:run_file",
            "Run a pipeline, a Workflow or a file of stages, and watch it.",
        ),
        "tune": (
            "kubeling.cli.tuning.command:tune",
            "Find the best parameters of a script.",
        ),
        "serve": (
            "kubeling.cli.serving.serve:serve",
            "Serve a model from a folder.",
        ),
        "predict": (
            "kubeling.cli.serving.predict:predict",
            "Ask a served model.",
        ),
        "runtimes": (
            "kubeling.cli.serving.runtimes:runtimes",
            "Say why a model is served by the runtime it has.",
        ),
        "pipelines": (
            "kubeling.cli.pipelines:pipelines",
            "Collect old runs of pipelines, download artifacts.",
        ),
    },
    "Workflows, as with Argo's command line": {
        "workflow": (
            "kubeling.cli.workflow.groups:workflow",
            "Submit, list, get, logs, retry, stop, resume … of workflows.",
        ),
        "template": (
            "kubeling.cli.workflow.definitions:template",
            "Create, list, lint … WorkflowTemplates.",
        ),
        "cluster-template": (
            "kubeling.cli.workflow.definitions:cluster_template",
            "The same for ClusterWorkflowTemplates.",
        ),
        "cron": (
            "kubeling.cli.workflow.definitions:cron",
            "The same for CronWorkflows; suspend and resume them.",
        ),
        "archive": (
            "kubeling.cli.workflow.groups:archive",
            "List, get, retry, resubmit … archived workflows.",
        ),
    },
}


@click.group(
    cls=LazyGroup,
    sections=_SECTIONS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with: kubeling up",
)
@click.option("-v", "--verbose", is_flag=True, help="Show more, tracebacks included.")
@click.version_option(__version__, message="kubeling %(version)s")
def cli(verbose: bool) -> None:
    """The whole Kubeflow platform in one command.

    Pipelines, hyperparameter tuning, distributed training, model serving, notebooks and a model
    registry behind the Kubernetes API, with the YAML and the SDKs you already use.
    """
    level = logging.DEBUG if verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs the command line and exits."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    verbose = bool({"-v", "--verbose"} & set(words))
    try:
        result: Any = cli.main(words, prog_name="kubeling", standalone_mode=False)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.ClickException as error:
        sys.exit(_misused(error))
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        if verbose:
            raise
        sys.exit(_explain(error))
    sys.exit(result if isinstance(result, int) else 0)


def _misused(error: click.ClickException) -> int:
    """Says in one line what is wrong with the words, and where the right ones are listed."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return error.exit_code
    click.secho(f"error: {error.format_message()}", fg="red", err=True)
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "kubeling"
    click.echo(f"  See: {path} --help", err=True)
    return error.exit_code


def _explain(error: Exception) -> int:
    from kubeling.kube.config import ConfigError
    from kubeling.kube.errors import ApiError, NotFound

    hint, code = "", 1
    if isinstance(error, CliError):
        text, hint, code = error.message, error.hint, error.code
    elif isinstance(error, NotFound) and (kind := error.details.get("kind")):
        text, hint = str(error), f"List what there is with: kubeling get {kind} -A"
    elif isinstance(error, ApiError | ConfigError | ConnectionError):
        text = str(error)
    else:
        text = f"{type(error).__name__}: {error}"
        hint = "This is a defect; run again with --verbose to see where."
    click.secho(f"error: {text}", fg="red", err=True)
    if hint:
        click.echo(f"  {hint}", err=True)
    return code

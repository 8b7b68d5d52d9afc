"""``kubeling serve``: a model on disk becomes an address that answers."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from kubeling.cli.connection import connected
from kubeling.cli.errors import CliError
from kubeling.cli.instance import data_dir_option

if TYPE_CHECKING:
    from kubeling.cli.instance import Endpoints
    from kubeling.cli.serving.manifest import Served
    from kubeling.cli.serving.rollout import Rollout
    from kubeling.cli.serving.view import View
    from kubeling.gateway.models.progress import Progress

__all__ = ["serve"]

_INTERRUPTED: Final = 130
_TAIL: Final = 15


@click.command("serve")
@click.argument("model", metavar="MODEL_DIR")
@click.option("--name", default="", help="The service's name; the folder's otherwise.")
@click.option("-n", "--namespace", default="", help="The namespace to work in.")
@click.option("--format", "format_name", default="", metavar="FORMAT", help="As sklearn or onnx.")
@click.option(
    "--canary", type=click.IntRange(0, 100), metavar="PERCENT", help="Of the requests, at first."
)
@click.option("--min-replicas", type=click.IntRange(0), help="0: none while nobody asks.")
@click.option("--max-replicas", type=click.IntRange(1), help="As many under load.")
@click.option("--follow/--detach", default=True, help="Wait until it answers, or return at once.")
@click.option("--curl", is_flag=True, help="Print a command that asks it, and nothing else.")
@click.option("--dry-run", is_flag=True, help="Print the InferenceService, create nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, nothing else.")
@data_dir_option
def serve(model: str, data_dir: Path, **given: Any) -> int:
    """Serve a model from a folder, a file or an address.

    The format is found out from the files. A service of that name that is there already gets the
    model as its next revision; with --canary it takes a part of the requests at first. A model that
    has not changed since is no new revision.

    With --curl, MODEL_DIR may be the name of a service that runs, or of an InferenceGraph.

    The exit code is 0 if it answers. Ctrl-C asks whether to take the model back or to leave it.
    Without a running platform, one is started for the present folder.
    """
    from kubeling.cli.instance import Instance

    if given["curl"] and "://" not in model and not Path(model).exists():
        running = Instance(data_dir).require_running()
        return asyncio.run(_curl_of(given["name"] or model, running, data_dir, given["namespace"]))
    served, title = _served(model, given)
    if given["dry_run"]:
        from kubeling.cli.serving.manifest import new_service
        from kubeling.kube import yaml

        click.echo(yaml.dump(new_service(title, served)), nl=False)
        return 0
    from kubeling.cli.running.starting import running_platform

    endpoints = running_platform(Instance(data_dir))
    return asyncio.run(_serve(title, served, given, endpoints, data_dir))


def _served(model: str, given: dict[str, Any]) -> tuple[Served, str]:
    """What is to be served, and under which name."""
    from kubeling.cli.serving.formats import FORMATS, format_of, format_of_address
    from kubeling.cli.serving.manifest import Served, name_of
    from kubeling.serving.storage.local import digest_of

    if "://" in model:
        uri, digest, title = model, "", name_of(model)
        format_name = given["format_name"] or format_of_address(model)
        if not format_name:
            raise CliError(
                f"{model} does not tell its format",
                f"Say it with --format, as one of: {', '.join(FORMATS)}.",
            )
    else:
        place = Path(model).expanduser().resolve()
        if not place.exists():
            raise CliError(
                f"there is no {model} here",
                "Give the folder of a model, or an address as s3://bucket/model.",
            )
        format_name = given["format_name"] or format_of(place)
        uri, digest, title = str(place), digest_of(place), name_of(str(place))
    served = Served(
        uri=uri,
        format_name=format_name,
        digest=digest,
        canary=given["canary"],
        min_replicas=given["min_replicas"],
        max_replicas=given["max_replicas"],
    )
    return served, given["name"] or title


async def _serve(
    title: str,
    served: Served,
    given: dict[str, Any],
    endpoints: Endpoints,
    data_dir: Path,
) -> int:
    from kubeling.cli.running.watching import Watch
    from kubeling.cli.serving.asking import fitting_line
    from kubeling.cli.serving.rollout import Rollout
    from kubeling.cli.serving.view import View

    quiet = given["as_json"] or given["curl"]
    async with connected(data_dir, None, given["namespace"]) as connection:
        rollout = await Rollout.begin(connection.client, title, connection.namespace, served)
        view = View(title, quiet=quiet)
        if not given["follow"]:
            view.say(f"inferenceservice {title} goes on. {endpoints.dashboard}{rollout.page}")
            return 0
        progress = await Watch(rollout.read, rollout.stop, view, "rollout").run()
        if progress is None:
            view.say(f"inferenceservice {title} goes on. {endpoints.dashboard}{rollout.page}")
            return _INTERRUPTED
        if progress.state != "ready":
            return await _failed(rollout, progress, view, given)
        base = endpoints.dashboard + rollout.path
        line = await fitting_line(
            connection.client, rollout.namespace, endpoints.kubeconfig, base, rollout.name
        )
        _tell(rollout, progress, line, base, endpoints.dashboard, view, given)
        return 0


def _tell(
    rollout: Rollout,
    progress: Progress,
    line: str,
    base: str,
    dashboard: str,
    view: View,
    given: dict[str, Any],
) -> None:
    """Where it answers, and how it is asked."""
    if given["curl"]:
        click.echo(line)
        return
    if given["as_json"]:
        told = {
            "name": rollout.name,
            "namespace": rollout.namespace,
            "state": progress.state,
            "revision": progress.revision,
            "traffic": rollout.shares,
            "url": base,
            "page": dashboard + rollout.page,
            "curl": line,
        }
        click.echo(json.dumps(told, indent=2))
        return
    if rollout.shares.get(progress.revision) != 100:
        shares = ", ".join(f"{percent}% {title}" for title, percent in rollout.shares.items())
        view.say(f"  requests  {shares}")
    elif given["canary"] not in (None, 100):
        first = "it is the first revision" if rollout.is_new else "the model has not changed"
        view.say(f"  requests  all of them, as {first}: there is nothing to share them with")
    view.say(f"  url       {base}")
    view.say(f"  page      {dashboard}{rollout.page}")
    view.say(f"  {line}", "bold")


async def _failed(rollout: Rollout, progress: Progress, view: View, given: dict[str, Any]) -> int:
    """Says why, with the end of the log and what to try."""
    found = await rollout.explanation(progress)
    hint, log = found.hint, found.tail(_TAIL)
    if given["as_json"]:
        told = {"name": rollout.name, "state": progress.state, "message": progress.doing}
        click.echo(json.dumps({**told, "hint": hint, "log": log}, indent=2))
        return 1
    for line in log:
        view.say(f"  | {line}")
    if not rollout.is_new and rollout.shares:
        view.say(f"{', '.join(rollout.shares)} goes on serving")
    raise CliError(progress.doing, f"Try this: {hint}" if hint else _more(rollout))


def _more(rollout: Rollout) -> str:
    return f"More: kubeling why isvc/{rollout.name} -n {rollout.namespace}"


async def _curl_of(title: str, running: Endpoints, data_dir: Path, namespace: str) -> int:
    """The command that asks a service that runs, or a graph."""
    from kubeling.cli.serving.asking import fitting_graph_line, fitting_line
    from kubeling.gateway.models.progress import progress_of
    from kubeling.gateway.models.traffic import shares_of
    from kubeling.serving.arguments import model_name
    from kubeling.serving.graph.resources import INFERENCE_GRAPHS
    from kubeling.serving.resources import INFERENCE_SERVICES

    async with connected(data_dir, None, namespace) as connection:
        client, where = connection.client, connection.namespace
        isvc = await client.find(INFERENCE_SERVICES, title, where)
        if isvc is None:
            graph = await client.find(INFERENCE_GRAPHS, title, where)
            if graph is None:
                raise CliError(
                    f'there is no "{title}": neither a file or folder here, nor an '
                    f'InferenceService or InferenceGraph in namespace "{where}"',
                    "List them with: kubeling get isvc -A, or kubeling get inferencegraphs -A",
                )
            door = running.dashboard
            click.echo(await fitting_graph_line(client, where, running.kubeconfig, door, graph))
            return 0
        if not shares_of(isvc):
            progress = progress_of(isvc, ())
            raise CliError(
                f"{title} answers nobody now: {progress.doing}",
                f"More: kubeling why isvc/{title} -n {where}",
            )
        base = f"{running.dashboard}/serving/{where}/{title}"
        line = await fitting_line(client, where, running.kubeconfig, base, model_name(isvc))
    click.echo(line)
    return 0

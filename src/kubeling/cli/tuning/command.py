"""``kubeling tune``: finds the best parameters of a plain script."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from kubeling.cli.connection import connected
from kubeling.cli.errors import CliError
from kubeling.cli.instance import data_dir_option

if TYPE_CHECKING:
    from kubeling.cli.instance import Endpoints
    from kubeling.cli.tuning.manifest import Script, Wanted
    from kubeling.kube.objects import Obj

__all__ = ["tune"]

_INTERRUPTED: Final = 130
_PARALLEL: Final = 4
_ALGORITHM: Final = "auto"
_STRATEGIES: Final = ("min", "max", "latest")
_EXAMPLE: Final = (
    "kubeling tune train.py --param lr=1e-4..1e-1:log --param opt=adam,sgd --max accuracy"
)


@click.command("tune")
@click.argument("script", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("arguments", nargs=-1, metavar="[-- ARGUMENTS...]")
@click.option(
    "-p", "--param", "words", multiple=True, metavar="NAME=SPACE", help="What is searched."
)
@click.option(
    "--max", "largest", default="", metavar="METRIC", help="Make this as large as can be."
)
@click.option(
    "--min", "smallest", default="", metavar="METRIC", help="Make this as small as can be."
)
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME[:min|max]",
    help="Another metric, and which of its values counts; the last otherwise.",
)
@click.option("--goal", type=float, help="A value that is good enough to stop at.")
@click.option("--trials", type=click.IntRange(1), default=20, show_default=True)
@click.option("--parallel", type=click.IntRange(1), help="At the same time.", show_default="CPUs")
@click.option("--max-failed", type=click.IntRange(0), help="Give up after so many failures.")
@click.option("--algorithm", default=_ALGORITHM, show_default=True)
@click.option("--setting", "given", multiple=True, metavar="NAME=VALUE", help="Of the algorithm.")
@click.option("--early-stopping", default="", metavar="NAME", help="As medianstop: end bad trials.")
@click.option("--stop-setting", multiple=True, metavar="NAME=VALUE", help="Of the early stopping.")
@click.option(
    "--learn-from", "earlier", multiple=True, metavar="NAME", help="Begin with what these found."
)
@click.option("--env", "as_variables", is_flag=True, help="Pass values as variables, LR for lr.")
@click.option("--image", default="python:3", show_default=True, help="What the trials run in.")
@click.option("--gpus", type=click.IntRange(1), help="GPUs for each trial.")
@click.option("--name", default="", help="The experiment's name.")
@click.option("-n", "--namespace", default="", help="The namespace to work in.")
@click.option("--follow/--detach", default=True, help="Watch it to its end, or return at once.")
@click.option("--logs", is_flag=True, help="Print what the trials write.")
@click.option("--dry-run", is_flag=True, help="Print the Experiment, create nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, nothing else.")
@data_dir_option
def tune(script: Path, arguments: tuple[str, ...], data_dir: Path, **given: Any) -> int:
    """Find the best parameters of a script.

    The script is called with --NAME=VALUE for each parameter (or, with --env, with variables) and
    prints METRIC=VALUE; its last value counts, or its best if it prints several. A parameter is a
    range (lr=1e-4..1e-1:log, layers=1..4, rate=0..0.5:step=0.1) or a list (opt=adam,sgd). Bounds
    without a decimal point, as 1..4, give whole numbers: write 0.0..1.0 for all between.

    The exit code is 0 if a best trial was found. Ctrl-C asks whether to stop the search or to leave
    it. Without a running platform, one is started for the present folder.
    """
    wanted = _wanted(given)
    if given["dry_run"]:
        from kubeling.kube import yaml

        click.echo(yaml.dump(_experiment(script, arguments, wanted, given, "")), nl=False)
        return 0
    from kubeling.cli.instance import Instance
    from kubeling.cli.running.starting import running_platform

    endpoints = running_platform(Instance(data_dir))
    return asyncio.run(_tune(script, arguments, wanted, given, endpoints, data_dir))


async def _tune(
    script: Path,
    arguments: tuple[str, ...],
    wanted: Wanted,
    given: dict[str, Any],
    endpoints: Endpoints,
    data_dir: Path,
) -> int:
    from kubeling.cli.running.watching import Watch
    from kubeling.cli.running.writers import Writers
    from kubeling.cli.tuning.readings import Readings
    from kubeling.cli.tuning.report import result, tell
    from kubeling.cli.tuning.search import Search
    from kubeling.cli.tuning.view import View

    folder = _folder(script, Path(endpoints.workspace))
    manifest = _experiment(script, arguments, wanted, given, folder)
    async with (
        connected(data_dir, None, given["namespace"]) as connection,
        Readings(endpoints.dashboard) as readings,
    ):
        search = await Search.begin(connection.client, manifest, connection.namespace, readings)
        page = search.page(endpoints.dashboard)
        view = View(search.name, quiet=given["as_json"])
        view.say(f"experiment {search.name} started")
        view.say(page, "dim")
        if not given["follow"]:
            if given["as_json"]:
                click.echo(json.dumps({"name": search.name, "page": page}))
            return 0
        async with asyncio.TaskGroup() as group:
            writers = Writers(group, connection.client, view, search.pods, wanted=given["logs"])
            watch = Watch(search.read, search.stop, view, "search", writers.at)
            study = await watch.run(writers.pressed)
            await writers.finish(study)
        if study is None:
            view.say(f"experiment {search.name} goes on. {page}")
            return _INTERRUPTED
        if given["as_json"]:
            click.echo(json.dumps(result(search, study, page), indent=2))
        else:
            tell(search, study, view.say)
        return 0 if study.best is not None and study.state != "failed" else 1


def _wanted(given: dict[str, Any]) -> Wanted:
    """What is searched; refuses words that make no search."""
    from kubeling.cli.tuning.manifest import Wanted
    from kubeling.tuning.words import WordsError, parameter

    largest, smallest = given["largest"], given["smallest"]
    if bool(largest) == bool(smallest):
        raise CliError("say what is to be found: one of --max METRIC and --min METRIC", _EXAMPLE)
    if not given["words"]:
        raise CliError("there is nothing to search: give --param NAME=SPACE", _EXAMPLE)
    try:
        parameters = [parameter(text) for text in given["words"]]
    except WordsError as error:
        raise CliError(f"--param {error}") from None
    names = [p["name"] for p in parameters]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise CliError(f"--param {twice} is there twice")
    return Wanted(
        "maximize" if largest else "minimize",
        largest or smallest,
        parameters,
        dict(_metric(text) for text in given["metrics"]),
        given["goal"],
        given["algorithm"],
        _pairs("--setting", given["given"]),
        given["early_stopping"],
        _pairs("--stop-setting", given["stop_setting"]),
        given["trials"],
        given["parallel"] or min(os.cpu_count() or 1, _PARALLEL),
        given["max_failed"],
        given["earlier"],
    )


def _metric(text: str) -> tuple[str, str]:
    name, _, strategy = text.partition(":")
    if not name or strategy not in ("", *_STRATEGIES):
        raise CliError(f'--metric "{text}": should be NAME, or NAME:min, NAME:max, NAME:latest')
    return name, strategy or "latest"


def _pairs(option: str, words: tuple[str, ...]) -> dict[str, str]:
    for word in words:
        if not word.partition("=")[0] or "=" not in word:
            raise CliError(f'{option} "{word}": should be NAME=VALUE')
    return dict(word.split("=", 1) for word in words)


def _folder(script: Path, workspace: Path) -> str:
    """Where trials run, so that the script finds what it finds by hand."""
    here = Path.cwd()
    if not script.absolute().resolve().is_relative_to(workspace.resolve()):
        raise CliError(
            f"{script} is not in the platform's workspace {workspace}: trials would not find it",
            "Start the platform there: kubeling up --workspace FOLDER.",
        )
    return "" if here == workspace or not here.is_relative_to(workspace) else str(here)


def _experiment(
    script: Path, arguments: tuple[str, ...], wanted: Wanted, given: dict[str, Any], folder: str
) -> Obj:
    from kubeling.cli.tuning.manifest import experiment_of, name_of

    name = given["name"] or name_of(script.name, secrets.token_hex(2))
    return experiment_of(name, _script(script, arguments, given, folder), wanted)


def _script(script: Path, arguments: tuple[str, ...], given: dict[str, Any], folder: str) -> Script:
    from kubeling.cli.tuning.manifest import Script

    path = os.path.relpath(script) if folder or not script.is_absolute() else str(script)
    resources = {"nvidia.com/gpu": str(given["gpus"])} if given["gpus"] else {}
    return Script(path, arguments, given["image"], given["as_variables"], folder, resources)

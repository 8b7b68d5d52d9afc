"""``kubeling predict``: asks a served model, and prints what it answers."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any, Final

import click

from kubeling.cli.connection import connected
from kubeling.cli.errors import CliError
from kubeling.cli.instance import data_dir_option

__all__ = ["predict", "request_of"]

_EXAMPLE: Final = "kubeling predict iris '{\"instances\": [[5.1, 3.5, 1.4, 0.2]]}'"
_OK: Final = 200


@click.command("predict")
@click.argument("name")
@click.argument("request", required=False, metavar="[REQUEST]")
@click.option(
    "-f",
    "--file",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    help="Read the request from a file; - means standard input.",
)
@click.option("-n", "--namespace", default="", help="The namespace to work in.")
@click.option("--model", default="", help="The model's name, if it is not the service's.")
@data_dir_option
def predict(
    name: str, request: str | None, file: Path | None, namespace: str, model: str, data_dir: Path
) -> int:
    """Ask a served model, and print its answer.

    REQUEST is JSON: {"instances": [ROW, …]} as in the V1 protocol, a plain list of rows, which
    means the same, or {"inputs": [{"name": …, "shape": …, "datatype": …, "data": …}]} as in the V2
    protocol; models of your own may take any other object. It is read from standard input if it is
    not given.

    `kubeling serve NAME --curl` prints a request that fits the model.
    """
    from kubeling.cli.instance import Instance
    from kubeling.cli.serving.asking import ask

    endpoints = Instance(data_dir).require_running()
    path, body = request_of(_text(request, file), model or name)
    where = asyncio.run(_namespace(data_dir, namespace, name))
    base = f"{endpoints.dashboard}/serving/{where}/{name}"
    try:
        answer = ask(base + path, body)
    except OSError as error:
        raise CliError(f"{base} does not answer: {error}", "kubeling status") from None
    if answer.status != _OK:
        which = answer.revision or name
        raise CliError(f"{which} answered {answer.status}: {answer.error}", _hint(name, answer))
    click.echo(answer.body.decode(errors="replace").rstrip("\n"))
    return 0


def request_of(text: str, model: str) -> tuple[str, bytes]:
    """Where a request goes below the service's address, and its body."""
    from kubeling.gateway.models.signature import path_of

    try:
        found: Any = json.loads(text)
    except json.JSONDecodeError as error:
        raise CliError(
            f"the request is not JSON: {error.msg} at line {error.lineno}, column {error.colno}",
            f"For example: {_EXAMPLE}",
        ) from None
    if isinstance(found, list):
        found = {"instances": found}
    if not isinstance(found, dict):
        raise CliError("the request is no JSON object or list", f"For example: {_EXAMPLE}")
    return path_of(model, found), json.dumps(found).encode()


def _text(request: str | None, file: Path | None) -> str:
    if request is not None and file is not None:
        raise CliError("give the request as an argument or by --file, not both")
    if request is not None and request != "-":
        return request
    if file is not None and str(file) != "-":
        return file.read_text()
    if sys.stdin.isatty():
        raise CliError("there is no request", f"For example: {_EXAMPLE}")
    return sys.stdin.read()


async def _namespace(data_dir: Path, namespace: str, title: str) -> str:
    """The namespace that is meant, in which there is a service of that name."""
    from kubeling.serving.resources import INFERENCE_SERVICES

    async with connected(data_dir, None, namespace) as connection:
        await connection.client.get(INFERENCE_SERVICES, title, connection.namespace)
        return connection.namespace


def _hint(name: str, answer: Any) -> str:
    if answer.status < 500:
        return f"A request that fits: kubeling serve {name} --curl"
    return f"More: kubeling why isvc/{name}"

"""``kubeling predict``: asks a served model, and prints what it answers."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from kubeling.cli.connection import connected
from kubeling.cli.errors import CliError
from kubeling.cli.instance import data_dir_option

if TYPE_CHECKING:
    from kubeling.cli.serving.asking import Answer

__all__ = ["predict", "request_of"]

_EXAMPLE: Final = "kubeling predict iris '{\"instances\": [[5.1, 3.5, 1.4, 0.2]]}'"
_OK: Final = 200


@dataclass(frozen=True, slots=True)
class _Target:
    """A service and what its model is called, or a graph, which has none."""

    name: str
    namespace: str
    model: str

    @property
    def is_graph(self) -> bool:
        return not self.model


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
    """Ask a served model, or an InferenceGraph, and print the answer.

    REQUEST is JSON: {"instances": [ROW, …]} as in the V1 protocol, a plain list of rows, which
    means the same, or {"inputs": [{"name": …, "shape": …, "datatype": …, "data": …}]} as in the V2
    protocol; models of your own may take any other object, and a graph gets it as it is. It is read
    from standard input if it is not given. Where the installation asks who asks, it is the account
    default-editor of the namespace, or else its account default.

    `kubeling serve NAME --curl` prints a request that fits the model.
    """
    from kubeling.cli.instance import Instance
    from kubeling.cli.serving.asking import ask

    endpoints = Instance(data_dir).require_running()
    text = _text(request, file)
    target = asyncio.run(_target(data_dir, namespace, name))
    if target.is_graph:
        if model:
            raise CliError(f"{name} is a graph and has no model of its own", "Leave out --model.")
        path, body = "", _for_a_graph(text)
    else:
        path, body = request_of(text, model or target.model)
    base = f"{endpoints.dashboard}/serving/{target.namespace}/{name}"
    try:
        answer = ask(base + path, body)
        if answer.asks_who:
            token = asyncio.run(_token(data_dir, target.namespace))
            answer = ask(base + path, body, token=token)
    except OSError as error:
        raise CliError(f"{base} does not answer: {error}", "kubeling status") from None
    if answer.status != _OK:
        who = f"step {answer.step}" if answer.step else answer.revision
        which = f"{name}, {who}," if who else name
        hint = _hint(target, answer, Instance(data_dir).option)
        raise CliError(f"{which} answered {answer.status}: {answer.error}", hint)
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


def _for_a_graph(text: str) -> bytes:
    """What a graph is asked: anything that its steps take, or plain rows."""
    try:
        found: Any = json.loads(text)
    except json.JSONDecodeError:
        return text.encode()
    return json.dumps({"instances": found}).encode() if isinstance(found, list) else text.encode()


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


async def _target(data_dir: Path, namespace: str, title: str) -> _Target:
    """The service of that name, or else the graph."""
    from kubeling.kube.errors import NotFound
    from kubeling.serving.arguments import model_name
    from kubeling.serving.graph.resources import INFERENCE_GRAPHS
    from kubeling.serving.resources import INFERENCE_SERVICES

    async with connected(data_dir, None, namespace) as connection:
        where = connection.namespace
        try:
            isvc = await connection.client.get(INFERENCE_SERVICES, title, where)
        except NotFound as missing:
            try:
                await connection.client.get(INFERENCE_GRAPHS, title, where)
            except NotFound:
                raise missing from None
            return _Target(title, where, "")
        return _Target(title, where, model_name(isvc) or title)


async def _token(data_dir: Path, namespace: str) -> str:
    from kubeling.cli.serving.identity import account_in, token_of

    async with connected(data_dir, None, namespace) as connection:
        account = await account_in(connection.client, namespace)
        return await token_of(connection.client, namespace, account)


def _hint(target: _Target, answer: Answer, option: str) -> str:
    """What to run next; ``option`` names the platform, where it has to be named."""
    if answer.asks_who:
        from kubeling.cli.serving.identity import grant_of

        return f"Let it ask: {grant_of('default', target.namespace)}"
    if target.is_graph:
        return f"More: kubeling why ig/{target.name} -n {target.namespace}{option}"
    if answer.status < 500:
        fits = f"kubeling serve {target.name} -n {target.namespace} --curl{option}"
        return f"A request that fits: {fits}"
    return f"More: kubeling why isvc/{target.name} -n {target.namespace}{option}"

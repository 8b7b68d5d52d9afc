"""``kubeling runtimes``: the serving runtimes there are, and why a service got the one it has."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from kubeling.cli.connection import Connection, connected, resource_options, run
from kubeling.cli.errors import CliError
from kubeling.cli.workflow.tree import table
from kubeling.kube.objects import Obj, name, namespace

__all__ = ["runtimes"]


@click.command("runtimes")
@click.argument("service", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, nothing else.")
@resource_options
def runtimes(
    service: str | None, as_json: bool, namespace: str, kubeconfig: Path | None, data_dir: Path
) -> int:
    """List serving runtimes, or say why a service got the one it has.

    Of an InferenceService, each runtime is shown with what speaks for it or against it: the format
    and its version, the protocol, the priority, or that it has to be named.
    """
    return run(_show(service, as_json, namespace, kubeconfig, data_dir))


async def _show(
    service: str | None, as_json: bool, namespace: str, kubeconfig: Path | None, data_dir: Path
) -> int:
    from kubeling.serving.resources import CLUSTER_SERVING_RUNTIMES, SERVING_RUNTIMES

    async with connected(data_dir, kubeconfig, namespace) as connection:
        own = (await connection.client.list(SERVING_RUNTIMES, connection.namespace)).items
        shared = (await connection.client.list(CLUSTER_SERVING_RUNTIMES)).items
        if service is None:
            _print([_listed(runtime) for runtime in (*own, *shared)], as_json)
            return 0
        return await _explain(connection, service, own, shared, as_json)


async def _explain(
    connection: Connection,
    service: str,
    own: Sequence[Obj],
    shared: Sequence[Obj],
    as_json: bool,
) -> int:
    from kubeling.serving.resources import INFERENCE_SERVICES
    from kubeling.serving.runtime_choice import verdicts
    from kubeling.serving.runtimes import RuntimeNotFound, select_runtime

    isvc = await connection.client.get(INFERENCE_SERVICES, service, connection.namespace)
    model = isvc["spec"]["predictor"].get("model")
    if not model:
        raise CliError(
            f"{service} is served by containers of its own, not by a runtime",
            "Its formats are its own affair: see spec.predictor.containers.",
        )
    found = verdicts(model, own, shared)
    if not as_json:
        wanted = model["modelFormat"]
        version = f" {wanted['version']}" if wanted.get("version") else ", of any version"
        protocol = model.get("protocolVersion") or "v1, as none is asked for"
        click.echo(f"{service}: {wanted['name']}{version}, over {protocol}")
    if as_json:
        click.echo(json.dumps([asdict(verdict) for verdict in found], indent=2))
    else:
        for verdict in found:
            mark = "✓" if verdict.chosen else " "
            click.echo(f"{mark} {verdict.kind} {verdict.name}: {verdict.reason}")
    try:
        select_runtime(model, own, shared)
    except RuntimeNotFound as error:
        raise CliError(str(error)) from None
    return 0


def _listed(runtime: Obj) -> dict[str, str]:
    spec = runtime["spec"]
    formats = [
        f"{entry['name']} {entry.get('version') or ''}".strip()
        for entry in spec.get("supportedModelFormats") or ()
    ]
    return {
        "runtime": name(runtime),
        "namespace": namespace(runtime) or "everywhere",
        "formats": ", ".join(formats),
        "protocols": ", ".join(spec.get("protocolVersions") or ["any"]),
    }


def _print(rows: Sequence[dict[str, str]], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    titles = ["RUNTIME", "NAMESPACE", "FORMATS", "PROTOCOLS"]
    click.echo(table([titles, *(list(row.values()) for row in rows)]))

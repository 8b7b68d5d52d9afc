"""Serves the rooms' admission to a cluster for as long as the controllers lead it.

The address is written into the cluster's webhook configurations with the certificate to trust, so
it needs no Service, and whoever leads next writes its own. A clean end takes them away, because a
cluster whose webhooks do not answer refuses to write what they are about.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kubeling.component import Component
from kubeling.kube.admission import Admission
from kubeling.kube.client import Client
from kubeling.kube.errors import ApiError
from kubeling.kube.objects import Obj, uid
from kubeling.kube.resources import Resource
from kubeling.kube.webhooks import Purpose, answer_review, webhook_configurations

if TYPE_CHECKING:
    from aiohttp import web
    from aiohttp.typedefs import Handler

__all__ = ["served_webhooks"]


@contextlib.asynccontextmanager
async def served_webhooks(
    client: Client, components: Sequence[Component], host: str, port: int, folder: Path
) -> AsyncIterator[None]:
    """Answers the cluster's questions at ``host``, which it must be able to reach."""
    from aiohttp import web

    from kubeling.apiserver.tls import Authority

    admission = {
        resource: rules for part in components for resource, rules in part.admission().items()
    }
    authority = Authority(folder)
    runner = web.AppRunner(_app(admission), access_log=None)
    await runner.setup()
    try:
        context = authority.server_context(host, dt.datetime.now(dt.UTC))
        site = web.TCPSite(runner, "0.0.0.0", port, ssl_context=context)
        await site.start()
        url = f"https://{_shown(host)}:{runner.addresses[0][1]}"
        configurations = webhook_configurations(admission, url, authority.certificate)
        for resource, configuration in configurations:
            await client.apply(resource, configuration)
        click.echo(f"Admission webhooks are served at {url}.")
        try:
            yield
        finally:
            for resource, configuration in configurations:
                await _take_away(client, resource, configuration)
    finally:
        await runner.cleanup()


async def _take_away(client: Client, resource: Resource, configuration: Obj) -> None:
    """Deletes our configuration, unless another leader has written its own over it."""
    name = configuration["metadata"]["name"]
    try:
        found = await client.find(resource, name)
        if found is not None and _asked(found) == _asked(configuration):
            await client.delete(resource, name, uid=uid(found), missing_ok=True)
    except (ApiError, OSError) as error:
        click.echo(
            f"The cluster goes on asking us for admission, because its {resource.kind} could not "
            f"be deleted ({error}). Unless the controllers start again, run: kubectl delete "
            f"{resource.plural} {name}",
            err=True,
        )


def _asked(configuration: Obj) -> list[Obj]:
    return [webhook["clientConfig"] for webhook in configuration["webhooks"]]


def _app(admission: Mapping[Resource, Admission]) -> web.Application:
    from aiohttp import web

    def answering(purpose: Purpose) -> Handler:
        async def answer(request: web.Request) -> web.Response:
            return web.json_response(answer_review(admission, purpose, await request.json()))

        return answer

    app = web.Application(client_max_size=8 * 1024 * 1024)
    app.router.add_post("/default", answering("default"))
    app.router.add_post("/validate", answering("validate"))
    return app


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host

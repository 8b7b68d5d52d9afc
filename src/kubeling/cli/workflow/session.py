"""What commands about workflows have: a connection, the operator, and names.

A workflow with very many steps has them in the metadata database, which only the local platform's
commands can reach.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING

from kubeling.cli.connection import Connection, connected
from kubeling.cli.errors import CliError
from kubeling.cli.instance import Instance
from kubeling.cli.settings import database_of
from kubeling.cli.workflow.options import Place
from kubeling.component import Context, Settings
from kubeling.kube.informer import Informers
from kubeling.kube.objects import Obj, name
from kubeling.workflows.archive import Archive
from kubeling.workflows.offload import Offload
from kubeling.workflows.operations.operator import WorkflowOperator
from kubeling.workflows.resources import WORKFLOWS

if TYPE_CHECKING:
    from kubeling.metadata.database import Database

__all__ = ["Session", "session"]


class _Remote(Context):
    """Another cluster, whose metadata database is out of reach."""

    async def open_database(self) -> Database:
        raise CliError(
            "this is in the metadata database of the platform, which --kubeconfig does not reach",
            "Ask the Argo Server API of that platform, or run the command where it runs.",
        )


class Session:
    """A connection to where workflows are."""

    def __init__(self, connection: Connection, place: Place) -> None:
        self.client = connection.client
        self.namespace = connection.namespace
        data_dir = place.data_dir.expanduser().absolute()
        database = database_of(Instance(data_dir), os.environ)
        settings = Settings(data_dir=data_dir, workspace=data_dir, database_url=database)
        kind = Context if place.kubeconfig is None else _Remote
        self.context = kind(self.client, Informers(self.client), settings)
        self.offload = Offload(self.context)
        self.archive = Archive(self.context)
        self.operator = WorkflowOperator(self.client, self.context.clock, self.offload)

    def now(self) -> dt.datetime:
        return self.context.clock.now()

    async def named(self, wanted: str) -> str:
        """The name, or for ``@latest`` the name of the youngest workflow."""
        if wanted != "@latest":
            return wanted
        found = (await self.client.list(WORKFLOWS, self.namespace)).items
        if not found:
            raise CliError(f"there are no workflows in {self.namespace}")
        return name(max(found, key=lambda wf: str(wf["metadata"]["creationTimestamp"])))

    async def get(self, wanted: str) -> Obj:
        """A workflow with its nodes."""
        return await self.operator.get(self.namespace, await self.named(wanted))

    async def chosen(
        self, names: Iterable[str], selector: str = "", field_selector: str = ""
    ) -> list[str]:
        """The names given, and those that the selectors find."""
        found = [await self.named(wanted) for wanted in names]
        if selector or field_selector:
            listed = await self.client.list(
                WORKFLOWS, self.namespace, labels=selector, fields=field_selector
            )
            found += [name(workflow) for workflow in listed.items]
        return list(dict.fromkeys(found))


@contextlib.asynccontextmanager
async def session(place: Place) -> AsyncIterator[Session]:
    """Connects; what was opened is closed afterwards."""
    async with connected(place.data_dir, place.kubeconfig, place.namespace) as connection:
        opened = Session(connection, place)
        try:
            yield opened
        finally:
            if "database" in opened.context.__dict__:
                opened.context.database.close()

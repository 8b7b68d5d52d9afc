"""A real API server for tests: the embedded one, on a directory of its own."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from kubeling.apiserver.node import NodeApi
from kubeling.apiserver.server import ApiServer, ApiServerConfig
from kubeling.apiserver.settings import ApiSettings
from kubeling.component import Component
from kubeling.kube.admission import Admission
from kubeling.kube.client import Client
from kubeling.kube.clock import Clock
from kubeling.kube.errors import AlreadyExists
from kubeling.kube.objects import Obj
from kubeling.kube.resources import Resource


@dataclass(slots=True)
class RunningServer:
    """A started server and an administrator's client."""

    server: ApiServer
    client: Client
    data_dir: Path

    @property
    def kubeconfig(self) -> Path:
        """An administrator's kubeconfig; only with ``https``."""
        path = self.data_dir / "kubeconfig"
        if not path.exists():
            self.server.write_kubeconfig(path)
        return path

    def client_of(self, user: str, *groups: str) -> Client:
        """A client that acts as someone else."""
        return Client(self.server.local_transport(user, (*groups, "system:authenticated")))


@contextlib.asynccontextmanager
async def running_server(
    *components: Component,
    crds: Iterable[Obj] = (),
    admission: Mapping[Resource, Admission] | None = None,
    data_dir: Path | None = None,
    clock: Clock | None = None,
    node: NodeApi | None = None,
    https: bool = False,
    settings: ApiSettings | None = None,
    service_cidr: str = "",
) -> AsyncIterator[RunningServer]:
    """Runs a server with the definitions, admission and objects of the given components.

    In process only, unless ``https``.
    """
    with contextlib.ExitStack() as stack:
        if data_dir is None:
            data_dir = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kubeling-")))
        definitions = [crd for component in components for crd in component.crds()] + list(crds)
        rules = {
            resource: rule
            for component in components
            for resource, rule in component.admission().items()
        } | dict(admission or {})
        config = ApiServerConfig(
            data_dir, port=0 if https else None, settings=settings or ApiSettings()
        )
        if service_cidr:
            config = dataclasses.replace(config, service_cidr=service_cidr)
        server = ApiServer(config, node=node, admission=rules, crds=definitions, clock=clock)
        await server.start()
        client = Client(server.local_transport(), field_manager="test")
        try:
            for component in components:
                for obj in component.objects():
                    served = server.catalog.of_kind(obj["apiVersion"], obj["kind"])
                    assert served is not None, f"nothing serves {obj['kind']}"
                    with contextlib.suppress(AlreadyExists):
                        await client.create(served.resource, obj)
            yield RunningServer(server, client, data_dir)
        finally:
            await client.close()
            await server.stop()

"""The embedded API server: what it is made of, and its life from start to stop."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kubeling.apiserver.accounts import TokenRequests
from kubeling.apiserver.admission import AdmissionChain
from kubeling.apiserver.aggregation.assembly import Aggregation
from kubeling.apiserver.aggregation.delegate import Delegates
from kubeling.apiserver.api import Api, Handle, SubresourceHandler
from kubeling.apiserver.audit.assembly import auditing
from kubeling.apiserver.authentication import authentication
from kubeling.apiserver.bootstrap import bootstrap
from kubeling.apiserver.builtin_catalog import builtin_resources
from kubeling.apiserver.catalog import Catalog
from kubeling.apiserver.certificates.signing import CertificateSigning
from kubeling.apiserver.checks import server_checks
from kubeling.apiserver.converted import ConvertedResources
from kubeling.apiserver.database import ArtifactError
from kubeling.apiserver.discovery import Discovery
from kubeling.apiserver.documents import OpenApiDocuments
from kubeling.apiserver.evictions import Evictions
from kubeling.apiserver.execution import ExecHandler
from kubeling.apiserver.flowcontrol.dangling import DanglingSchemas
from kubeling.apiserver.flowcontrol.inflight import InFlightLimit
from kubeling.apiserver.kubeconfig import write_kubeconfig
from kubeling.apiserver.legacytokens import LegacyTokens
from kubeling.apiserver.local import LocalTransport
from kubeling.apiserver.logs import LogHandler
from kubeling.apiserver.metrics import render_metrics
from kubeling.apiserver.node import NodeApi
from kubeling.apiserver.plain import Plain
from kubeling.apiserver.podhandlers import PodHandlers
from kubeling.apiserver.policies.enforcement import Policies
from kubeling.apiserver.portforward import PortForwardHandler
from kubeling.apiserver.proxy import ProxyHandler
from kubeling.apiserver.rbac import Rbac
from kubeling.apiserver.registry import Registry
from kubeling.apiserver.requests import Answer, ApiRequest
from kubeling.apiserver.reviews import Reviews
from kubeling.apiserver.settings import ApiSettings
from kubeling.apiserver.shapes import CustomShapes
from kubeling.apiserver.storage import Store
from kubeling.apiserver.tls import Authority
from kubeling.apiserver.tokens import Tokens
from kubeling.apiserver.upkeep import Upkeep
from kubeling.apiserver.usage import UsageHandler, usage_resources
from kubeling.apiserver.user import ADMIN, User
from kubeling.apiserver.verbs import Verbs
from kubeling.apiserver.webhooks.client import WebhookClient
from kubeling.apiserver.webhooks.connections import review_request
from kubeling.apiserver.webhooks.conversion import Converter
from kubeling.apiserver.webhooks.dispatch import AdmissionWebhooks
from kubeling.apiserver.webhooks.index import WebhookIndex
from kubeling.kube.admission import Admission
from kubeling.kube.clock import Clock, SystemClock
from kubeling.kube.errors import ApiError
from kubeling.kube.objects import Obj
from kubeling.kube.resources import Resource

if TYPE_CHECKING:
    from kubeling.apiserver.audit.auditor import Auditor
    from kubeling.apiserver.http import HttpServer
    from kubeling.apiserver.oidc.issuers import Issuers

__all__ = ["ApiServer", "ApiServerConfig"]

log = logging.getLogger(__name__)

_HOUSEKEEPING_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class ApiServerConfig:
    """How to run one server.

    ``data_dir`` holds the objects and the keys; who may use it at a time is the caller's business.
    ``port`` 0 takes a free one, ``None`` serves this process only.
    """

    data_dir: Path
    host: str = "127.0.0.1"
    port: int | None = None
    settings: ApiSettings = field(default_factory=ApiSettings)
    service_cidr: str = "10.96.0.0/16"
    """The range that Services get their addresses from; its first is that of ``kubernetes``."""
    power_loss_safe: bool = False
    """Whether a write waits for the disk itself; without, it survives the death of the process."""


class ApiServer:
    """One API server. :meth:`start` it, use it through transports, :meth:`stop` it."""

    def __init__(
        self,
        config: ApiServerConfig,
        *,
        node: NodeApi | None = None,
        admission: Mapping[Resource, Admission] | None = None,
        crds: Iterable[Obj] = (),
        clock: Clock | None = None,
    ) -> None:
        self.config = config
        self.clock = clock or SystemClock()
        self.running = False
        self._node = node
        self._rooms = dict(admission or {})
        self._crds: Sequence[Obj] = list(crds)
        self._tasks: list[asyncio.Task[None]] = []
        self._http: HttpServer | None = None
        self._proxy: ProxyHandler | None = None
        self._webhooks: WebhookClient | None = None
        self.issuers: Issuers | None = None
        self._auditor: Auditor | None = None
        self._aggregation: Aggregation | None = None
        self.port = 0

    async def start(self) -> None:
        """Opens the store and serves.

        Raises ``ArtifactError`` where the data cannot be used, ``SettingsError`` where a setting
        cannot be, and :class:`OSError` where the address is taken.
        """
        self.store = Store.open(
            self.config.data_dir / "objects.db", power_loss_safe=self.config.power_loss_safe
        )
        self.store.start()
        try:
            self.authority = _authority(self.config.data_dir / "pki")
            await self._serve()
        except BaseException:
            await self.stop()
            raise

    async def _serve(self) -> None:
        authority = self.authority.certificate
        front_proxy = _authority(self.config.data_dir / "pki" / "front-proxy")
        builtin = (*builtin_resources(authority), *usage_resources())
        shapes = CustomShapes(self._crds)
        self.catalog = Catalog(builtin, shapes.of, self.store.finish_watches)
        self.store.subscribe(
            "apiextensions.k8s.io/customresourcedefinitions", self.catalog.on_definition
        )
        self.rbac = Rbac(self.store)
        self.tokens = Tokens(self.authority, self.store, self.clock)
        checks = server_checks(
            self.store, self.catalog, self.rbac, self.clock, self.config.service_cidr
        )
        self._webhooks = WebhookClient(self.store)
        converter = Converter(self._webhooks)
        self._hooks = AdmissionWebhooks(
            self.store,
            WebhookIndex(self.store, self.catalog),
            self._webhooks,
            converter,
            self.rbac,
        )
        policies = Policies(self.store, self.catalog, self.rbac)
        chain = AdmissionChain(self.store, self._rooms, self._hooks, checks, policies)
        self.registry = Registry(self.store, self.catalog, chain, self.clock)
        self._converted = ConvertedResources(self.registry, converter)
        self._upkeep = Upkeep(self.registry)
        self._certificates = CertificateSigning(self.registry, self.authority, self._upkeep)
        DanglingSchemas(self.registry, self._upkeep)
        LegacyTokens(self.registry, self.tokens, authority, self._upkeep)
        self._aggregation = aggregation = Aggregation(self.registry, front_proxy, authority)
        own = aggregation.objects()
        await bootstrap(self.store, self.catalog, self.clock, shapes.portable, own)
        await aggregation.begin()
        await self._upkeep.aggregate()
        settings = self.config.settings
        self._authenticator, self.issuers = authentication(settings, self.tokens, self.clock)
        self._auditor = auditing(settings, self.config.data_dir, self.rbac, self.clock)
        self._stand_around(self._handler(aggregation.delegates).handle)
        self.running = True
        self._tasks = [
            asyncio.create_task(self._upkeep.run(), name="apiserver upkeep"),
            asyncio.create_task(self._keep_house(), name="apiserver housekeeping"),
            asyncio.create_task(aggregation.run(), name="apiserver aggregation"),
        ]
        if self.issuers is not None:
            self._tasks.append(asyncio.create_task(self.issuers.run(), name="token issuers"))
        if self.config.port is not None:
            await self._listen(self.config.port)

    def _stand_around(self, handle: Handle) -> None:
        """Bounds what clients ask at once, and records what is asked.

        Clients are kept from overwhelming the server; controllers within it are not clients.
        """
        settings = self.config.settings
        limit = InFlightLimit(
            settings.max_requests_inflight, settings.max_mutating_requests_inflight
        )
        self._handle, self._handle_client = handle, limit.around(handle)
        if self._auditor is not None:
            self._handle = self._auditor.around(self._handle)
            self._handle_client = self._auditor.around(self._handle_client)

    def _handler(self, delegates: Delegates) -> Api:
        self._proxy = proxy = ProxyHandler(self.registry)
        plain = Plain(
            Discovery(self.catalog, delegates, self.config.host),
            OpenApiDocuments(self.catalog),
            self.tokens,
            self._metrics,
        )
        return Api(
            self.catalog,
            Verbs(self.registry, self._converted, self.rbac),
            self.rbac,
            plain.handle,
            self._special(proxy),
            partial(review_request, self._hooks),
            self.clock,
            delegates,
        )

    def _special(self, proxy: ProxyHandler) -> dict[tuple[str, str], SubresourceHandler]:
        """Who answers what is not an object of its own."""
        reviews = Reviews(self.rbac, self._authenticator)
        pods = PodHandlers(self.registry)
        commands = ExecHandler(self.registry, self._node)
        usage = UsageHandler(self.registry, self._node)
        authorization, authentication = "authorization.k8s.io", "authentication.k8s.io"
        return {
            ("/pods", "log"): LogHandler(self.registry, self._node).handle,
            ("/pods", "exec"): commands.exec,
            ("/pods", "attach"): commands.attach,
            ("/pods", "portforward"): PortForwardHandler(self.registry, self._node).handle,
            ("/pods", "binding"): pods.bind,
            ("/pods", "eviction"): Evictions(self.registry).handle,
            ("/pods", "proxy"): proxy.handle,
            ("/services", "proxy"): proxy.handle,
            ("/serviceaccounts", "token"): TokenRequests(self.registry, self.tokens).handle,
            ("metrics.k8s.io/pods", ""): usage.handle,
            ("metrics.k8s.io/nodes", ""): usage.handle,
            (f"{authentication}/tokenreviews", ""): reviews.token,
            (f"{authentication}/selfsubjectreviews", ""): reviews.myself,
            (f"{authorization}/subjectaccessreviews", ""): reviews.access,
            (f"{authorization}/localsubjectaccessreviews", ""): reviews.access,
            (f"{authorization}/selfsubjectaccessreviews", ""): reviews.own_access,
            (f"{authorization}/selfsubjectrulesreviews", ""): reviews.own_rules,
        }

    async def _listen(self, port: int) -> None:
        from kubeling.apiserver.http import HttpServer

        self._http = HttpServer(self._handle_client, self._authenticator, self.rbac, self._auditor)
        inside = str(ipaddress.ip_network(self.config.service_cidr)[1])
        context = self.authority.server_context(self.config.host, self.clock.now(), [inside])
        self.port = await self._http.start(self.config.host, port, context)

    async def stop(self) -> None:
        """Ends all watches, commits what is under way, and closes the store."""
        self.running = False
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.store.end_watches()
        if self._http is not None:
            await self._http.stop()
        if self._proxy is not None:
            await self._proxy.close()
        if self._webhooks is not None:
            await self._webhooks.close()
        if self.issuers is not None:
            await self.issuers.close()
        if self._auditor is not None:
            self._auditor.close()
        if self._aggregation is not None:
            await self._aggregation.close()
        await self.store.close()

    @property
    def audited(self) -> bool:
        """Whether requests are recorded."""
        return self._auditor is not None

    @property
    def url(self) -> str:
        """Where the server listens."""
        host = self.config.host if self.config.host not in ("0.0.0.0", "::", "") else "127.0.0.1"
        return f"https://[{host}]:{self.port}" if ":" in host else f"https://{host}:{self.port}"

    async def handle(self, request: ApiRequest) -> Answer:
        """Answers one request of an authenticated user."""
        return await self._handle(request)

    def local_transport(
        self, user: str = ADMIN.name, groups: Sequence[str] = ADMIN.groups
    ) -> LocalTransport:
        """A transport for this process, acting as the given user."""
        return LocalTransport(self, User(user, tuple(groups)))

    def write_kubeconfig(self, path: Path) -> None:
        """Writes a kubeconfig for the administrator."""
        identity = self.authority.client("kubeling:admin", ("system:masters",), self.clock.now())
        write_kubeconfig(path, self.url, self.authority.certificate, identity)

    def _metrics(self) -> bytes:
        answers = self._http.requests if self._http is not None else {}
        return render_metrics(self.store, answers)

    async def _keep_house(self) -> None:
        while True:
            await asyncio.sleep(_HOUSEKEEPING_SECONDS)
            self.store.forget()
            try:
                await self._upkeep.expire_events()
                await self._certificates.expire()
            except ApiError as error:
                log.warning("housekeeping: %s", error)


def _authority(folder: Path) -> Authority:
    try:
        return Authority(folder)
    except OSError as error:
        raise ArtifactError(f"cannot keep keys in {folder}: {error.strerror}") from error

"""The server's own rules about writes, in the order they are asked."""

from __future__ import annotations

from kubeling.apiserver.admission import Check
from kubeling.apiserver.catalog import Catalog
from kubeling.apiserver.certificates.check import CertificateCheck
from kubeling.apiserver.claimgrowth import ClaimGrowth
from kubeling.apiserver.definitionnames import NameClaims
from kubeling.apiserver.escalation import EscalationCheck
from kubeling.apiserver.podlimits import LimitRanges
from kubeling.apiserver.podpriority import PriorityClasses
from kubeling.apiserver.podsecurity.admission import PodSecurity
from kubeling.apiserver.rbac import Rbac
from kubeling.apiserver.services import ServiceAddresses
from kubeling.apiserver.storage import Store
from kubeling.kube.clock import Clock

__all__ = ["server_checks"]


def server_checks(
    store: Store, catalog: Catalog, rbac: Rbac, clock: Clock, service_cidr: str
) -> tuple[Check, ...]:
    """All of them."""
    return (
        EscalationCheck(rbac),
        ServiceAddresses(store, service_cidr),
        NameClaims(catalog, clock),
        CertificateCheck(rbac, clock),
        LimitRanges(store),
        PriorityClasses(store),
        PodSecurity(store),
        ClaimGrowth(store),
    )

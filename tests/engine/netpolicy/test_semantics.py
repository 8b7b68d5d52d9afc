"""What policies say, held against the definition of NetworkPolicy read word by word."""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kubeling.engine.netpolicy.compiling import isolations
from kubeling.engine.netpolicy.members import name_server, pod_member
from kubeling.engine.netpolicy.spans import contains, number_of, spans_of_block, united
from kubeling.engine.netpolicy.verdicts import Verdicts
from kubeling.kube.objects import Obj

NODE = "10.244.0.1"
DNS = "10.96.0.2"
OUTSIDE = "192.0.2.7"


# --- the model: straight from the API reference, no compiling, no caching ---------------------


@dataclass
class Cluster:
    pods: list[Obj]
    policies: list[Obj]
    namespaces: dict[str, dict[str, str]]

    def pod_at(self, address: str) -> Obj | None:
        return next((p for p in self.pods if p["status"]["podIP"] == address), None)


def matches(selector: Obj, labels: dict[str, str]) -> bool:
    if any(labels.get(k) != v for k, v in selector.get("matchLabels", {}).items()):
        return False
    for term in selector.get("matchExpressions", []):
        present = term["key"] in labels
        match term["operator"]:
            case "In" if labels.get(term["key"]) not in term["values"]:
                return False
            case "NotIn" if labels.get(term["key"]) in term["values"]:
                return False
            case "Exists" if not present:
                return False
            case "DoesNotExist" if present:
                return False
    return True


def allowed(cluster: Cluster, source: str, target: str, protocol: str, port: int) -> bool:
    if source == target or NODE in (source, target):
        return True
    return side(cluster, "Egress", source, target, target, protocol, port) and side(
        cluster, "Ingress", target, source, target, protocol, port
    )


def side(
    cluster: Cluster, kind: str, subject: str, peer: str, target: str, protocol: str, port: int
) -> bool:
    pod = cluster.pod_at(subject)
    if pod is None:
        return True
    about = [
        policy
        for policy in cluster.policies
        if kind in policy["spec"]["policyTypes"]
        and policy["metadata"]["namespace"] == pod["metadata"]["namespace"]
        and matches(policy["spec"]["podSelector"], pod["metadata"]["labels"])
    ]
    if not about:
        return True
    peers, rules = ("to", "egress") if kind == "Egress" else ("from", "ingress")
    return any(
        any_peer(cluster, policy, rule.get(peers), peer)
        and any_port(cluster, rule.get("ports"), target, protocol, port)
        for policy in about
        for rule in policy["spec"].get(rules, [])
    )


def any_peer(cluster: Cluster, policy: Obj, peers: list[Obj] | None, address: str) -> bool:
    return not peers or any(is_peer(cluster, policy, peer, address) for peer in peers)


def is_peer(cluster: Cluster, policy: Obj, peer: Obj, address: str) -> bool:
    if block := peer.get("ipBlock"):
        number = ipaddress.ip_address(address)
        return number in ipaddress.ip_network(block["cidr"]) and not any(
            number in ipaddress.ip_network(exception) for exception in block.get("except", [])
        )
    if address == DNS:
        where, labels = "kube-system", {"k8s-app": "kube-dns"}
    elif (pod := cluster.pod_at(address)) is not None:
        where, labels = pod["metadata"]["namespace"], pod["metadata"]["labels"]
    else:
        return False
    if "namespaceSelector" in peer:
        if not matches(peer["namespaceSelector"], cluster.namespaces.get(where, {})):
            return False
    elif where != policy["metadata"]["namespace"]:
        return False
    return matches(peer.get("podSelector", {}), labels)


def any_port(
    cluster: Cluster, ports: list[Obj] | None, target: str, protocol: str, port: int
) -> bool:
    if not ports:
        return True
    for entry in ports:
        if entry["protocol"] != protocol:
            continue
        wanted = entry.get("port")
        if wanted is None:
            return True
        if isinstance(wanted, str):
            if (protocol, wanted, port) in named_ports(cluster, target):
                return True
        elif wanted <= port <= entry.get("endPort", wanted):
            return True
    return False


def named_ports(cluster: Cluster, address: str) -> Iterable[tuple[str, str, int]]:
    if address == DNS:
        return [("UDP", "dns", 53), ("TCP", "dns-tcp", 53)]
    pod = cluster.pod_at(address)
    ports = pod["spec"]["containers"][0]["ports"] if pod else []
    return [(p["protocol"], p["name"], p["containerPort"]) for p in ports]


# --- clusters ---------------------------------------------------------------------------------

PLACES = ("a", "b", "kube-system")
PORTS = (53, 79, 80, 81, 8080)
PROTOCOLS = ("TCP", "UDP", "SCTP")
NAMES = ("web", "dns")
labels = st.dictionaries(st.sampled_from(["app", "tier"]), st.sampled_from(["x", "y"]))
expressions = st.one_of(
    st.fixed_dictionaries(
        {
            "key": st.sampled_from(["app", "tier"]),
            "operator": st.sampled_from(["In", "NotIn"]),
            "values": st.lists(st.sampled_from(["x", "y"]), min_size=1, max_size=2),
        }
    ),
    st.fixed_dictionaries(
        {
            "key": st.sampled_from(["app", "tier"]),
            "operator": st.sampled_from(["Exists", "DoesNotExist"]),
        }
    ),
)
selectors = st.fixed_dictionaries(
    {}, optional={"matchLabels": labels, "matchExpressions": st.lists(expressions, max_size=1)}
)
blocks = st.sampled_from(
    [
        {"cidr": "0.0.0.0/0"},
        {"cidr": "10.244.0.0/16", "except": ["10.244.0.2/32", "10.244.0.4/31"]},
        {"cidr": "192.0.2.0/24"},
        {"cidr": "0.0.0.0/0", "except": ["192.0.0.0/8", "192.0.2.0/24"]},
    ]
)
peers = st.one_of(
    st.builds(lambda block: {"ipBlock": block}, blocks),
    st.fixed_dictionaries({"podSelector": selectors}),
    st.fixed_dictionaries({"namespaceSelector": selectors}),
    st.fixed_dictionaries({"namespaceSelector": selectors, "podSelector": selectors}),
)


@st.composite
def policy_ports(draw: st.DrawFn) -> Obj:
    entry: Obj = {"protocol": draw(st.sampled_from(PROTOCOLS))}
    match draw(st.sampled_from(["all", "name", "number", "range"])):
        case "name":
            entry["port"] = draw(st.sampled_from(NAMES))
        case "number":
            entry["port"] = draw(st.sampled_from(PORTS))
        case "range":
            entry |= {"port": 79, "endPort": draw(st.sampled_from([79, 80, 65535]))}
    return entry


def rules(peer_field: str) -> st.SearchStrategy[list[Obj]]:
    return st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                peer_field: st.lists(peers, max_size=2),
                "ports": st.lists(policy_ports(), max_size=2),
            },
        ),
        max_size=2,
    )


policies = st.builds(
    lambda where, spec: {"metadata": {"namespace": where, "name": "p"}, "spec": spec},
    st.sampled_from(PLACES),
    st.fixed_dictionaries(
        {
            "podSelector": selectors,
            "policyTypes": st.lists(
                st.sampled_from(["Ingress", "Egress"]), min_size=1, max_size=2, unique=True
            ),
        },
        optional={"ingress": rules("from"), "egress": rules("to")},
    ),
)


@st.composite
def clusters(draw: st.DrawFn) -> Cluster:
    pods = [
        {
            "metadata": {"namespace": draw(st.sampled_from(PLACES)), "labels": draw(labels)},
            "spec": {"containers": [{"ports": draw(container_ports)}]},
            "status": {"podIP": f"10.244.0.{number}"},
        }
        for number in range(2, 2 + draw(st.integers(1, 4)))
    ]
    return Cluster(
        pods,
        draw(st.lists(policies, max_size=4)),
        {place: draw(labels) for place in PLACES if draw(st.booleans())},
    )


container_ports = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(NAMES),
            "containerPort": st.sampled_from(PORTS),
            "protocol": st.sampled_from(PROTOCOLS),
        }
    ),
    max_size=2,
    unique_by=lambda port: (port["name"], port["protocol"]),
)


def verdicts_of(cluster: Cluster) -> Verdicts:
    members = [pod_member(pod, pod["status"]["podIP"]) for pod in cluster.pods]
    found = isolations(members, [name_server(DNS)], cluster.policies, cluster.namespaces)
    return Verdicts(found, spans_of_block(f"{NODE}/32"))


@given(clusters(), st.data())
def test_a_connection_is_allowed_exactly_when_the_definition_says_so(
    cluster: Cluster, data: st.DataObject
) -> None:
    verdicts = verdicts_of(cluster)
    addresses = [NODE, DNS, OUTSIDE, *(pod["status"]["podIP"] for pod in cluster.pods)]
    protocol, port = data.draw(st.sampled_from(PROTOCOLS)), data.draw(st.sampled_from(PORTS))
    for source in addresses:
        for target in addresses:
            assert verdicts.allows(number_of(source), number_of(target), protocol, port) == allowed(
                cluster, source, target, protocol, port
            ), (source, target, protocol, port)


@given(clusters(), st.data())
def test_a_place_is_closed_exactly_when_nobody_behind_it_may_be_reached(
    cluster: Cluster, data: st.DataObject
) -> None:
    verdicts = verdicts_of(cluster)
    backs = [(pod["status"]["podIP"], 80) for pod in cluster.pods] + [(OUTSIDE, 80), (DNS, 53)]
    behind = data.draw(st.lists(st.sampled_from(backs), min_size=1, max_size=3))
    source = data.draw(st.sampled_from(cluster.pods))["status"]["podIP"]
    place = ("TCP", number_of("10.96.0.77"), 80)
    numbered = [(number_of(address), port) for address, port in behind]
    reachable = any(allowed(cluster, source, a, "TCP", port) for a, port in behind)
    closed = verdicts.closed_to(number_of(source), [(place, numbered)])
    assert closed == (() if reachable else (place,))


small = st.integers(0, 40)


@given(st.lists(st.tuples(small, small).map(lambda ends: (min(ends), max(ends)))))
def test_spans_hold_what_went_in(spans: list[tuple[int, int]]) -> None:
    result = united(spans)
    for number in range(42):
        assert contains(result, number) == any(a <= number <= b for a, b in spans)
    assert all(a[1] + 1 < b[0] for a, b in itertools.pairwise(result))


def test_blocks_reach_from_end_to_end() -> None:
    whole: Any = spans_of_block("0.0.0.0/0")
    assert whole == ((0, 2**32 - 1),)
    assert spans_of_block("0.0.0.0/0", ["128.0.0.0/1"]) == ((0, 2**31 - 1),)
    assert spans_of_block("0.0.0.0/0", ["0.0.0.0/0"]) == ()
    assert spans_of_block("2001:db8::/32") == ()

"""What a pod is called, and which names it knows by itself."""

import os

import pytest
from tests.engine.node import Node, container, pod

from kubeling.engine.hosts import HostNameError, host_name, hosts_file
from kubeling.kube.objects import Obj

DOMAIN = "cluster.local"


def called(**spec: object) -> str:
    return host_name(pod("p", **spec), DOMAIN, "machine")


def test_a_pod_is_called_as_it_says_or_as_it_is_named() -> None:
    assert called() == "p"
    assert called(hostname="db-0") == "db-0"
    assert called(hostname="db-0", hostnameOverride="db.example") == "db.example"
    assert called(hostNetwork=True) == "machine"


def test_a_long_name_is_cut() -> None:
    assert host_name(pod("a" * 62 + "-b"), DOMAIN, "") == "a" * 62


def test_a_pod_can_be_called_by_its_full_name() -> None:
    assert called(subdomain="db", setHostnameAsFQDN=True) == "p.db.default.svc.cluster.local"
    assert called(subdomain="db") == "p"
    assert called(setHostnameAsFQDN=True) == "p"


def test_a_full_name_that_is_too_long_is_refused() -> None:
    why = "is too long \\(64 characters is the max, 90 characters requested\\)"
    with pytest.raises(HostNameError, match=why):
        called(subdomain="x" * 62, setHostnameAsFQDN=True)


def test_the_hosts_file_is_the_kubelet_s_and_knows_the_pod_in_its_subdomain() -> None:
    aliases = [{"ip": "10.1.2.3", "hostnames": ["db", "db.example"]}]
    lines = hosts_file(pod("p", subdomain="s", hostAliases=aliases), "10.0.0.2", DOMAIN, "")
    assert lines.splitlines()[0] == "# Kubernetes-managed hosts file."
    assert lines.splitlines()[-4:] == [
        "10.0.0.2\tp.s.default.svc.cluster.local\tp.s\tp",
        "",
        "# Entries added by HostAliases.",
        "10.1.2.3\tdb\tdb.example",
    ]


def test_on_the_machine_s_network_its_names_are_known() -> None:
    text = hosts_file(pod("p", hostNetwork=True), "10.0.0.2", DOMAIN, "1.2.3.4 build.example")
    assert text == "# Kubernetes-managed hosts file (host network).\n1.2.3.4 build.example\n"


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ({"hostname": "other"}, "other"),
        ({"subdomain": "s", "setHostnameAsFQDN": True}, "p.s.default.svc.cluster.local"),
        ({"hostNetwork": True}, os.uname().nodename),
    ],
)
async def test_programs_see_the_name(node: Node, spec: Obj, name: str) -> None:
    await node.run(
        pod("p", container(script="uname -n; cat /etc/hostname; echo $HOSTNAME"), **spec)
    )
    assert (await node.logs("p")).splitlines() == [name] * 3


async def test_a_name_that_cannot_be_had_keeps_the_pod_waiting(node: Node) -> None:
    spec = {"subdomain": "x" * 62, "setHostnameAsFQDN": True}
    await node.create(pod("p", container(), **spec))
    await node.seen_event("FailedCreatePodSandBox", "Failed to construct FQDN")

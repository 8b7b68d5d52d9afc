"""What a pod's resolver is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kubeling.engine.resolvconf import Resolver, pod_resolver, read_host_resolver
from kubeling.kube.objects import Obj

HOST = Resolver(["192.0.2.53"], ["corp.example"], {"edns0": ""})
DNS = "10.96.0.2"


def resolver(host: Resolver = HOST, server: str = DNS, **spec: Any) -> str:
    pod: Obj = {"metadata": {"namespace": "team"}, "spec": spec}
    return str(pod_resolver(pod, "cluster.local", server, host))


CLUSTER = (
    "nameserver 10.96.0.2\n"
    "search team.svc.cluster.local svc.cluster.local cluster.local corp.example\n"
    "options ndots:5 timeout:3 attempts:5\n"
)
OF_HOST = "nameserver 192.0.2.53\nsearch corp.example\noptions edns0\n"


def test_pods_ask_the_cluster_first() -> None:
    assert resolver() == resolver(dnsPolicy="ClusterFirst") == CLUSTER
    assert resolver(dnsPolicy="ClusterFirstWithHostNet", hostNetwork=True) == CLUSTER


def test_pods_that_ask_as_the_machine_does() -> None:
    assert resolver(dnsPolicy="Default") == OF_HOST
    assert resolver(hostNetwork=True) == "None"
    assert resolver(server="") == OF_HOST


def test_a_server_that_only_the_machine_reaches_is_asked_through_ours() -> None:
    local = Resolver(["127.0.0.11"], ["corp.example"])
    text = "nameserver 10.96.0.2\nsearch corp.example\n"
    assert resolver(local, dnsPolicy="Default") == text
    assert resolver(local, dnsPolicy="Default", hostNetwork=True) == "None"


def test_a_pod_s_own_settings_come_on_top_or_alone() -> None:
    config = {
        "nameservers": ["1.1.1.1"],
        "searches": ["svc.cluster.local", "mine.example"],
        "options": [{"name": "ndots", "value": "2"}, {"name": "use-vc"}],
    }
    assert resolver(dnsConfig=config) == (
        "nameserver 10.96.0.2\n"
        "nameserver 1.1.1.1\n"
        "search team.svc.cluster.local svc.cluster.local cluster.local corp.example mine.example\n"
        "options ndots:2 timeout:3 attempts:5 use-vc\n"
    )
    assert resolver(dnsPolicy="None", dnsConfig=config) == (
        "nameserver 1.1.1.1\nsearch svc.cluster.local mine.example\noptions ndots:2 use-vc\n"
    )


def test_the_machine_s_own_file_or_that_of_its_stub(tmp_path: Path) -> None:
    plain, stub = tmp_path / "resolv.conf", tmp_path / "stub.conf"
    plain.write_text("# by hand\nnameserver 127.0.0.53\noptions edns0 trust-ad\nsearch .\n")
    stub.write_text("nameserver 192.0.2.53\nsearch a.example b.example\n")
    assert read_host_resolver([plain]).servers == ["127.0.0.53"]
    assert read_host_resolver([plain]).searches == []
    assert read_host_resolver([plain, stub]).servers == ["192.0.2.53"]
    assert read_host_resolver([tmp_path / "none"]) == Resolver()

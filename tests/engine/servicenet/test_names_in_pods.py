"""Names as programs in pods look them up (Linux, as root)."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import pytest
from tests.support.network import running_network

from kubeling.kube.objects import new_object
from kubeling.kube.resources import SERVICES

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="pods have networks of their own as root"
)

LOOK_UP = """
import json, socket, sys
def look(name):
    try:
        if name.replace(".", "").isdigit(): return socket.gethostbyaddr(name)[0]
        return socket.gethostbyname_ex(name)[2]
    except OSError: return None
print(json.dumps([look(name) for name in sys.argv[1:]]))
"""


async def test_pods_find_each_other_by_name_and_address() -> None:
    async with running_network() as network:
        await network.client.create(
            SERVICES,
            new_object(
                SERVICES,
                "nodes",
                "default",
                spec={
                    "clusterIP": "None",
                    "selector": {"app": "first"},
                    "ports": [{"name": "web", "port": 80}],
                },
            ),
        )
        first = await network.pod("first", hostname="head", subdomain="nodes")
        web = await network.service("first")
        await network.pod("caller")

        async def look(*names: str) -> Any:
            return json.loads(await network.run_in("caller", "python3", "-c", LOOK_UP, *names))

        dashed = first.replace(".", "-")
        names = ["nodes", "head.nodes", "first.default", f"{dashed}.default.pod", web, "nobody"]
        await network.becomes(
            [[first], [first], [web], [first], "first.default.svc.cluster.local", None],
            lambda: look(*names),
        )
        own = "import socket; print(socket.getfqdn())"
        full = "head.nodes.default.svc.cluster.local"
        assert (await network.run_in("first", "python3", "-c", own)).strip() == full


async def test_a_pod_may_bring_its_own_resolver() -> None:
    async with running_network() as network:
        config = {"nameservers": ["192.0.2.9"], "searches": ["mine.example"]}
        script = "print(open('/etc/resolv.conf').read(), 'ready')"
        spec = {"restartPolicy": "Never", "dnsPolicy": "None", "dnsConfig": config}
        await network.pod("own", script=script, **spec)
        await network.says("own", "nameserver 192.0.2.9\nsearch mine.example\n")

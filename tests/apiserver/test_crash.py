"""A server that is killed loses nothing it acknowledged and leaves nothing half-done."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.apiserver import running_server

from kubeling.apiserver.records import StoreKey
from kubeling.kube.resources import CONFIG_MAPS, NAMESPACES

_WRITER = """
import asyncio, os, sys
from pathlib import Path
from kubeling.apiserver.server import ApiServer, ApiServerConfig
from kubeling.kube.client import Client
from kubeling.kube.resources import CONFIG_MAPS, NAMESPACES

async def write(client, worker):
    number = 0
    while True:
        name = f"w{worker}-{number}"
        await client.create(NAMESPACES, {"metadata": {"name": name}})
        os.write(1, f"created {name}\\n".encode())
        body = {"data": {"seen": "yes"}}
        await client.patch(CONFIG_MAPS, "kube-root-ca.crt", body, name)
        os.write(1, f"patched {name}\\n".encode())
        number += 1

async def main():
    server = ApiServer(ApiServerConfig(Path(sys.argv[1])))
    await server.start()
    client = Client(server.local_transport())
    await asyncio.gather(*(write(client, f"{sys.argv[2]}-{i}") for i in range(8)))

asyncio.run(main())
"""


def _killed_while_writing(data_dir: Path, run: int, acknowledgements: int) -> set[str]:
    """Lets a server write until it acknowledged so much, kills it, returns what it said."""
    process = subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(data_dir), str(run)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(acknowledgements)]
    process.send_signal(signal.SIGKILL)
    rest, _ = process.communicate()
    # A last line that was cut off acknowledges nothing.
    complete = b"".join(lines) + rest[: rest.rfind(b"\n") + 1]
    return set(complete.decode().splitlines())


@pytest.mark.parametrize("acknowledgements", [1, 37, 250])
async def test_sigkill_under_load(tmp_path: Path, acknowledgements: int) -> None:
    said: set[str] = set()
    for run in range(3):
        said |= _killed_while_writing(tmp_path, run, acknowledgements)
    assert len(said) >= 3 * acknowledgements
    async with running_server(data_dir=tmp_path) as running:
        found = await running.client.list(NAMESPACES)
        names = {obj["metadata"]["name"] for obj in found.items}
        for line in said:
            word, name = line.split()
            assert name in names, "an acknowledged namespace is gone"
            if word == "patched":
                data = (await running.client.get(CONFIG_MAPS, "kube-root-ca.crt", name))["data"]
                assert data["seen"] == "yes", "an acknowledged change is gone"
        for name in names:
            store = running.server.store
            for resource, companion in (
                ("/serviceaccounts", "default"),
                ("/configmaps", "kube-root-ca.crt"),
            ):
                record = store.get(StoreKey(resource, name, companion))
                assert record is not None, f"{name} was left half-made"

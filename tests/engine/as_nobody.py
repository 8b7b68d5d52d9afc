"""What a user without any rights sees of a pod: printed as JSON by a process of that user."""

import asyncio
import json
import os
import sys
from pathlib import Path

from tests.engine.memory_api import MemoryApi
from tests.engine.node import container, pod, running_node

from kubeling.kube.resources import PODS


async def main(folder: Path) -> dict[str, object]:
    async with running_node(folder / "data", MemoryApi()) as node:
        context = {"runAsUser": 1234, "runAsGroup": 5}
        main = container(script="id -u; exec sleep 4321", securityContext=context)
        await node.create(pod("p", main))
        await node.running("p")
        await node.says("p", "\n")
        session = await node.engine.node_api.exec("default", "p", "", ["id", "-u"])
        executed = b"".join([data async for _, data in session.output()])
        look = container("look", "pgrep -x sleep -a", targetContainerName="main")
        await node.client.patch(PODS, "p", {"spec": {"ephemeralContainers": [look]}}, "default")
        await node.until("p", lambda p: "terminated" in str(
            p["status"].get("ephemeralContainerStatuses")))  # fmt: skip
        return {
            "user": os.geteuid(),
            "walls": node.engine.walls.users,
            "said": await node.logs("p", "main"),
            "executed": executed.decode(),
            "looked": await node.logs("p", "look"),
        }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(Path(sys.argv[1])))))

"""A workflow whose nodes are in the metadata database looks like any other through the API."""

from __future__ import annotations

import json

from tests.workflows.api.conftest import Api
from tests.workflows.api.test_workflows import archived
from tests.workflows.test_offload import workflow

from kubeling.workflows.resources import WORKFLOWS


async def test_its_nodes_are_there_wherever_it_is_read(api: Api) -> None:
    await api.post("workflows/default", {"workflow": workflow()})
    await api.cluster.seen("large", lambda wf: bool(wf["status"].get("offloadNodeStatusVersion")))
    stored = await api.cluster.client.get(WORKFLOWS, "large", "default")
    assert "nodes" not in stored["status"]

    def waits(nodes: dict[str, object]) -> bool:
        return any(node["displayName"] == "wait" for node in nodes.values())  # type: ignore[index]

    # The steps before it have ended, so it is there.
    await api.cluster.seen("large", lambda wf: wf["status"].get("progress") == "15/15")
    assert waits((await api.get("workflows/default/large"))["status"]["nodes"])
    [listed] = (await api.get("workflows/default"))["items"]
    assert waits(listed["status"]["nodes"])
    short = await api.get("workflows/default", fields="items.metadata.name")
    assert short["items"][0]["metadata"] == {"name": "large"}
    async with api.http.get("/api/v1/workflow-events/default") as response:
        first = b""
        while not first.endswith(b"\n"):
            first += await response.content.readany()
    assert waits(json.loads(first.split(b"\n")[0])["result"]["object"]["status"]["nodes"])
    await api.put("workflows/default/large/resume")
    done = await archived(api, "large")
    assert done["status"]["phase"] == "Succeeded"
    uid = done["metadata"]["uid"]
    await api.delete("workflows/default/large")
    kept = await api.get(f"archived-workflows/{uid}")
    assert len(kept["status"]["nodes"]) == 21
    assert "offloadNodeStatusVersion" not in kept["status"]

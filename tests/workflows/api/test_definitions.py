"""Templates, CronWorkflows, limits and artifacts through the Argo Server API."""

from __future__ import annotations

import io
import tarfile

import pytest
from tests.workflows.api.conftest import Api
from tests.workflows.api.test_workflows import TEMPLATE, archived, hello

from kubeling.kube.objects import Obj, deep_copy
from kubeling.kube.resources import SECRETS
from kubeling.workflows.resources import WORKFLOWS

CRON: Obj = {
    "metadata": {"name": "greet"},
    "spec": {"schedules": ["0 6 * * *"], "workflowSpec": hello()["spec"]},
}


@pytest.mark.parametrize(
    ("path", "body", "given"),
    [
        ("workflow-templates/default", "template", TEMPLATE),
        ("cluster-workflow-templates", "template", TEMPLATE),
        ("cron-workflows/default", "cronWorkflow", CRON),
    ],
)
async def test_definitions_are_kept(api: Api, path: str, body: str, given: Obj) -> None:
    linted = await api.post(f"{path}/lint", {body: deep_copy(given)})
    assert linted["spec"] == given["spec"]
    assert (await api.get(path))["items"] == []
    made = await api.post(path, {body: deep_copy(given)})
    assert made["metadata"]["name"] == "greet"
    assert (await api.post(path, {body: deep_copy(given)}, 409))["code"] == 6
    changed = deep_copy(given)
    changed["metadata"]["labels"] = {"team": "a"}
    assert (await api.put(f"{path}/greet", {body: changed}))["metadata"]["labels"] == {"team": "a"}
    found = await api.get(f"{path}/greet")
    assert found["metadata"]["labels"] == {"team": "a"}
    listed = await api.get(path, listOptions__labelSelector="team=a")
    assert [obj["metadata"]["name"] for obj in listed["items"]] == ["greet"]
    assert await api.delete(f"{path}/greet") == {}
    assert (await api.get(f"{path}/greet", 404))["code"] == 5
    assert "not found in the request body" in (await api.post(path, {}, 400))["message"]


async def test_templates_are_found_by_a_part_of_their_names(api: Api) -> None:
    for number in range(3):
        template = deep_copy(TEMPLATE)
        template["metadata"]["name"] = f"t-{number}"
        await api.post("workflow-templates/default", {"template": template})
    path = "workflow-templates/default"
    first = await api.get(path, namePattern="t-", listOptions__limit="2")
    more = first["metadata"]["continue"]
    second = await api.get(
        path, namePattern="t-", listOptions__limit="2", listOptions__continue=more
    )
    names = [obj["metadata"]["name"] for obj in first["items"] + second["items"]]
    assert sorted(names) == ["t-0", "t-1", "t-2"]
    assert (await api.get(path, namePattern="x"))["items"] == []


async def test_a_cron_workflow_is_suspended_and_run_by_hand(api: Api) -> None:
    await api.post("cron-workflows/default", {"cronWorkflow": deep_copy(CRON)})
    assert (await api.put("cron-workflows/default/greet/suspend"))["spec"]["suspend"] is True
    assert (await api.put("cron-workflows/default/greet/resume"))["spec"]["suspend"] is False
    request = {"resourceKind": "cronwf", "resourceName": "greet"}
    made = await api.post("workflows/default/submit", request)
    assert made["metadata"]["labels"]["workflows.argoproj.io/cron-workflow"] == "greet"
    await api.cluster.ended(made["metadata"]["name"])


async def test_limits_of_semaphores_are_values_of_config_maps(api: Api) -> None:
    limit = {"cmName": "limits", "key": "k", "limit": 3}
    answer = {**limit, "namespace": "default", "type": "CONFIGMAP"}
    assert (await api.put("sync/default/k", {"cmName": "limits", "limit": 1}, 404))["code"] == 5
    assert await api.post("sync/default", limit) == answer
    assert (await api.post("sync/default", limit, 409))["code"] == 6
    assert await api.get("sync/default/k", cmName="limits") == answer
    changed = await api.put("sync/default/k", {"cmName": "limits", "limit": 5})
    assert changed["limit"] == 5
    assert await api.delete("sync/default/k", cmName="limits") == {}
    assert (await api.get("sync/default/k", 404, cmName="limits"))["code"] == 5
    zero = await api.post("sync/default", {**limit, "limit": 0}, 400)
    assert zero["message"] == "limit must be greater than zero"
    other = await api.post("sync/default", {**limit, "type": "ETCD"}, 400)
    assert other["message"] == "unsupported sync config type: ETCD"


async def test_limits_of_semaphores_are_rows_of_the_database(api: Api) -> None:
    limit = {"key": "k", "limit": 3, "type": "DATABASE"}
    answer = {**limit, "cmName": "", "namespace": "default"}
    assert (await api.put("sync/default/k", limit, 404))["code"] == 5
    assert await api.post("sync/default", limit) == answer
    assert (await api.post("sync/default", {**limit, "type": 1}, 409))["code"] == 6
    assert await api.get("sync/default/k", type="DATABASE") == answer
    assert (await api.get("sync/kubeflow/k", 404, type="DATABASE"))["code"] == 5
    assert (await api.put("sync/default/k", {**limit, "limit": 5}))["limit"] == 5
    nobody = await api.named("nobody")
    assert (await nobody.get("sync/default/k", 403, type="DATABASE"))["code"] == 7
    assert await api.delete("sync/default/k", type="DATABASE") == {}
    assert (await api.delete("sync/default/k", 404, type="DATABASE"))["code"] == 5


LEAVING = """
mkdir -p out/sub && echo '<p>' > 'out/a&b.html' && echo deep > out/sub/deep.txt
ln -s /etc/passwd out/secret; echo text > one.txt
"""


async def test_artifacts_are_downloaded_and_looked_into(api: Api) -> None:
    workflow = hello("leaving")
    say = workflow["spec"]["templates"][0]
    say["container"]["command"] = ["sh", "-c", LEAVING]
    say["outputs"] = {
        "artifacts": [
            {"name": "one", "path": f"{api.cluster.workspace}/one.txt"},
            {"name": "folder", "path": f"{api.cluster.workspace}/out"},
        ]
    }
    say["inputs"] = {
        "artifacts": [{"name": "given", "path": "/tmp/given", "raw": {"data": "raw text"}}]
    }
    made = await api.post("workflows/default", {"workflow": workflow})
    uid = made["metadata"]["uid"]
    done = await archived(api, "leaving")
    assert done["status"]["phase"] == "Succeeded", done["status"]

    async def read(path: str, status: int = 200) -> bytes:
        async with api.http.get(path) as response:
            body = await response.read()
            assert response.status == status, body
            return body

    assert await read("/artifacts/default/leaving/leaving/one") == b"text\n"
    assert await read(f"/artifacts-by-uid/{uid}/leaving/one") == b"text\n"
    assert await read("/input-artifacts/default/leaving/leaving/given") == b"raw text"
    assert await read(f"/input-artifacts-by-uid/{uid}/leaving/given") == b"raw text"
    packed = await read("/artifacts/default/leaving/leaving/folder")
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names == {"", "a&b.html", "secret", "sub", "sub/deep.txt"}
    files = "/artifact-files/default/workflows/leaving/leaving/outputs"
    assert await read(f"{files}/one") == b"text\n"
    listing = (await read(f"{files}/folder")).decode()
    assert '<a href="./a%26b.html">a&amp;b.html</a>' in listing
    assert '<a href="./sub/">sub/</a>' in listing
    assert await read(f"{files}/folder/sub/deep.txt") == b"deep\n"
    kept = f"/artifact-files/default/archived-workflows/{uid}/leaving/outputs"
    assert await read(f"{kept}/folder/sub/deep.txt") == b"deep\n"
    await read(f"{files}/folder/secret", 404)
    await read(f"{files}/folder/%2e%2e/%2e%2e/%2e%2e/metadata.db", 404)
    await read(f"{files}/nothing", 404)
    await read("/artifacts/default/leaving/nobody/one", 404)
    await read(f"/artifact-files/other/archived-workflows/{uid}/leaving/outputs/one", 400)


async def test_artifacts_of_other_places_are_loaded_with_the_caller_s_rights(api: Api) -> None:
    workflow = {**hello("far"), "spec": {**hello()["spec"], "suspend": True}}
    await api.post("workflows/default", {"workflow": workflow})
    url = str(api.http.make_url("/api/v1/info"))
    secret = {"name": "login", "key": "user"}
    far = [
        {"name": "open", "http": {"url": url}},
        {
            "name": "closed",
            "http": {
                "url": url,
                "auth": {"basicAuth": {"usernameSecret": secret, "passwordSecret": secret}},
            },
        },
        {"name": "gone", "http": {"url": f"{url}/nothing"}},
    ]
    node = {"id": "far", "name": "far", "type": "Pod", "inputs": {"artifacts": far}}
    client = api.cluster.client
    await client.patch_status(WORKFLOWS, "far", {"nodes": {"far": node}}, "default")

    async def read(name: str, status: int, token: str = "") -> bytes:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        path = f"/input-artifacts/default/far/far/{name}"
        async with api.http.get(path, headers=headers) as response:
            body = await response.read()
            assert response.status == status, body
            return body

    assert b"managedNamespace" in await read("open", 200)
    await read("gone", 404)
    assert b"not found" in await read("closed", 404)
    made = {"metadata": {"name": "login"}, "stringData": {"user": "me"}}
    await client.create(SECRETS, made, "default")
    assert b"managedNamespace" in await read("closed", 200)
    reader = await api.named("reader")
    await api.permit("reader", "argoproj.io", "workflows", "get")
    assert b"managedNamespace" in await read("open", 200, reader.token)
    await read("closed", 403, reader.token)

"""Workflows through the Argo Server API."""

from __future__ import annotations

import asyncio
import json

from tests.workflows.api.conftest import Api

from kubeling.kube.objects import Obj


def hello(name: str = "", text: str = "hello", **metadata: object) -> Obj:
    named: Obj = {"name": name} if name else {"generateName": "hello-"}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {**named, **metadata},
        "spec": {
            "entrypoint": "say",
            "arguments": {"parameters": [{"name": "text", "value": text}]},
            "templates": [
                {
                    "name": "say",
                    "container": {
                        "image": "busybox",
                        "command": ["echo", "{{workflow.parameters.text}}"],
                    },
                }
            ],
        },
    }


async def archived(api: Api, name: str) -> Obj:
    """The workflow, when it has ended and is in the archive."""
    label = "workflows.argoproj.io/workflow-archiving-status"
    return await api.cluster.seen(name, lambda wf: label in wf["metadata"].get("labels", {}))


TEMPLATE: Obj = {**hello("greet"), "kind": "WorkflowTemplate"}


async def test_a_workflow_is_created_run_read_and_deleted(api: Api) -> None:
    made = await api.post("workflows/default", {"workflow": hello()})
    name = made["metadata"]["name"]
    assert name.startswith("hello-")
    assert made["metadata"]["namespace"] == "default"
    await api.cluster.ended(name)
    found = await api.get(f"workflows/default/{name}")
    assert found["status"]["phase"] == "Succeeded"
    assert found["status"]["nodes"][name]["type"] == "Pod"
    short = await api.get(f"workflows/default/{name}", fields="metadata.name,status.phase")
    assert short == {
        "metadata": {"name": name},
        "spec": {},
        "status": {"phase": "Succeeded"},
    }
    without = await api.get(f"workflows/default/{name}", fields="-status.nodes,spec")
    assert "nodes" not in without["status"]
    assert without["spec"] == {}
    assert (await api.get("workflows/default/@latest"))["metadata"]["name"] == name
    await archived(api, name)
    assert await api.delete(f"workflows/default/{name}") == {}
    kept = await api.get(f"workflows/default/{name}")
    assert kept["metadata"]["labels"]["workflows.argoproj.io/workflow-archiving-status"] == (
        "Persisted"
    )


async def test_what_is_wrong_is_said_as_the_gateway_says_it(api: Api) -> None:
    missing = await api.get("workflows/default/nobody", 404)
    assert missing == {"code": 5, "message": 'workflows.argoproj.io "nobody" not found'}
    wrong = hello("wrong")
    wrong["spec"]["entrypoint"] = "nothing"
    refused = await api.post("workflows/default", {"workflow": wrong}, 400)
    assert refused["code"] == 3
    assert "spec.entrypoint" in refused["message"]
    await api.post("workflows/default", {"workflow": hello("twice")})
    assert (await api.post("workflows/default", {"workflow": hello("twice")}, 409))["code"] == 6
    assert "body" in (await api.post("workflows/default", {}, 400))["message"]
    assert (await api.put("workflows/default/twice/set", {"phase": "Failed"}, 400))["code"] == 3


async def test_lint_says_what_is_wrong_and_makes_nothing(api: Api) -> None:
    given = hello("linted")
    assert await api.post("workflows/default/lint", {"workflow": given}) == given
    assert (await api.get("workflows/default"))["items"] == []
    given["spec"] = {"workflowTemplateRef": {"name": "nothing"}}
    refused = await api.post("workflows/default/lint", {"workflow": given}, 404)
    assert refused["message"] == 'workflowtemplates.argoproj.io "nothing" not found'
    await api.post("workflow-templates/default", {"template": TEMPLATE})
    step = {"name": "s", "templateRef": {"name": "greet", "template": "shout"}}
    given["spec"] = {"entrypoint": "m", "templates": [{"name": "m", "steps": [[step]]}]}
    refused = await api.post("workflows/default/lint", {"workflow": given}, 400)
    assert "greet.shout not found" in refused["message"]


async def test_a_workflow_is_submitted_from_a_template_with_options(api: Api) -> None:
    await api.post("workflow-templates/default", {"template": TEMPLATE})
    request = {
        "resourceKind": "WorkflowTemplate",
        "resourceName": "greet",
        "submitOptions": {"parameters": ["text=you"], "labels": "team=a", "name": "greeting"},
    }
    dry = {**request, "submitOptions": {"dryRun": True, "generateName": "dry-"}}
    shown = await api.post("workflows/default/submit", dry)
    assert shown["metadata"]["generateName"] == "dry-"
    made = await api.post("workflows/default/submit", request)
    assert made["metadata"]["labels"]["team"] == "a"
    await api.cluster.ended("greeting")
    assert await api.cluster.log("greeting") == "you\n"
    assert [w["metadata"]["name"] for w in (await api.get("workflows/default"))["items"]] == [
        "greeting"
    ]
    wrong = {"resourceKind": "Pod", "resourceName": "x"}
    assert "not supported" in (await api.post("workflows/default/submit", wrong, 400))["message"]


async def test_lists_select_and_come_in_pages(api: Api) -> None:
    for number in range(3):
        labels = {"odd": str(number % 2)}
        await api.post("workflows/default", {"workflow": hello(f"wf-{number}", labels=labels)})
        await archived(api, f"wf-{number}")
    await api.delete("workflows/default/wf-1")
    await api.get("workflows/default/wf-1")

    def names(listed: Obj) -> list[str]:
        return sorted(workflow["metadata"]["name"] for workflow in listed["items"])

    assert names(await api.get("workflows/default")) == ["wf-0", "wf-1", "wf-2"]
    odd = await api.get("workflows/default", listOptions__labelSelector="odd=1")
    assert names(odd) == ["wf-1"]
    first = await api.get(
        "workflows/default",
        listOptions__limit="2",
        listOptions__fieldSelector="ext.showRemainingItemCount=true",
    )
    assert first["metadata"]["remainingItemCount"] == 1
    second = await api.get("workflows/default", listOptions__limit="2", listOptions__continue="2")
    assert first["metadata"]["continue"] == "2"
    assert "continue" not in second["metadata"]
    assert sorted(names(first) + names(second)) == ["wf-0", "wf-1", "wf-2"]
    only = await api.get("workflows/default", fields="items.metadata.name")
    assert [workflow["spec"] for workflow in only["items"]] == [{}, {}, {}]
    assert only["metadata"] == {}
    prefix = await api.get(
        "workflows/default",
        nameFilter="Prefix",
        listOptions__fieldSelector="metadata.name=wf-",
    )
    assert len(prefix["items"]) == 3
    refused = await api.get("workflows/default", 400, listOptions__continue="x")
    assert refused["message"] == "listOptions.continue must be int"


async def test_a_failed_workflow_is_retried_and_resubmitted(api: Api) -> None:
    failing = hello("needy")
    failing["spec"]["templates"][0]["container"]["command"] = ["test", "-e", "there"]
    await api.post("workflows/default", {"workflow": failing})
    await api.cluster.ended("needy")
    (api.cluster.workspace / "there").touch()
    again = await api.put("workflows/default/needy/resubmit", {"memoized": True})
    await api.cluster.ended(again["metadata"]["name"])
    await api.put("workflows/default/needy/retry")
    await api.cluster.seen("needy", lambda wf: wf["status"].get("phase") == "Succeeded")
    refused = await api.put("workflows/default/needy/retry", None, 400)
    assert "restartSuccessful" in refused["message"]


async def test_a_workflow_is_suspended_resumed_set_and_stopped(api: Api) -> None:
    workflow = hello("asking")
    ask = {
        "name": "ask",
        "suspend": {},
        "outputs": {"parameters": [{"name": "answer", "valueFrom": {"supplied": {}}}]},
    }
    workflow["spec"] |= {"entrypoint": "ask", "templates": [ask]}
    await api.post("workflows/default", {"workflow": workflow})
    await api.cluster.seen("asking", lambda wf: bool(wf["status"].get("nodes")))
    assert (await api.put("workflows/default/asking/suspend"))["spec"]["suspend"] is True
    setting = {"nodeFieldSelector": "name=asking", "outputParameters": json.dumps({"answer": "1"})}
    found = await api.put("workflows/default/asking/set", setting)
    outputs = found["status"]["nodes"]["asking"]["outputs"]
    assert outputs["parameters"] == [{"name": "answer", "value": "1"}]
    assert "suspend" not in (await api.put("workflows/default/asking/resume"))["spec"]
    assert (await api.cluster.ended("asking"))["status"]["phase"] == "Succeeded"
    assert (
        "completed workflow"
        in (await api.put("workflows/default/asking/stop", None, 400))["message"]
    )
    assert (await api.put("workflows/default/asking/terminate", None, 400))["code"] == 3


async def test_archived_workflows_are_found_and_run_again(api: Api) -> None:
    workflow = hello("old", labels={"team": "a"})
    workflow["spec"]["templates"][0]["container"]["command"] = ["test", "-e", "there"]
    await api.post("workflows/default", {"workflow": workflow})
    uid = (await archived(api, "old"))["metadata"]["uid"]
    listed = await api.get("archived-workflows", namespace="default", namePrefix="o")
    assert [w["metadata"]["uid"] for w in listed["items"]] == [uid]
    assert (await api.get("archived-workflows", namePrefix="x"))["items"] == []
    assert "team" in (await api.get("archived-workflows-label-keys"))["items"]
    values = await api.get("archived-workflows-label-values", listOptions__labelSelector="team")
    assert values == {"items": ["a"]}
    refused = await api.put(f"archived-workflows/{uid}/retry", {"namespace": "default"}, 409)
    assert refused["code"] == 6
    await api.delete("workflows/default/old")
    (api.cluster.workspace / "there").touch()
    await api.put(f"archived-workflows/{uid}/retry", {"namespace": "default"})
    done = await api.cluster.seen("old", lambda wf: wf["status"].get("phase") == "Succeeded")
    assert done["metadata"]["uid"] != uid
    again = await api.put(f"archived-workflows/{uid}/resubmit", {"namespace": "default"})
    assert again["metadata"]["generateName"] == "old-"
    await api.cluster.ended(again["metadata"]["name"])
    listed = [w["metadata"]["uid"] for w in (await api.get("workflows/default"))["items"]]
    assert uid in listed
    assert done["metadata"]["uid"] in listed
    now = (await archived(api, "old"))["metadata"]["uid"]
    assert await api.delete(f"archived-workflows/{now}", namespace="default") == {}
    listed = [w["metadata"]["uid"] for w in (await api.get("workflows/default"))["items"]]
    assert listed.count(now) == 1
    assert await api.delete(f"archived-workflows/{uid}", namespace="default") == {}
    assert (await api.get(f"archived-workflows/{uid}", 404))["message"] == "not found"


async def test_a_token_decides_what_its_owner_may_do(api: Api) -> None:
    them = await api.named("somebody")
    assert (await them.get("userinfo"))["serviceAccountName"] == "somebody"
    assert await api.get("userinfo") == {}
    refused = await them.get("workflows/default", 403)
    assert refused["code"] == 7
    assert 'User "system:serviceaccount:default:somebody" cannot list' in refused["message"]
    await api.permit("somebody", "argoproj.io", "workflows", "list", "get", "create")
    assert (await them.get("workflows/default"))["items"] == []
    made = await them.post("workflows/default", {"workflow": hello("theirs")})
    assert made["metadata"]["labels"]["workflows.argoproj.io/creator"] == (
        "system-serviceaccount-default-somebody"
    )
    assert (await them.delete("workflows/default/theirs", 403))["code"] == 7
    assert (await them.get("workflows/kube-system", 403))["code"] == 7
    them.token = "nonsense"
    assert (await them.get("version", 200))["version"].startswith("v4")
    assert (await them.get("workflows/default", 401))["code"] == 16


async def test_changes_are_streamed_as_lines_and_as_events(api: Api) -> None:
    created: asyncio.Future[Obj] = asyncio.get_running_loop().create_future()

    async def watch() -> list[Obj]:
        seen = []
        only = {"listOptions.fieldSelector": "metadata.name=watched"}
        async with api.http.get("/api/v1/workflow-events/default", params=only) as response:
            created.set_result({})
            async for line in response.content:
                event = json.loads(line)["result"]
                seen.append(event)
                if (event["object"].get("status") or {}).get("phase") == "Succeeded":
                    break
        return seen

    watching = asyncio.create_task(watch())
    await created
    await api.post("workflows/default", {"workflow": hello("watched")})
    seen = await asyncio.wait_for(watching, 60)
    assert seen[0]["type"] == "ADDED"
    headers = {"Accept": "text/event-stream"}
    async with api.http.get("/api/v1/workflow-events/default", headers=headers) as response:
        assert response.content_type == "text/event-stream"
        line = await response.content.readline()
        assert line.startswith(b'data: {"result":{"type":"ADDED"')
    async with api.http.get("/api/v1/stream/events/default") as response:
        event = json.loads(await response.content.readline())["result"]
        assert event["kind"] == "Event"


async def test_logs_are_merged_filtered_and_followed(api: Api) -> None:
    workflow = hello("talk")
    step = {"template": "say", "arguments": {"parameters": [{"name": "n", "value": "{{item}}"}]}}
    say = {
        "name": "say",
        "inputs": {"parameters": [{"name": "n"}]},
        "container": {
            "image": "busybox",
            "command": ["sh", "-c", "for i in 1 2; do echo line {{inputs.parameters.n}}-$i; done"],
        },
    }
    main = {"name": "main", "steps": [[{"name": "a", "withItems": [1, 2], **step}]]}
    workflow["spec"] |= {"entrypoint": "main", "templates": [main, say]}
    await api.post("workflows/default", {"workflow": workflow})

    async def read(path: str = "talk/log", agent: str = "argo", **options: str) -> list[Obj]:
        params = {key.replace("__", "."): value for key, value in options.items()}
        async with api.http.get(
            f"/api/v1/workflows/default/{path}", params=params, headers={"User-Agent": agent}
        ) as response:
            assert response.status == 200, await response.text()
            return [json.loads(line) async for line in response.content]

    followed = await asyncio.wait_for(read(logOptions__follow="true"), 60)
    expected = ["line 1-1", "line 1-2", "line 2-1", "line 2-2"]
    assert sorted(line["result"]["content"] for line in followed) == expected
    await api.cluster.ended("talk")
    assert sorted(line["result"]["content"] for line in await read()) == expected
    found = await read(grep="2-2", logOptions__container="main")
    assert [line["result"]["content"] for line in found] == ["line 2-2"]
    assert await read(grep="(e+)+$") == []
    assert "missing )" in (await api.get("workflows/default/talk/log", 400, grep="("))["message"]
    pod = found[0]["result"]["podName"]
    assert len(await read(f"talk/{pod}/log")) == 2
    assert [
        line["result"]["content"] for line in await read(podName=pod, logOptions__tailLines="1")
    ] == ["line 2-2"]
    (one,) = await read(f"talk/{pod}/log", agent="python-requests/2.32")
    assert one["content"] == "line 2-1\nline 2-2"
    assert one["podName"] == pod
    assert one["result"] == {"content": one["content"], "podName": pod}

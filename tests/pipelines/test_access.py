"""With many users, the cluster's roles decide who may do what with whose pipelines."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.pipelines.conftest import Api, platform, served
from tests.pipelines.test_api import PIPELINE, ROOT

from kubeling.component import Context
from kubeling.kube.objects import Obj, new_object
from kubeling.kube.resources import (
    CLUSTER_ROLES,
    NAMESPACES,
    ROLE_BINDINGS,
    ROLES,
    SERVICE_ACCOUNTS,
)
from kubeling.pipelines.component import COMPONENT
from kubeling.tenancy.component import COMPONENT as TENANCY

HEADER = "kubeflow-userid"


@pytest.fixture
async def shared(tmp_path: Path) -> AsyncIterator[Context]:
    async with platform(tmp_path, multi_user=True, user_id_prefix="accounts:") as context:
        await context.client.create(NAMESPACES, new_object(NAMESPACES, "team-a"))
        yield context


@pytest.fixture
async def front(shared: Context) -> AsyncIterator[Api]:
    async with served(shared) as client:
        yield client


async def grant(context: Context, user: Obj, resource: str, verbs: Sequence[str]) -> None:
    """Rights on a resource of the group pipelines.kubeflow.org in the namespace team-a."""
    rules = [{"apiGroups": ["pipelines.kubeflow.org"], "resources": [resource], "verbs": verbs}]
    name = f"{resource}-{user['name']}"
    await context.client.create(ROLES, new_object(ROLES, name, "team-a", rules=rules))
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
    binding = new_object(ROLE_BINDINGS, name, "team-a", roleRef=reference, subjects=[user])
    await context.client.create(ROLE_BINDINGS, binding)


def person(name: str) -> Obj:
    return {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}


async def ask(
    api: Api, method: str, path: str, user: str = "", body: Any = None, status: int = 200
) -> Any:
    headers = {HEADER: f"accounts:{user}"} if user else {}
    async with api.request(method, ROOT + path, json=body, headers=headers) as response:
        answer = await response.json()
        assert response.status == status, answer
        return answer


async def test_clients_are_told_that_there_are_many_users(front: Api) -> None:
    assert (await ask(front, "GET", "/healthz"))["multi_user"] is True


async def test_nobody_may_do_nothing(front: Api) -> None:
    refused = await ask(front, "GET", "/experiments?namespace=team-a", status=401)
    assert refused["code"] == 16
    assert HEADER in refused["message"]


async def test_lists_are_of_a_namespace(front: Api) -> None:
    for path in ("/experiments", "/runs", "/recurringruns"):
        refused = await ask(front, "GET", path, "alice", status=400)
        assert refused["message"].startswith("namespace: Required value")


async def test_roles_decide(front: Api, shared: Context) -> None:
    await grant(shared, person("alice"), "experiments", ["create", "get", "archive"])
    experiment = {"display_name": "x", "namespace": "team-a"}
    made = await ask(front, "POST", "/experiments", "alice", experiment)
    path = f"/experiments/{made['experiment_id']}"
    await ask(front, "GET", path, "alice")
    await ask(front, "POST", f"{path}:archive", "alice")
    refused = await ask(front, "DELETE", path, "alice", status=403)
    assert refused["code"] == 7
    assert 'User "alice" cannot delete resource "experiments"' in refused["message"]
    await ask(front, "GET", path, "bob", status=403)


async def test_a_run_is_made_where_its_experiment_is(front: Api, shared: Context) -> None:
    await grant(shared, person("alice"), "experiments", ["create"])
    await grant(shared, person("alice"), "runs", ["create", "get", "list"])
    refused = await ask(front, "POST", "/runs", "alice", {"pipeline_spec": PIPELINE}, status=400)
    assert refused["message"].startswith("Experiment id can not be empty in multi-user mode")
    experiment = {"display_name": "x", "namespace": "team-a"}
    own = (await ask(front, "POST", "/experiments", "alice", experiment))["experiment_id"]
    body = {"pipeline_spec": PIPELINE, "experiment_id": own}
    run = await ask(front, "POST", "/runs", "alice", body)
    assert run["namespace"] == "team-a"
    listed = await ask(front, "GET", "/runs?namespace=team-a", "alice")
    assert [found["run_id"] for found in listed["runs"]] == [run["run_id"]]
    await ask(front, "POST", f"/runs/{run['run_id']}:terminate", "alice", status=403)
    await ask(front, "GET", "/runs?namespace=team-a", "bob", status=403)
    # What a run made is as private as the run.
    await ask(front, "GET", f"/tasks?run_id={run['run_id']}", "bob", status=403)
    await ask(front, "GET", "/artifacts?namespace=team-a", "bob", status=403)
    await ask(front, "GET", f"/artifact_tasks?run_ids={run['run_id']}", "bob", status=403)
    task = {"run_id": run["run_id"], "name": "t"}
    await ask(front, "POST", "/tasks", "alice", task, status=403)


@pytest.mark.parametrize(("role", "status"), [("edit", 200), ("view", 403)])
async def test_contributors_may_do_what_upstreams_roles_say(
    front: Api, shared: Context, role: str, status: int
) -> None:
    for wanted in [*COMPONENT.objects(), *TENANCY.objects()]:
        if await shared.client.find(CLUSTER_ROLES, wanted["metadata"]["name"]) is None:
            await shared.client.create(CLUSTER_ROLES, wanted)
    reference = {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": "ClusterRole",
        "name": f"kubeflow-{role}",
    }
    binding = new_object(
        ROLE_BINDINGS, "carol", "team-a", roleRef=reference, subjects=[person("carol")]
    )
    await shared.client.create(ROLE_BINDINGS, binding)
    await ask(front, "GET", "/experiments?namespace=team-a", "carol")
    experiment = {"display_name": "x", "namespace": "team-a"}
    await ask(front, "POST", "/experiments", "carol", experiment, status=status)
    await grant(shared, person("alice"), "experiments", ["create"])
    await grant(shared, person("alice"), "runs", ["create"])
    own = await ask(front, "POST", "/experiments", "alice", {**experiment, "display_name": "y"})
    body = {"pipeline_spec": PIPELINE, "experiment_id": own["experiment_id"]}
    run = await ask(front, "POST", "/runs", "alice", body)
    await ask(front, "GET", f"/runs/{run['run_id']}", "carol")
    for verb in ("terminate", "archive", "unarchive"):
        await ask(front, "POST", f"/runs/{run['run_id']}:{verb}", "carol", status=status)


async def test_shared_pipelines_are_everybodys_to_read(front: Api) -> None:
    assert await ask(front, "GET", "/pipelines", "bob") == {}
    await ask(front, "POST", "/pipelines", "bob", {"name": "p"}, status=403)


async def test_a_token_for_pipelines_says_who_asks(front: Api, shared: Context) -> None:
    account = new_object(SERVICE_ACCOUNTS, "robot", "team-a")
    await shared.client.create(SERVICE_ACCOUNTS, account)
    await grant(
        shared, {"kind": "ServiceAccount", "name": "robot", "namespace": "team-a"}, "runs", ["list"]
    )
    for audience, status in (("pipelines.kubeflow.org", 200), ("elsewhere", 401)):
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"audiences": [audience]},
        }
        answer = await shared.client.create_subresource(
            SERVICE_ACCOUNTS, "robot", "team-a", "token", request
        )
        headers = {"Authorization": f"Bearer {answer['status']['token']}"}
        async with front.get(f"{ROOT}/runs?namespace=team-a", headers=headers) as response:
            assert response.status == status, await response.text()


async def test_pages_ask_whether_something_may_be_viewed(front: Api) -> None:
    query = "?namespace=team-a&resources=VIEWERS&verb=GET"
    await ask(front, "GET", f"/auth{query}", "bob", status=403)

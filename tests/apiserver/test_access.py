"""Who may do what: roles, bindings, escalation, impersonation, tokens, reviews."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from tests.support.apiserver import RunningServer, running_server

from kubeling.kube import config
from kubeling.kube.client import Client
from kubeling.kube.clock import FakeClock
from kubeling.kube.errors import Forbidden, Invalid, Unauthorized
from kubeling.kube.https import HttpsTransport
from kubeling.kube.objects import Obj, new_object
from kubeling.kube.resources import (
    CLUSTER_ROLES,
    CONFIG_MAPS,
    NAMESPACES,
    PODS,
    ROLE_BINDINGS,
    ROLES,
    SERVICE_ACCOUNTS,
    SUBJECT_ACCESS_REVIEWS,
    TOKEN_REVIEWS,
    Resource,
)

RBAC = "rbac.authorization.k8s.io"
MYSELF = Resource("authentication.k8s.io", "v1", "SelfSubjectReview", "selfsubjectreviews", False)


def role(name: str, *rules: Obj, namespace: str = "default") -> Obj:
    return new_object(ROLES, name, namespace, rules=list(rules))


def rule(verbs: str, resources: str, group: str = "", names: str = "") -> Obj:
    made: Obj = {"verbs": verbs.split(), "apiGroups": [group], "resources": resources.split()}
    if names:
        made["resourceNames"] = names.split()
    return made


def binding(name: str, role: str, user: str, kind: str = "Role") -> Obj:
    return new_object(
        ROLE_BINDINGS,
        name,
        "default",
        roleRef={"apiGroup": RBAC, "kind": kind, "name": role},
        subjects=[{"kind": "User", "apiGroup": RBAC, "name": user}],
    )


@pytest.fixture
async def running() -> AsyncIterator[RunningServer]:
    async with running_server() as running:
        yield running


async def grant(running: RunningServer, user: str, *rules: Obj) -> Client:
    """A client of a user who holds the rules in the default namespace."""
    await running.client.create(ROLES, role(user, *rules))
    await running.client.create(ROLE_BINDINGS, binding(user, user, user))
    return running.client_of(user)


# --- roles and bindings ------------------------------------------------------------------------


async def test_without_a_role_nothing_is_allowed(running: RunningServer) -> None:
    with pytest.raises(Forbidden, match='User "eve" cannot list resource "pods"'):
        await running.client_of("eve").list(PODS, "default")


async def test_a_role_holds_in_its_namespace_only(running: RunningServer) -> None:
    bob = await grant(running, "bob", rule("list", "configmaps"))
    assert (await bob.list(CONFIG_MAPS, "default")).items
    with pytest.raises(Forbidden, match='in the namespace "kube-system"'):
        await bob.list(CONFIG_MAPS, "kube-system")
    with pytest.raises(Forbidden, match="at the cluster scope"):
        await bob.list(CONFIG_MAPS)
    with pytest.raises(Forbidden):
        await bob.delete(CONFIG_MAPS, "kube-root-ca.crt", "default")


async def test_a_right_may_be_for_named_objects_alone(running: RunningServer) -> None:
    bob = await grant(running, "bob", rule("get", "configmaps", names="kube-root-ca.crt"))
    assert await bob.get(CONFIG_MAPS, "kube-root-ca.crt", "default")
    with pytest.raises(Forbidden):
        await bob.get(CONFIG_MAPS, "other", "default")


async def test_a_subresource_is_a_right_of_its_own(running: RunningServer) -> None:
    bob = await grant(running, "bob", rule("*", "pods"))
    with pytest.raises(Forbidden, match="pods/log"):
        await anext(bob.logs("p", "default"))


async def test_a_right_ends_with_its_binding(running: RunningServer) -> None:
    bob = await grant(running, "bob", rule("list", "pods"))
    await bob.list(PODS, "default")
    await running.client.delete(ROLE_BINDINGS, "bob", "default")
    with pytest.raises(Forbidden):
        await bob.list(PODS, "default")


async def test_view_edit_and_admin_include_each_other(running: RunningServer) -> None:
    for name, allowed in (("view", False), ("edit", True), ("admin", True)):
        await running.client.create(ROLE_BINDINGS, binding(name, name, name, "ClusterRole"))
        client = running.client_of(name)
        await client.list(PODS, "default")
        obj = new_object(CONFIG_MAPS, name, "default")
        if allowed:
            await client.create(CONFIG_MAPS, obj)
        else:
            with pytest.raises(Forbidden):
                await client.create(CONFIG_MAPS, obj)


async def test_a_labelled_role_joins_the_aggregated_one(running: RunningServer) -> None:
    labels = {f"{RBAC}/aggregate-to-view": "true"}
    extra = new_object(CLUSTER_ROLES, "x", labels=labels, rules=[rule("get", "widgets", "x.io")])
    await running.client.create(ROLE_BINDINGS, binding("v", "view", "vera", "ClusterRole"))
    start = (await running.client.list(CLUSTER_ROLES)).resource_version
    await running.client.create(CLUSTER_ROLES, extra)
    updated = set()
    async for event in running.client.watch(CLUSTER_ROLES, resource_version=start):
        if rule("get", "widgets", "x.io") in event.object["rules"]:
            updated.add(event.object["metadata"]["name"])
        if {"view", "edit", "admin"} <= updated:
            break


async def test_a_binding_keeps_its_role(running: RunningServer) -> None:
    await grant(running, "bob", rule("list", "pods"))
    reference = {"roleRef": {"apiGroup": RBAC, "kind": "Role", "name": "other"}}
    with pytest.raises(Invalid, match="cannot change roleRef"):
        await running.client.patch(ROLE_BINDINGS, "bob", reference, "default")


async def test_nobody_grants_what_they_do_not_hold(running: RunningServer) -> None:
    bob = await grant(
        running, "bob", rule("get list", "pods"), rule("create", "roles rolebindings", RBAC)
    )
    await bob.create(ROLES, role("less", rule("get", "pods")))
    await bob.create(ROLE_BINDINGS, binding("less", "less", "carol"))
    with pytest.raises(Forbidden, match="permissions not currently held"):
        await bob.create(ROLES, role("more", rule("delete", "pods")))
    with pytest.raises(Forbidden, match="permissions not currently held"):
        await bob.create(ROLE_BINDINGS, binding("admin", "cluster-admin", "bob", "ClusterRole"))


async def test_the_verb_bind_permits_handing_on(running: RunningServer) -> None:
    bob = await grant(
        running,
        "bob",
        rule("create", "rolebindings", RBAC),
        rule("bind", "clusterroles", RBAC, names="view"),
    )
    await bob.create(ROLE_BINDINGS, binding("ok", "view", "carol", "ClusterRole"))


# --- reviews -----------------------------------------------------------------------------------


async def test_access_reviews_answer_for_others(running: RunningServer) -> None:
    await grant(running, "bob", rule("list", "pods"))

    async def allowed(verb: str) -> bool:
        wanted = {"verb": verb, "resource": "pods", "namespace": "default"}
        review = {"metadata": {}, "spec": {"user": "bob", "resourceAttributes": wanted}}
        answer = await running.client.create(SUBJECT_ACCESS_REVIEWS, review)
        return bool(answer["status"]["allowed"])

    assert await allowed("list")
    assert not await allowed("delete")


async def test_who_am_i(running: RunningServer) -> None:
    answer = await running.client_of("bob", "team").create(MYSELF, {"metadata": {}})
    assert answer["status"]["userInfo"] == {
        "username": "bob",
        "groups": ["team", "system:authenticated"],
    }


# --- tokens ------------------------------------------------------------------------------------


async def issue(client: Client, **spec: object) -> str:
    body = {"spec": spec}
    path = ("default", "default", "token")
    answer = await client.create_subresource(SERVICE_ACCOUNTS, *path, body)
    return str(answer["status"]["token"])


async def review(client: Client, token: str, *audiences: str) -> Obj:
    body: Obj = {"metadata": {}, "spec": {"token": token, "audiences": list(audiences)}}
    status: Obj = (await client.create(TOKEN_REVIEWS, body))["status"]
    return status


async def test_a_token_stands_for_its_account(running: RunningServer) -> None:
    status = await review(running.client, await issue(running.client))
    assert status["authenticated"]
    assert status["user"]["username"] == "system:serviceaccount:default:default"
    assert "system:serviceaccounts:default" in status["user"]["groups"]


async def test_a_token_is_good_for_its_audience(running: RunningServer) -> None:
    token = await issue(running.client, audiences=["vault"])
    assert not (await review(running.client, token)).get("authenticated")
    assert (await review(running.client, token, "vault"))["audiences"] == ["vault"]


async def test_a_token_ends_with_its_time() -> None:
    clock = FakeClock(dt.datetime.now(dt.UTC))
    async with running_server(clock=clock) as running:
        token = await issue(running.client, expirationSeconds=600)
        assert (await review(running.client, token))["authenticated"]
        clock.advance(601)
        assert "expired" in (await review(running.client, token))["error"]


async def test_a_token_ends_with_the_pod_it_is_bound_to(running: RunningServer) -> None:
    containers = [{"name": "main", "image": "busybox"}]
    await running.client.create(
        PODS, new_object(PODS, "p", "default", spec={"containers": containers})
    )
    token = await issue(running.client, boundObjectRef={"kind": "Pod", "name": "p"})
    assert (await review(running.client, token))["authenticated"]
    await running.client.delete(PODS, "p", "default")
    assert "is gone" in (await review(running.client, token))["error"]


async def test_a_forged_token_is_worth_nothing(running: RunningServer) -> None:
    head, _, signature = (await issue(running.client)).split(".")
    other = (await issue(running.client, audiences=["x"])).split(".")[1]
    status = await review(running.client, f"{head}.{other}.{signature}")
    assert "not signed with this server's key" in status["error"]


# --- over the wire -----------------------------------------------------------------------------


async def test_certificates_and_tokens_open_the_door(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.csv"
    tokens.write_text('secret,alice,1,"team-a,system:masters"\n')
    async with running_server(https=True, token_file=tokens) as running:
        admin = config.load_kubeconfig(running.kubeconfig)
        by_token = config.ClusterConfig(admin.server, admin.ca_data, token="secret")
        for given, name in ((admin, "kubeling:admin"), (by_token, "alice")):
            client = Client(HttpsTransport(given))
            answer = await client.create(MYSELF, {"metadata": {}})
            assert answer["status"]["userInfo"]["username"] == name
            await client.close()
        for token in ("wrong", ""):
            stranger = Client(
                HttpsTransport(config.ClusterConfig(admin.server, admin.ca_data, token=token))
            )
            with pytest.raises(Unauthorized):
                await stranger.list(NAMESPACES)
            await stranger.close()


async def test_impersonation_needs_the_right_to(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.csv"
    tokens.write_text("root,root,1,system:masters\nbob,bob,2\n")
    async with running_server(https=True, token_file=tokens) as running:
        context = config.load_kubeconfig(running.kubeconfig).ssl_context()
        assert context is not None

        async def whoami(token: str, **headers: str) -> tuple[int, Obj]:
            given = {"Authorization": f"Bearer {token}", **headers}
            async with session.post(
                f"{running.server.url}{MYSELF.path()}", json={}, headers=given
            ) as r:
                return r.status, await r.json()

        connector = aiohttp.TCPConnector(
            ssl=config.ClusterConfig(running.server.url, insecure=True).ssl_context() or True
        )
        async with aiohttp.ClientSession(connector=connector) as session:
            code, answer = await whoami("root", **{"Impersonate-User": "carol"})
            assert (code, answer["status"]["userInfo"]["username"]) == (201, "carol")
            code, answer = await whoami("bob", **{"Impersonate-User": "carol"})
            assert code == 403
            assert 'cannot impersonate resource "users"' in answer["message"]


def test_private_keys_are_private(tmp_path: Path) -> None:
    from kubeling.apiserver.tls import Authority

    now = dt.datetime.now(dt.UTC)
    authority = Authority(tmp_path / "pki")
    first = authority.server("127.0.0.1", now).certificate.read_bytes()
    assert all(file.stat().st_mode & 0o077 == 0 for file in (tmp_path / "pki").iterdir())
    again = Authority(tmp_path / "pki")
    assert again.server("127.0.0.1", now).certificate.read_bytes() == first
    renewed = again.server("127.0.0.1", now + dt.timedelta(days=340)).certificate.read_bytes()
    assert renewed != first
    assert again.server("10.0.0.7", now).certificate.read_bytes() != renewed

"""Who somebody is: certificates, tokens of several kinds, impersonation, anonymous requests."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.apiserver import RunningServer, running_server
from tests.support.callers import MYSELF, calling, static

from kubeling.apiserver.settings import SettingsError
from kubeling.apiserver.tokenfile import load_tokens
from kubeling.kube import config
from kubeling.kube.client import Client
from kubeling.kube.clock import FakeClock
from kubeling.kube.errors import ApiError, BadRequest, Conflict, Invalid, NotFound, Unauthorized
from kubeling.kube.https import HttpsTransport
from kubeling.kube.objects import Obj, new_object
from kubeling.kube.resources import (
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    NAMESPACES,
    NODES,
    PODS,
    SECRETS,
    SERVICE_ACCOUNTS,
    TOKEN_REVIEWS,
)

RBAC = "rbac.authorization.k8s.io"
API = "https://kubernetes.default.svc.cluster.local"
EXTRA = "authentication.kubernetes.io"


@pytest.fixture
async def running() -> AsyncIterator[RunningServer]:
    async with running_server() as running:
        yield running


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


async def pod(running: RunningServer, **spec: object) -> Obj:
    containers = [{"name": "main", "image": "busybox"}]
    made = new_object(PODS, "p", "default", spec={"containers": containers, **spec})
    return await running.client.create(PODS, made)


async def test_a_token_ends_with_the_pod_it_is_bound_to(running: RunningServer) -> None:
    await pod(running)
    token = await issue(running.client, boundObjectRef={"kind": "Pod", "name": "p"})
    assert (await review(running.client, token))["authenticated"]
    await running.client.delete(PODS, "p", "default")
    status = await review(running.client, token)
    assert status["error"] == 'service account token has been invalidated: pods "p" not found'


async def test_a_pods_token_ends_a_minute_after_the_pod_should_have(tmp_path: Path) -> None:
    clock = FakeClock(dt.datetime.now(dt.UTC))
    async with running_server(clock=clock) as running:
        await pod(running, nodeName="n")
        token = await issue(running.client, boundObjectRef={"kind": "Pod", "name": "p"})
        await running.client.delete(PODS, "p", "default", grace_period_seconds=30)
        clock.advance(80)
        assert (await review(running.client, token))["authenticated"]
        clock.advance(11)
        assert "has been deleted" in (await review(running.client, token))["error"]


async def test_a_pods_token_tells_where_the_pod_runs(running: RunningServer) -> None:
    node = await running.client.create(NODES, new_object(NODES, "n"))
    made = await pod(running, nodeName="n")
    token = await issue(running.client, boundObjectRef={"kind": "Pod", "name": "p"})
    extra = (await review(running.client, token))["user"]["extra"]
    assert extra.pop(f"{EXTRA}/credential-id")[0].startswith("JTI=")
    assert extra == {
        f"{EXTRA}/pod-name": ["p"],
        f"{EXTRA}/pod-uid": [made["metadata"]["uid"]],
        f"{EXTRA}/node-name": ["n"],
        f"{EXTRA}/node-uid": [node["metadata"]["uid"]],
    }


async def test_a_token_may_be_bound_to_a_node_or_a_secret(running: RunningServer) -> None:
    await running.client.create(NODES, new_object(NODES, "n"))
    await running.client.create(SECRETS, new_object(SECRETS, "s", "default"))
    for kind, name, resource, namespace in (
        ("Node", "n", NODES, ""),
        ("Secret", "s", SECRETS, "default"),
    ):
        token = await issue(running.client, boundObjectRef={"kind": kind, "name": name})
        assert (await review(running.client, token))["authenticated"]
        await running.client.delete(resource, name, namespace)
        assert "not found" in (await review(running.client, token))["error"]


async def test_a_token_that_cannot_be_issued_says_why(running: RunningServer) -> None:
    await pod(running)
    await running.client.create(SERVICE_ACCOUNTS, new_object(SERVICE_ACCOUNTS, "o", "default"))
    wrong: list[tuple[type[ApiError], str, Obj]] = [
        (Invalid, "less than 10 minutes", {"expirationSeconds": 599}),
        (Invalid, "larger than 2\\^32 seconds", {"expirationSeconds": 1 << 33}),
        (BadRequest, "cannot bind token", {"boundObjectRef": {"kind": "Job", "name": "j"}}),
        (NotFound, 'pods "q" not found', {"boundObjectRef": {"kind": "Pod", "name": "q"}}),
        (Conflict, "UID", {"boundObjectRef": {"kind": "Pod", "name": "p", "uid": "other"}}),
    ]
    for error, message, spec in wrong:
        with pytest.raises(error, match=message):
            await issue(running.client, **spec)
    body: Obj = {"spec": {"boundObjectRef": {"kind": "Pod", "name": "p"}}}
    with pytest.raises(BadRequest, match='serviceaccount "o" to pod running with different'):
        await running.client.create_subresource(SERVICE_ACCOUNTS, "o", "default", "token", body)


async def test_a_token_ends_with_its_account(running: RunningServer) -> None:
    token = await issue(running.client)
    await running.client.delete(SERVICE_ACCOUNTS, "default", "default")
    # The platform makes the account anew; the token was another's.
    error = (await review(running.client, token))["error"]
    assert "has been invalidated" in error or "does not match claim" in error


async def test_a_forged_token_is_worth_nothing(running: RunningServer) -> None:
    head, _, signature = (await issue(running.client)).split(".")
    other = (await issue(running.client, audiences=["x"])).split(".")[1]
    status = await review(running.client, f"{head}.{other}.{signature}")
    assert "not signed with this server's key" in status["error"]


# --- secrets that hold a token -----------------------------------------------------------------


def token_secret(name: str, account: str) -> Obj:
    annotations = {"kubernetes.io/service-account.name": account}
    secret = new_object(SECRETS, name, "default", annotations=annotations)
    return {**secret, "type": "kubernetes.io/service-account-token"}


async def filled(running: RunningServer, name: str) -> Obj:
    version = (await running.client.list(SECRETS, "default")).resource_version
    found = await running.client.get(SECRETS, name, "default")
    if found.get("data"):
        return found
    async with contextlib.aclosing(
        running.client.watch(SECRETS, "default", resource_version=version)
    ) as changes:
        async for event in changes:
            if event.object["metadata"]["name"] == name:
                return event.object
    raise AssertionError("unreachable")


async def test_a_secret_gets_the_token_of_its_account(running: RunningServer) -> None:
    await running.client.create(SECRETS, token_secret("t", "default"))
    secret = await filled(running, "t")
    data = {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}
    assert data["namespace"] == "default"
    assert data["ca.crt"] == running.server.authority.certificate
    account = await running.client.get(SERVICE_ACCOUNTS, "default", "default")
    uid = secret["metadata"]["annotations"]["kubernetes.io/service-account.uid"]
    assert uid == account["metadata"]["uid"]
    status = await review(running.client, data["token"])
    assert status["user"]["username"] == "system:serviceaccount:default:default"
    await running.client.delete(SECRETS, "t", "default")
    assert (await review(running.client, data["token"]))["error"] == "Token has been invalidated"


async def test_a_token_secret_goes_with_its_account(running: RunningServer) -> None:
    await running.client.create(SERVICE_ACCOUNTS, new_object(SERVICE_ACCOUNTS, "a", "default"))
    await running.client.create(SECRETS, token_secret("t", "a"))
    await filled(running, "t")
    version = (await running.client.list(SECRETS, "default")).resource_version
    await running.client.delete(SERVICE_ACCOUNTS, "a", "default")
    changes = running.client.watch(SECRETS, "default", resource_version=version)
    async with contextlib.aclosing(changes):
        assert (await anext(changes)).type == "DELETED"


# --- over the wire -----------------------------------------------------------------------------


async def test_certificates_and_tokens_open_the_door(tmp_path: Path) -> None:
    tokens = static(tmp_path, 'secret,alice,1,"team-a,system:masters"\n')
    async with running_server(https=True, settings=tokens) as running:
        admin = config.load_kubeconfig(running.kubeconfig)
        by_token = config.ClusterConfig(admin.server, admin.ca_data, token="secret")
        for given, name in ((admin, "kubeling:admin"), (by_token, "alice")):
            client = Client(HttpsTransport(given))
            answer = await client.create(MYSELF, {"metadata": {}})
            assert answer["status"]["userInfo"]["username"] == name
            await client.close()
        stranger = Client(
            HttpsTransport(config.ClusterConfig(admin.server, admin.ca_data, token="wrong"))
        )
        with pytest.raises(Unauthorized):
            await stranger.list(NAMESPACES)
        await stranger.close()


async def test_nobody_in_particular_sees_that_the_server_lives(tmp_path: Path) -> None:
    async with running_server(https=True) as running, calling(running) as caller:
        assert (await caller.get("/readyz"))[1] == {"text": "ok"}
        assert (await caller.get("/version"))[1]["major"] == "1"
        code, status = await caller.get(NAMESPACES.path())
        assert code == 403
        assert 'User "system:anonymous" cannot list resource "namespaces"' in status["message"]
        assert (await caller.get("/readyz", Authorization="Basic Ym9iOmJvYg=="))[0] == 401


async def test_a_static_token_is_for_this_server_only(tmp_path: Path) -> None:
    tokens = static(tmp_path, "secret,alice,1\n")
    async with running_server(https=True, settings=tokens) as running:
        assert (await review(running.client, "secret"))["user"]["username"] == "alice"
        assert (await review(running.client, "secret", API))["audiences"] == [API]
        assert "another audience" in (await review(running.client, "secret", "vault"))["error"]


async def test_an_account_may_ask_who_issued_its_token(tmp_path: Path) -> None:
    async with running_server(https=True) as running, calling(running) as caller:
        token = await issue(running.client)
        _, found = await caller.get("/.well-known/openid-configuration", token)
        assert found["issuer"] == API
        key = (await caller.get("/openid/v1/jwks", token))[1]["keys"][0]
        header = json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))
        assert (key["kid"], key["alg"]) == (header["kid"], "ES256")
        assert (await caller.get("/openid/v1/jwks"))[0] == 403


async def test_impersonation_needs_the_right_to_each_part(tmp_path: Path) -> None:
    tokens = static(tmp_path, "root,root,1,system:masters\nbob,bob,2\n")
    user, group = ("Impersonate-User", "carol"), ("Impersonate-Group", "team")
    uid, extra = ("Impersonate-Uid", "u1"), ("Impersonate-Extra-Acme.io%2fproject", "a")
    async with (
        running_server(https=True, settings=tokens) as running,
        calling(running) as caller,
    ):
        code, status = await caller.whoami("root", [user, group, uid, extra])
        assert (code, status["userInfo"]) == (
            201,
            {
                "username": "carol",
                "uid": "u1",
                "groups": ["team", "system:authenticated"],
                "extra": {"acme.io/project": ["a"]},
            },
        )
        held: list[Obj] = []
        for header, verb in (
            (user, {"resources": ["users"]}),
            (group, {"resources": ["groups"]}),
            (extra, {"resources": ["userextras/acme.io/project"]}),
            (uid, {"resources": ["uids"]}),
        ):
            headers = [user] if header is user else [user, header]
            code, status = await caller.whoami("bob", headers)
            assert code == 403, header
            assert f'cannot impersonate resource "{verb["resources"][0]}"' in status["message"]
            held.append({"verbs": ["impersonate"], "apiGroups": ["*"], **verb})
            await let(running, "bob", held)
            assert (await caller.whoami("bob", headers))[0] == 201, header


async def let(running: RunningServer, user: str, rules: list[Obj]) -> None:
    """Gives a user these rules everywhere, and no others."""
    role = new_object(CLUSTER_ROLES, user, rules=rules)
    await running.client.apply(CLUSTER_ROLES, role)
    reference = {"apiGroup": RBAC, "kind": "ClusterRole", "name": user}
    subject = {"kind": "User", "apiGroup": RBAC, "name": user}
    await running.client.apply(
        CLUSTER_ROLE_BINDINGS,
        new_object(CLUSTER_ROLE_BINDINGS, user, roleRef=reference, subjects=[subject]),
    )


async def test_whom_one_acts_for_has_the_groups_that_they_have(tmp_path: Path) -> None:
    tokens = static(tmp_path, "root,root,1,system:masters\n")
    async with (
        running_server(https=True, settings=tokens) as running,
        calling(running) as caller,
    ):
        for name, groups in (
            ("carol", ["system:authenticated"]),
            (
                "system:serviceaccount:team:default",
                ["system:serviceaccounts", "system:serviceaccounts:team", "system:authenticated"],
            ),
        ):
            _, status = await caller.whoami("root", [("Impersonate-User", name)])
            assert status["userInfo"]["groups"] == groups
        code, status = await caller.whoami("root", [("Impersonate-User", "system:anonymous")])
        assert code == 403
        code, status = await caller.whoami("root", [("Impersonate-Group", "team")])
        assert code == 400
        assert "without impersonating a user" in status["message"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("secret,alice\n", "line 1 has 2 columns"),
        ("a,alice,1\n,bob,2\n", "line 2 has no token"),
        ("a,alice,1\n\na,bob,2\n", "line 3 has the token of an earlier line"),
    ],
)
def test_a_wrong_line_of_the_token_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "tokens.csv"
    file.write_text(text)
    with pytest.raises(SettingsError, match=message):
        load_tokens(file)


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

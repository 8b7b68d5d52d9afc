"""Who may do what: roles, bindings, escalation, reviews."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.apiserver import RunningServer, running_server

from kubeling.kube.client import Client
from kubeling.kube.errors import BadRequest, Forbidden, Invalid
from kubeling.kube.objects import Obj, new_object
from kubeling.kube.resources import (
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    CONFIG_MAPS,
    ENDPOINTS,
    PODS,
    ROLE_BINDINGS,
    ROLES,
    SUBJECT_ACCESS_REVIEWS,
    Resource,
)

RBAC = "rbac.authorization.k8s.io"
LOCAL_REVIEWS = Resource(
    "authorization.k8s.io", "v1", "LocalSubjectAccessReview", "localsubjectaccessreviews", True
)
OWN_RULES = Resource(
    "authorization.k8s.io", "v1", "SelfSubjectRulesReview", "selfsubjectrulesreviews", False
)
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


def cluster_binding(name: str, role: str, user: str) -> Obj:
    return new_object(
        CLUSTER_ROLE_BINDINGS,
        name,
        roleRef={"apiGroup": RBAC, "kind": "ClusterRole", "name": role},
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


async def test_who_may_only_change_things_does_not_create_them(running: RunningServer) -> None:
    changer = await grant(running, "bob", rule("get patch update", "configmaps endpoints"))
    for write, resource in ((changer.apply, CONFIG_MAPS), (changer.replace, ENDPOINTS)):
        with pytest.raises(Forbidden, match=f'cannot create resource "{resource.plural}"'):
            await write(resource, new_object(resource, "new", "default"))
    await running.client.create(CONFIG_MAPS, new_object(CONFIG_MAPS, "new", "default"))
    changed = new_object(CONFIG_MAPS, "new", "default", data={"a": "b"})
    assert (await changer.apply(CONFIG_MAPS, changed))["data"] == {"a": "b"}


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


async def test_a_refused_grant_names_what_is_lacking(running: RunningServer) -> None:
    bob = await grant(running, "bob", rule("create", "roles", RBAC))
    wanted = role("more", rule("delete get", "pods"), rule("get", "secrets", names="s"))
    with pytest.raises(Forbidden) as raised:
        await bob.create(ROLES, wanted)
    assert str(raised.value) == (
        'roles.rbac.authorization.k8s.io "more" is forbidden: user "bob" '
        '(groups=["system:authenticated"]) is attempting to grant RBAC permissions not currently '
        'held:\n{APIGroups:[""], Resources:["pods"], Verbs:["delete" "get"]}\n'
        '{APIGroups:[""], Resources:["secrets"], ResourceNames:["s"], Verbs:["get"]}'
    )


async def test_only_who_may_do_everything_gathers_rules_of_others(running: RunningServer) -> None:
    await running.client.create(
        CLUSTER_ROLES,
        new_object(CLUSTER_ROLES, "maker", rules=[rule("create", CLUSTER_ROLES.plural, RBAC)]),
    )
    await running.client.create(CLUSTER_ROLE_BINDINGS, cluster_binding("maker", "maker", "bob"))
    gathering = new_object(CLUSTER_ROLES, "all", rules=[])
    gathering["aggregationRule"] = {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}
    with pytest.raises(Forbidden, match="must have cluster-admin privileges to use the aggregati"):
        await running.client_of("bob").create(CLUSTER_ROLES, gathering)
    await running.client.create(CLUSTER_ROLES, gathering)


async def test_the_verb_escalate_permits_giving_more(running: RunningServer) -> None:
    bob = await grant(running, "bob", rule("create escalate", "roles", RBAC))
    await bob.create(ROLES, role("more", rule("delete", "pods")))


async def test_a_binding_may_be_labelled_by_who_could_not_make_it(running: RunningServer) -> None:
    bob = await grant(running, "bob", rule("patch", "rolebindings", RBAC))
    await running.client.create(ROLE_BINDINGS, binding("v", "view", "carol", "ClusterRole"))
    await bob.patch(ROLE_BINDINGS, "v", {"metadata": {"labels": {"a": "b"}}}, "default")
    subjects = {"subjects": [{"kind": "User", "apiGroup": RBAC, "name": "bob"}]}
    with pytest.raises(Forbidden, match="not currently held"):
        await bob.patch(ROLE_BINDINGS, "v", subjects, "default")


async def test_built_in_roles_get_what_a_release_adds(tmp_path: Path) -> None:
    async with running_server(data_dir=tmp_path) as running:
        for name, follows in (("system:aggregate-to-view", True), ("system:discovery", False)):
            change: Obj = {"rules": [rule("get", "mine", "x.io")]}
            if not follows:
                annotations = {"rbac.authorization.kubernetes.io/autoupdate": "false"}
                change["metadata"] = {"annotations": annotations}
            await running.client.patch(CLUSTER_ROLES, name, change)
    async with running_server(data_dir=tmp_path) as running:
        view = await running.client.get(CLUSTER_ROLES, "system:aggregate-to-view")
        assert rule("get", "mine", "x.io") in view["rules"]
        assert len(view["rules"]) > 10
        discovery = await running.client.get(CLUSTER_ROLES, "system:discovery")
        assert discovery["rules"] == [rule("get", "mine", "x.io")]


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

    async def decision(verb: str) -> Obj:
        wanted = {"verb": verb, "resource": "pods", "namespace": "default"}
        review = {"metadata": {}, "spec": {"user": "bob", "resourceAttributes": wanted}}
        answer = await running.client.create(SUBJECT_ACCESS_REVIEWS, review)
        status: Obj = answer["status"]
        return status

    reason = 'RBAC: allowed by RoleBinding "default/bob" of Role "bob" to User "bob"'
    assert await decision("list") == {"allowed": True, "reason": reason}
    assert await decision("delete") == {"allowed": False}


async def test_who_am_i(running: RunningServer) -> None:
    answer = await running.client_of("bob", "team").create(MYSELF, {"metadata": {}})
    assert answer["status"]["userInfo"] == {
        "username": "bob",
        "groups": ["team", "system:authenticated"],
    }


async def test_what_is_known_of_a_user_besides_can_be_part_of_the_question(
    running: RunningServer,
) -> None:
    spec = {
        "user": "bob",
        "extra": {"authentication.kubernetes.io/credential-id": ["JTI=1", "JTI=2"]},
        "nonResourceAttributes": {"path": "/version", "verb": "get"},
    }
    review = await running.client.create(SUBJECT_ACCESS_REVIEWS, {"metadata": {}, "spec": spec})
    assert review["spec"]["extra"] == spec["extra"]


async def test_a_question_that_cannot_be_answered_says_what_is_wrong(
    running: RunningServer,
) -> None:
    pods = {"verb": "list", "resource": "pods", "namespace": "other"}
    for resource, namespace, spec, message in (
        (SUBJECT_ACCESS_REVIEWS, "", {"resourceAttributes": pods}, "at least one of user or group"),
        (SUBJECT_ACCESS_REVIEWS, "", {"user": "bob"}, "exactly one of nonResourceAttributes or"),
        (
            SUBJECT_ACCESS_REVIEWS,
            "",
            {"user": "bob", "resourceAttributes": pods, "nonResourceAttributes": {"path": "/"}},
            "cannot be specified in combination with resourceAttributes",
        ),
        (LOCAL_REVIEWS, "default", {"user": "bob", "resourceAttributes": pods}, "must match"),
    ):
        metadata = {"namespace": namespace} if namespace else {}
        with pytest.raises(Invalid, match=message):
            await running.client.create(resource, {"metadata": metadata, "spec": spec})
    with pytest.raises(BadRequest, match=r"SubjectAccessReviewSpec\.spec\.user of type string"):
        await running.client.create(SUBJECT_ACCESS_REVIEWS, {"metadata": {}, "spec": {"user": 5}})


async def test_what_may_i_do_lists_rules_of_both_kinds(running: RunningServer) -> None:
    bob = await grant(running, "bob", rule("list", "pods"))
    review: Obj = {"metadata": {}, "spec": {"namespace": "default"}}
    review["status"] = {"resourceRules": None, "nonResourceRules": None, "incomplete": False}
    status = (await bob.create(OWN_RULES, review))["status"]
    assert rule("list", "pods") in status["resourceRules"]
    assert any("/version" in r["nonResourceURLs"] for r in status["nonResourceRules"])
    assert status["incomplete"] is False

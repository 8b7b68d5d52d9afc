"""ValidatingAdmissionPolicy: what users may demand of any write, in CEL."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.support.apiserver import RunningServer, running_server

from kubeling.apiserver.requests import ApiRequest, ObjectAnswer
from kubeling.apiserver.user import ADMIN
from kubeling.kube.client import Client
from kubeling.kube.errors import ApiError, Forbidden, Invalid
from kubeling.kube.objects import Obj, new_object
from kubeling.kube.resources import (
    CLUSTER_ROLE_BINDINGS,
    CONFIG_MAPS,
    DEPLOYMENTS,
    NAMESPACES,
    PODS,
    Resource,
)

GROUP = "admissionregistration.k8s.io"
POLICIES = Resource(GROUP, "v1", "ValidatingAdmissionPolicy", "validatingadmissionpolicies", False)
BINDINGS = Resource(
    GROUP, "v1", "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", False
)


@pytest.fixture
async def running() -> AsyncIterator[RunningServer]:
    async with running_server() as running:
        yield running


@pytest.fixture
def client(running: RunningServer) -> Client:
    return running.client


def matching(resources: str, operations: str = "CREATE UPDATE", group: str = "") -> Obj:
    rule = {
        "apiGroups": [group],
        "apiVersions": ["v1"],
        "operations": operations.split(),
        "resources": resources.split(),
    }
    return {"resourceRules": [rule]}


def policy(*validations: Obj | str, matching: Obj | None = None, **spec: Any) -> Obj:
    listed = [{"expression": v} if isinstance(v, str) else v for v in validations]
    constraints = matching or globals()["matching"]("configmaps")
    return new_object(
        POLICIES, "p", spec={"matchConstraints": constraints, "validations": listed, **spec}
    )


def binding(*actions: str, name: str = "b", **spec: Any) -> Obj:
    actions = actions or ("Deny",)
    wanted = {"policyName": "p", "validationActions": list(actions), **spec}
    return new_object(BINDINGS, name, spec=wanted)


async def enforce(client: Client, made: Obj, bound: Obj | None = None) -> None:
    await client.create(POLICIES, made)
    await client.create(BINDINGS, bound or binding())


def config(name: str = "c", labels: Obj | None = None, **data: str) -> Obj:
    made = new_object(CONFIG_MAPS, name, "default", data=data)
    if labels:
        made["metadata"]["labels"] = labels
    return made


async def refused(client: Client, made: Obj) -> ApiError:
    with pytest.raises(ApiError) as caught:
        await client.create(CONFIG_MAPS, made)
    return caught.value


# --- what a policy refuses ---------------------------------------------------------------------


async def test_a_write_that_breaks_a_bound_policy_is_refused(client: Client) -> None:
    rule = {"expression": "size(object.data) < 2", "message": "too many keys"}
    await enforce(client, policy(rule))
    await client.create(CONFIG_MAPS, config("fine", a="1"))
    error = await refused(client, config(a="1", b="2"))
    denied = "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: too many keys"
    assert isinstance(error, Invalid)
    assert error.message == f'configmaps "c" is forbidden: {denied}'
    assert error.status["code"] == 422
    assert error.details["causes"] == [{"message": denied}]


async def test_a_policy_without_a_binding_and_a_binding_without_a_policy_do_nothing(
    client: Client,
) -> None:
    await client.create(POLICIES, policy("false"))
    await client.create(CONFIG_MAPS, config("one"))
    await client.delete(POLICIES, "p")
    await client.create(BINDINGS, binding())
    await client.create(CONFIG_MAPS, config("two"))
    await client.create(POLICIES, policy("false"))
    await refused(client, config("three"))
    await client.delete(BINDINGS, "b")
    await client.create(CONFIG_MAPS, config("three"))


async def test_the_reason_decides_the_code(client: Client) -> None:
    await enforce(client, policy({"expression": "false", "reason": "Forbidden"}))
    error = await refused(client, config())
    assert isinstance(error, Forbidden)
    assert "failed expression: false" in error.message


async def test_a_message_may_be_computed(client: Client) -> None:
    rule = {
        "expression": "!('password' in object.data)",
        "message": "no passwords",
        "messageExpression": "object.metadata.name + ' holds a password'",
    }
    await enforce(client, policy(rule))
    assert "c holds a password" in (await refused(client, config(password="x"))).message


async def test_a_warning_lets_the_write_through(running: RunningServer) -> None:
    await enforce(running.client, policy("false"), binding("Warn", "Audit"))
    path = "/api/v1/namespaces/default/configmaps"
    request = ApiRequest("POST", path, user=ADMIN, value=config())
    answer = await running.server.handle(request)
    assert isinstance(answer, ObjectAnswer)
    assert answer.warnings == [
        "Validation failed for ValidatingAdmissionPolicy 'p' with binding 'b': "
        "failed expression: false"
    ]
    assert await running.client.get(CONFIG_MAPS, "c", "default")


async def test_an_expression_that_fails_refuses_unless_it_is_to_be_ignored(
    client: Client,
) -> None:
    await enforce(client, policy("object.data.missing == 'x'"))
    error = await refused(client, config())
    expected = "expression 'object.data.missing == 'x'' resulted in error: no such key: missing"
    assert expected in error.message
    await client.patch(POLICIES, "p", {"spec": {"failurePolicy": "Ignore"}})
    await client.create(CONFIG_MAPS, config())


# --- what a policy is about --------------------------------------------------------------------


async def test_only_what_the_rules_name_is_looked_at(client: Client) -> None:
    await enforce(client, policy("false", matching=matching("deployments", group="apps")))
    await client.create(CONFIG_MAPS, config())
    template = {
        "metadata": {"labels": {"a": "b"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    }
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    with pytest.raises(Invalid, match=re.escape('deployments.apps "d" is forbidden')):
        await client.create(DEPLOYMENTS, new_object(DEPLOYMENTS, "d", "default", spec=spec))


async def test_selectors_of_objects_and_namespaces(client: Client) -> None:
    constraints = {
        **matching("configmaps"),
        "objectSelector": {"matchLabels": {"checked": "yes"}},
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}},
    }
    await enforce(client, policy("false", matching=constraints))
    await client.create(CONFIG_MAPS, config("plain"))
    await refused(client, config(labels={"checked": "yes"}))
    elsewhere = new_object(CONFIG_MAPS, "c", "kube-system")
    elsewhere["metadata"]["labels"] = {"checked": "yes"}
    await client.create(CONFIG_MAPS, elsewhere)


async def test_what_is_excluded_and_what_a_binding_narrows(client: Client) -> None:
    excluded = {**matching("configmaps")["resourceRules"][0], "resourceNames": ["free"]}
    constraints = {**matching("*"), "excludeResourceRules": [excluded]}
    narrowed = {"objectSelector": {"matchExpressions": [{"key": "x", "operator": "Exists"}]}}
    await enforce(client, policy("false", matching=constraints), binding(matchResources=narrowed))
    await client.create(CONFIG_MAPS, config("free", {"x": "1"}))
    await client.create(CONFIG_MAPS, config("unlabelled"))
    await refused(client, config(labels={"x": "1"}))


async def test_conditions_narrow_further(client: Client) -> None:
    conditions = [
        {"name": "not-system", "expression": "!request.userInfo.username.startsWith('system:')"}
    ]
    await enforce(client, policy("false", matchConditions=conditions))
    await client.create(CONFIG_MAPS, config())


async def test_policies_cannot_lock_themselves_in(client: Client) -> None:
    await enforce(client, policy("false", matching=matching("*", "*", "*")))
    await client.delete(BINDINGS, "b")
    await client.delete(POLICIES, "p")


# --- what expressions see ----------------------------------------------------------------------


async def test_an_update_has_an_old_object(client: Client) -> None:
    rule = "request.operation == 'CREATE' || object.data.a == oldObject.data.a"
    await enforce(client, policy(rule))
    await client.create(CONFIG_MAPS, config(a="1", b="1"))
    await client.patch(CONFIG_MAPS, "c", {"data": {"b": "2"}}, "default")
    with pytest.raises(Invalid):
        await client.patch(CONFIG_MAPS, "c", {"data": {"a": "2"}}, "default")


async def test_a_deletion_has_only_the_old_object(client: Client) -> None:
    rule = "object == null && oldObject.metadata.?labels.?keep.orValue('') != 'yes'"
    await enforce(client, policy(rule, matching=matching("configmaps", "DELETE")))
    await client.create(CONFIG_MAPS, config("gone"))
    await client.create(CONFIG_MAPS, config("kept", {"keep": "yes"}))
    await client.delete(CONFIG_MAPS, "gone", "default")
    with pytest.raises(Invalid, match='configmaps "kept" is forbidden'):
        await client.delete(CONFIG_MAPS, "kept", "default")


async def test_a_subresource_is_matched_by_its_name(client: Client) -> None:
    await enforce(
        client, policy("object.status.phase != 'Failed'", matching=matching("pods/status"))
    )
    spec = {"containers": [{"name": "c", "image": "i"}]}
    await client.create(PODS, new_object(PODS, "p", "default", spec=spec))
    await client.patch_status(PODS, "p", {"phase": "Running"}, "default")
    with pytest.raises(Invalid):
        await client.patch_status(PODS, "p", {"phase": "Failed"}, "default")


async def test_variables_build_on_each_other(client: Client) -> None:
    variables = [
        {"name": "keys", "expression": "object.data.map(k, k)"},
        {"name": "long", "expression": "variables.keys.filter(k, k.size() > 3)"},
    ]
    rule = {
        "expression": "variables.long.size() == 0",
        "messageExpression": "'too long: ' + variables.long.join(', ')",
    }
    await enforce(client, policy(rule, variables=variables))
    await client.create(CONFIG_MAPS, config("fine", abc="1"))
    assert "too long: abcd" in (await refused(client, config(abcd="1"))).message


async def test_the_namespace_and_the_user_can_be_asked_for(running: RunningServer) -> None:
    rule = (
        "namespaceObject.metadata.labels.team == 'x' "
        "&& request.userInfo.groups.exists(g, g == 'writers') && request.namespace == 'default'"
    )
    client = running.client
    await enforce(client, policy(rule))
    label = {"metadata": {"labels": {"team": "x"}}}
    await client.patch(NAMESPACES, "default", label)
    await refused(client, config())
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"}
    subject = {"apiGroup": role["apiGroup"], "kind": "Group", "name": "writers"}
    bound = new_object(CLUSTER_ROLE_BINDINGS, "writers", roleRef=role, subjects=[subject])
    await client.create(CLUSTER_ROLE_BINDINGS, bound)
    await running.client_of("bob", "writers").create(CONFIG_MAPS, config())


async def test_the_authorizer_answers_for_the_user(running: RunningServer) -> None:
    rule = (
        "authorizer.group('').resource('secrets').namespace('default').check('create').allowed() "
        "&& authorizer.requestResource.check('delete').allowed() "
        "&& !authorizer.serviceAccount('default', 'default').path('/metrics').check('get')"
        ".allowed()"
    )
    await enforce(running.client, policy(rule))
    await running.client.create(CONFIG_MAPS, config())


async def test_params_come_from_the_object_that_the_binding_names(client: Client) -> None:
    kind = {"apiVersion": "v1", "kind": "ConfigMap"}
    made = policy(
        "int(params.data.most) >= object.data.size()",
        paramKind=kind,
        matchConditions=[{"name": "others", "expression": "object.metadata.name != 'limits'"}],
    )
    reference = {"name": "limits", "parameterNotFoundAction": "Deny"}
    await enforce(client, made, binding(paramRef=reference))
    missing = await refused(client, config(a="1"))
    assert "failed to configure binding: no params found" in missing.message
    await client.patch(BINDINGS, "b", {"spec": {"paramRef": {"parameterNotFoundAction": "Allow"}}})
    await client.create(CONFIG_MAPS, config("limits", most="1"))
    await client.create(CONFIG_MAPS, config("fine", a="1"))
    await refused(client, config(a="1", b="1"))


# --- what can be written -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (policy("object.x >"), "spec.validations[0].expression: Invalid value: "
         '"object.x >": compilation failed: ERROR: <input>:1:11: Syntax error'),
        (policy("'a'"), "must evaluate to a bool"),
        (policy("params.x"), "undeclared reference to 'params'"),
        (policy("variables.nope"), "undefined field 'nope'"),
        (policy("request.nope == 1"), "undefined field 'nope'"),
        (policy(), "spec.validations: Required value"),
        (policy({"expression": "true", "messageExpression": "1"}),
         "messageExpression: Invalid value"),
        (policy({"expression": "true", "reason": "Odd"}), "reason: Unsupported value"),
        (policy("true", variables=[{"name": "a-b", "expression": "1"}]), "variables[0].name"),
        (policy("true", failurePolicy="Maybe"), "failurePolicy: Unsupported value"),
        (new_object(POLICIES, "p"), "spec.matchConstraints: Required value"),
        (policy("true", matching={**matching("pods"), "objectSelector": {"matchExpressions": [
            {"key": "a", "operator": "Odd"}]}}), "objectSelector"),
        (policy("true", matching={"matchPolicy": "Exact"}), "resourceRules: Required value"),
    ],
)  # fmt: skip
async def test_a_policy_that_cannot_work_is_refused(
    client: Client, made: Obj, message: str
) -> None:
    with pytest.raises(Invalid) as caught:
        await client.create(POLICIES, made)
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("bound", "message"),
    [
        (binding("Deny", "Warn"), "must not contain both Deny and Warn"),
        (binding("Shout"), "spec.validationActions[0]: Unsupported value"),
        (binding(policyName=""), "spec.policyName: Required value"),
        (binding(paramRef={"name": "x"}), "parameterNotFoundAction: Required value"),
    ],
)
async def test_a_binding_that_cannot_work_is_refused(
    client: Client, bound: Obj, message: str
) -> None:
    with pytest.raises(Invalid) as caught:
        await client.create(BINDINGS, bound)
    assert message in caught.value.message


async def test_defaults_are_those_of_kubernetes(client: Client) -> None:
    made = await client.create(POLICIES, policy("true"))
    assert made["spec"]["failurePolicy"] == "Fail"
    constraints = made["spec"]["matchConstraints"]
    assert constraints["matchPolicy"] == "Equivalent"
    assert constraints["resourceRules"][0]["scope"] == "*"


# --- policies that change objects --------------------------------------------------------------

CHANGES = Resource(GROUP, "v1", "MutatingAdmissionPolicy", "mutatingadmissionpolicies", False)
CHANGE_BINDINGS = Resource(
    GROUP, "v1", "MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybindings", False
)


def applied(expression: str) -> Obj:
    return {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}


def patched(expression: str) -> Obj:
    return {"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}


async def change(
    client: Client, *mutations: Obj, resources: str = "configmaps", name: str = "m", **spec: Any
) -> None:
    wanted = {"matchConstraints": matching(resources), "mutations": list(mutations), **spec}
    await client.create(CHANGES, new_object(CHANGES, name, spec=wanted))
    bound = new_object(CHANGE_BINDINGS, name, spec={"policyName": name})
    await client.create(CHANGE_BINDINGS, bound)


async def test_a_policy_may_add_to_an_object(client: Client) -> None:
    label = "Object{metadata: Object.metadata{labels: {'by': request.operation}}}"
    await change(client, applied(label))
    made = await client.create(CONFIG_MAPS, config(labels={"a": "b"}))
    assert made["metadata"]["labels"] == {"a": "b", "by": "CREATE"}


async def test_items_of_keyed_lists_are_merged_by_their_key(client: Client) -> None:
    container = "Object.spec.containers{name: 'c', imagePullPolicy: 'Never'}"
    extra = "Object.spec.initContainers{name: 'proxy', image: 'mesh', restartPolicy: 'Always'}"
    expression = (
        f"Object{{spec: Object.spec{{containers: [{container}], initContainers: [{extra}]}}}}"
    )
    await change(client, applied(expression), resources="pods")
    spec = {"containers": [{"name": "c", "image": "i"}, {"name": "d", "image": "j"}]}
    made = await client.create(PODS, new_object(PODS, "p", "default", spec=spec))
    assert [c["image"] for c in made["spec"]["containers"]] == ["i", "j"]
    assert made["spec"]["containers"][0]["imagePullPolicy"] == "Never"
    assert made["spec"]["initContainers"][0]["name"] == "proxy"


async def test_a_policy_may_patch(client: Client) -> None:
    operations = (
        "[JSONPatch{op: 'test', path: '/data/a', value: '1'}, "
        "JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('x.y/z'), "
        "value: '2'}, "
        "JSONPatch{op: 'remove', path: '/data/a'}]"
    )
    await change(client, patched(operations))
    made = await client.create(CONFIG_MAPS, config(labels={"l": "1"}, a="1"))
    assert made["data"] == {}
    assert made["metadata"]["labels"] == {"l": "1", "x.y/z": "2"}
    error = await refused(client, config("other", a="5"))
    assert "policy 'm' with binding 'm' denied request: JSON Patch" in error.message


async def test_each_mutation_sees_what_the_one_before_left(client: Client) -> None:
    first = applied("Object{data: {'n': '1'}}")
    second = applied("Object{data: {'n': object.data.n + '2'}}")
    condition = [{"name": "unset", "expression": "!has(object.data) || !('n' in object.data)"}]
    await change(client, first, second, matchConditions=condition)
    assert (await client.create(CONFIG_MAPS, config()))["data"] == {"n": "12"}
    await client.patch(CONFIG_MAPS, "c", {"data": {"x": "y"}}, "default")
    found = await client.get(CONFIG_MAPS, "c", "default")
    assert found["data"] == {"n": "12", "x": "y"}


async def test_a_policy_is_asked_again_where_another_changed_the_object_later(
    client: Client,
) -> None:
    copy = applied("Object{data: {'copy': object.data.?last.orValue('none')}}")
    await change(client, copy, name="a", reinvocationPolicy="IfNeeded")
    await change(client, applied("Object{data: {'last': 'set'}}"), name="b")
    assert (await client.create(CONFIG_MAPS, config()))["data"] == {"copy": "set", "last": "set"}


async def test_validating_policies_see_what_mutating_ones_made(client: Client) -> None:
    await change(client, applied("Object{data: {'added': 'yes'}}"))
    await enforce(client, policy("object.data.added == 'yes'"))
    await client.create(CONFIG_MAPS, config())


async def test_a_change_that_cannot_be_computed_refuses_unless_ignored(client: Client) -> None:
    await change(client, applied("Object{data: {'a': object.data.missing}}"))
    error = await refused(client, config(b="1"))
    assert "no such key: missing" in error.message
    await client.patch(CHANGES, "m", {"spec": {"failurePolicy": "Ignore"}})
    assert (await client.create(CONFIG_MAPS, config(b="1")))["data"] == {"b": "1"}


@pytest.mark.parametrize(
    ("mutations", "message"),
    [
        ([], "spec.mutations: Required value"),
        ([applied("Objekt{}")], "undeclared reference to 'Objekt'"),
        ([patched("[JSONPatch{oops: 'add'}]")], "undefined field 'oops'"),
        ([patched("'text'")], "must evaluate to a list(JSONPatch)"),
        ([{"patchType": "Odd"}], "patchType: Unsupported value"),
        ([{**applied("Object{}"), **patched("[]")}], "must not be set when patchType is JSONPatch"),
    ],
)
async def test_a_mutating_policy_that_cannot_work_is_refused(
    client: Client, mutations: list[Obj], message: str
) -> None:
    with pytest.raises(Invalid) as caught:
        await change(client, *mutations)
    assert message in caught.value.message

"""Rules in a definition's schema (``x-kubernetes-validations``), as users meet them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.support.apiserver import RunningServer, running_server

from kubeling.kube.client import Client
from kubeling.kube.errors import Invalid
from kubeling.kube.objects import Obj, new_object
from kubeling.kube.resources import CUSTOM_RESOURCE_DEFINITIONS, Resource

JOBS = Resource("train.example.org", "v1", "TrainJob", "trainjobs")


@pytest.fixture
async def running() -> AsyncIterator[RunningServer]:
    async with running_server() as running:
        yield running


def definition(spec: Obj, *, rules: list[Obj] | None = None, **root: Any) -> Obj:
    """A definition of ``TrainJob`` whose spec has this schema."""
    schema: Obj = {"type": "object", "properties": {"spec": spec, **root}}
    if rules:
        schema["x-kubernetes-validations"] = rules
    return new_object(
        CUSTOM_RESOURCE_DEFINITIONS,
        JOBS.qualified,
        spec={
            "group": JOBS.group,
            "scope": "Namespaced",
            "names": {"kind": JOBS.kind, "plural": JOBS.plural},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                    "subresources": {"status": {}},
                }
            ],
        },
    )


def obj(schema: dict[str, Any], *rules: Obj | str) -> Obj:
    """The schema of an object with these properties and rules."""
    made: Obj = {"type": "object", "properties": schema}
    if rules:
        listed = [{"rule": rule} if isinstance(rule, str) else rule for rule in rules]
        made["x-kubernetes-validations"] = listed
    return made


INT, STRING = {"type": "integer"}, {"type": "string"}
INT_OR_STRING = {"x-kubernetes-int-or-string": True}


async def define(client: Client, spec: Obj, **more: Any) -> None:
    await client.create(CUSTOM_RESOURCE_DEFINITIONS, definition(spec, **more))


def job(name: str = "j", **spec: Any) -> Obj:
    return new_object(JOBS, name, "default", spec=spec)


async def refused(client: Client, made: Obj) -> Invalid:
    with pytest.raises(Invalid) as caught:
        await client.create(JOBS, made)
    return caught.value


# --- what a rule says --------------------------------------------------------------------------


async def test_an_object_that_breaks_a_rule_is_refused_with_its_message(
    running: RunningServer,
) -> None:
    rule = {"rule": "self.minReplicas <= self.replicas", "message": "replicas is below the minimum"}
    await define(running.client, obj({"replicas": INT, "minReplicas": INT}, rule))
    await running.client.create(JOBS, job("fine", replicas=2, minReplicas=1))
    error = await refused(running.client, job(replicas=1, minReplicas=2))
    assert error.message == (
        'TrainJob.train.example.org "j" is invalid: spec: Invalid value: "object": '
        "replicas is below the minimum"
    )
    assert error.details["causes"] == [
        {
            "reason": "FieldValueInvalid",
            "message": 'Invalid value: "object": replicas is below the minimum',
            "field": "spec",
        }
    ]


async def test_without_a_message_the_rule_itself_is_shown(running: RunningServer) -> None:
    await define(running.client, obj({"size": {**INT, **rules("self > 0")}}))
    error = await refused(running.client, job(size=0))
    assert 'spec.size: Invalid value: "integer": failed rule: self > 0' in error.message


def rules(*texts: str) -> Obj:
    return {"x-kubernetes-validations": [{"rule": text} for text in texts]}


async def test_a_message_may_be_computed(running: RunningServer) -> None:
    rule = {
        "rule": "self.size <= 3",
        "message": "too large",
        "messageExpression": "'size is ' + string(self.size) + ', at most 3'",
    }
    await define(running.client, obj({"size": INT}, rule))
    assert "size is 7, at most 3" in (await refused(running.client, job(size=7))).message


async def test_a_message_that_cannot_be_computed_gives_way_to_the_fixed_one(
    running: RunningServer,
) -> None:
    rule = {"rule": "false", "message": "never", "messageExpression": "self.words[7]"}
    await define(running.client, obj({"words": {"type": "array", "items": STRING}}, rule))
    assert '"object": never' in (await refused(running.client, job(words=[]))).message


async def test_a_rule_may_name_a_field_and_a_reason(running: RunningServer) -> None:
    rule = {
        "rule": "has(self.image) || has(self.model)",
        "message": "an image is needed without a model",
        "fieldPath": ".image",
        "reason": "FieldValueRequired",
    }
    await define(running.client, obj({"image": STRING, "model": STRING}, rule))
    error = await refused(running.client, job())
    assert "spec.image: Required value: an image is needed without a model" in error.message
    assert error.details["causes"][0]["reason"] == "FieldValueRequired"


async def test_a_rule_that_fails_says_why(running: RunningServer) -> None:
    await define(running.client, obj({"size": INT}, "10 / self.size > 1"))
    error = await refused(running.client, job(size=0))
    assert "division by zero evaluating rule: 10 / self.size > 1" in error.message


# --- what a rule sees --------------------------------------------------------------------------


async def test_rules_hold_at_any_depth(running: RunningServer) -> None:
    worker = obj({"replicas": INT}, "self.replicas > 0")
    spec = obj(
        {
            "list": {"type": "array", "items": worker},
            "map": {"type": "object", "additionalProperties": worker},
        }
    )
    await define(running.client, spec)
    bad, good = {"replicas": 0}, {"replicas": 1}
    error = await refused(running.client, job(list=[good, bad], map={"ps": bad, "chief": good}))
    paths = [cause["field"] for cause in error.details["causes"]]
    assert paths == ["spec.list[1]", "spec.map[ps]"]


@pytest.mark.parametrize(
    ("field", "rule", "good", "bad"),
    [
        (INT_OR_STRING, "type(self) == int ? self > 0 : self == '50%'", 1, 0),
        (INT_OR_STRING, "type(self) == int || self.endsWith('%')", "5%", "5"),
        ({"type": "string", "format": "date-time"}, "self.getFullYear() >= 2024",
         "2024-05-01T00:00:00Z", "2023-05-01T00:00:00Z"),
        ({"type": "string", "format": "duration"}, "self < duration('1h')", "5m", "2h"),
        ({"type": "string", "format": "byte"}, "self.size() == 3", "YWJj", "YWI="),
        ({"type": "number"}, "self / 2.0 < 2.0", 3, 4),
        ({"type": "array", "items": STRING, "x-kubernetes-list-type": "set"},
         "self == ['a', 'b']", ["b", "a"], ["a"]),
        ({"type": "object", "additionalProperties": STRING}, "'team' in self && self.team != ''",
         {"team": "x"}, {"other": "x"}),
        ({"type": "string", "nullable": True}, "self.startsWith('a')", None, "b"),
        (STRING, "isURL(self) && url(self).getScheme() == 'https'", "https://a/b", "http://a"),
        (STRING, "quantity(self).isLessThan(quantity('2Gi'))", "500Mi", "3Gi"),
        (STRING, "self.lowerAscii().split(',').all(part, part.size() > 1)", "Ab,cd", "ab,c"),
        (STRING, "self.matches('^([a-z0-9]+-)*[a-z0-9]+$')", "a-b", "a--b"),
        (STRING, "self.find('[0-9]+') == '42'", "a42b7", "a7"),
        (STRING, "ip(self).family() == 4", "10.0.0.1", "::1"),
        (STRING, "cidr('10.0.0.0/8').containsIP(self)", "10.2.0.1", "11.0.0.1"),
        (STRING, "!format.dns1123Label().validate(self).hasValue()", "a-b", "A"),
        ({"type": "array", "items": INT}, "self.isSorted() && self.sum() < 10", [1, 2], [2, 1]),
        ({"type": "array", "items": STRING}, "self.exists_one(s, s == 'a')",
         ["a", "b"], ["a", "a"]),
        ({"type": "array", "items": INT}, "self.all(i, v, v >= i)", [0, 1, 5], [0, 0]),
        ({"type": "array", "items": STRING}, "sets.contains(['a', 'b'], self)", ["a"], ["c"]),
    ],
)  # fmt: skip
async def test_values_have_the_types_of_their_schema(
    running: RunningServer, field: Obj, rule: str, good: object, bad: object
) -> None:
    await define(running.client, obj({"value": {**field, **rules(rule)}}))
    await running.client.create(JOBS, job("good", value=good))
    error = await refused(running.client, job("bad", value=bad))
    assert "failed rule" in error.message


async def test_names_that_are_no_identifiers_are_escaped(running: RunningServer) -> None:
    fields = {"namespace": STRING, "a-b": INT, "x.y": INT, "__up": INT}
    rule = (
        "self.__namespace__ == 'n' && self.a__dash__b == 1 && self.x__dot__y == 2 "
        "&& self.__underscores__up == 3"
    )
    await define(running.client, obj(fields, rule))
    await running.client.create(JOBS, job(**{"namespace": "n", "a-b": 1, "x.y": 2, "__up": 3}))


async def test_the_root_sees_the_name_and_embedded_objects_theirs(running: RunningServer) -> None:
    template = {
        "type": "object",
        "x-kubernetes-embedded-resource": True,
        "x-kubernetes-preserve-unknown-fields": True,
        **rules("self.kind == 'Pod' && self.metadata.name != ''"),
    }
    named = [{"rule": "self.metadata.name.size() < 5", "message": "the name is too long"}]
    await define(running.client, obj({"template": template}), rules=named)
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}
    await running.client.create(JOBS, job("fine", template=pod))
    error = await refused(running.client, job("lengthy", template={**pod, "kind": "Job"}))
    assert "the name is too long" in error.message
    assert "spec.template: Invalid value" in error.message


async def test_defaults_are_there_before_the_rules(running: RunningServer) -> None:
    await define(running.client, obj({"size": {**INT, "default": 3}}, "self.size == 3"))
    await running.client.create(JOBS, job())


# --- changes -----------------------------------------------------------------------------------


async def test_a_transition_rule_holds_between_the_old_and_the_new(running: RunningServer) -> None:
    rule = {"rule": "self == oldSelf", "message": "field is immutable"}
    frozen = {**STRING, "x-kubernetes-validations": [rule]}
    await define(running.client, obj({"model": frozen, "note": STRING}))
    await running.client.create(JOBS, job(model="a"))
    await running.client.patch(JOBS, "j", {"spec": {"note": "x"}}, "default")
    with pytest.raises(Invalid, match="field is immutable"):
        await running.client.patch(JOBS, "j", {"spec": {"model": "b"}}, "default")


async def test_items_with_keys_are_compared_with_their_former_selves(
    running: RunningServer,
) -> None:
    item = obj({"name": STRING, "replicas": INT}, "self.replicas >= oldSelf.replicas")
    item["required"] = ["name"]
    listed = {
        "type": "array",
        "items": item,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
    }
    await define(running.client, obj({"workers": listed}))
    before = [{"name": "a", "replicas": 2}, {"name": "b", "replicas": 1}]
    await running.client.create(JOBS, job(workers=before))
    moved = [{"name": "c", "replicas": 0}, {"name": "b", "replicas": 1}, before[0]]
    await running.client.patch(JOBS, "j", {"spec": {"workers": moved}}, "default")
    fewer = [*moved[:2], {"name": "a", "replicas": 1}]
    with pytest.raises(Invalid, match=re.escape("spec.workers[2]")):
        await running.client.patch(JOBS, "j", {"spec": {"workers": fewer}}, "default")


async def test_a_rule_may_allow_for_there_being_no_old_value(running: RunningServer) -> None:
    rule = {
        "rule": "oldSelf.hasValue() ? self >= oldSelf.value() : self == 1",
        "message": "starts at 1 and only grows",
        "optionalOldSelf": True,
    }
    await define(running.client, obj({"version": {**INT, "x-kubernetes-validations": [rule]}}))
    assert "starts at 1" in (await refused(running.client, job(version=2))).message
    await running.client.create(JOBS, job(version=1))
    await running.client.patch(JOBS, "j", {"spec": {"version": 5}}, "default")
    with pytest.raises(Invalid, match="only grows"):
        await running.client.patch(JOBS, "j", {"spec": {"version": 4}}, "default")


async def test_what_did_not_change_may_go_on_breaking_a_newer_rule(running: RunningServer) -> None:
    await define(running.client, obj({"size": INT, "note": STRING}))
    await running.client.create(JOBS, job(size=9))
    stricter = definition(obj({"size": {**INT, **rules("self < 5")}, "note": STRING}))
    versions = {"spec": {"versions": stricter["spec"]["versions"]}}
    await running.client.patch(CUSTOM_RESOURCE_DEFINITIONS, JOBS.qualified, versions)
    await running.client.patch(JOBS, "j", {"spec": {"note": "x"}}, "default")
    with pytest.raises(Invalid, match="failed rule: self < 5"):
        await running.client.patch(JOBS, "j", {"spec": {"size": 8}}, "default")
    await running.client.patch(JOBS, "j", {"spec": {"size": 4}}, "default")


async def test_a_status_has_to_obey_too(running: RunningServer) -> None:
    status = obj({"ready": INT})
    rule = {"rule": "!has(self.status) || self.status.ready <= self.spec.size"}
    await define(running.client, obj({"size": INT}), rules=[rule], status=status)
    await running.client.create(JOBS, job(size=2))
    with pytest.raises(Invalid, match="failed rule"):
        await running.client.patch_status(JOBS, "j", {"ready": 3}, "default")
    await running.client.patch_status(JOBS, "j", {"ready": 2}, "default")


# --- the platform's own kind of rules -----------------------------------------------------------


async def test_rules_in_the_style_of_the_platform_hold(running: RunningServer) -> None:
    immutable = {"rule": "self == oldSelf", "message": "runtimeRef is immutable"}
    worker = obj(
        {"name": STRING, "replicas": INT, "maxReplicas": INT, "dependsOn": STRING},
        "!has(self.maxReplicas) || self.maxReplicas >= self.replicas",
    )
    workers = {
        "type": "array",
        "items": worker,
        **rules(
            "self.exists(w, w.name == 'node')",
            "self.all(w, !has(w.dependsOn) || self.exists(d, d.name == w.dependsOn))",
            "self.filter(w, w.name.startsWith('launcher')).size() <= 1",
        ),
    }
    uri = "isURL(self) && url(self).getScheme() in ['s3', 'gs', 'https']"
    spec = {
        "runtimeRef": obj({"name": STRING}, immutable),
        "workers": workers,
        "timeout": {**STRING, **rules("duration(self) > duration('0s')")},
        "storageUri": {**STRING, **rules(uri)},
        "namespace": {**STRING, **rules("self.size() > 0")},
    }
    own = "!has(self.namespace) || self.namespace != 'kube-system'"
    named = [{"rule": "self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')"}]
    await define(running.client, obj(spec, own), rules=named)
    fine = {
        "runtimeRef": {"name": "torch"},
        "workers": [
            {"name": "node", "replicas": 2, "maxReplicas": 4},
            {"name": "launcher", "replicas": 1, "dependsOn": "node"},
        ],
        "timeout": "1h30m",
        "storageUri": "s3://bucket/model",
        "namespace": "team",
    }
    await running.client.create(JOBS, job("fine", **fine))
    bad = {
        "runtimeRef": {"name": "torch"},
        "workers": [{"name": "launcher", "replicas": 3, "maxReplicas": 1, "dependsOn": "x"}],
        "timeout": "0s",
        "storageUri": "ftp://x",
        "namespace": "kube-system",
    }
    error = await refused(running.client, job("1bad", **bad))
    assert [cause["field"] for cause in error.details["causes"]] == [
        "",
        "spec",
        "spec.workers",
        "spec.workers",
        "spec.workers[0]",
        "spec.timeout",
        "spec.storageUri",
    ]
    change = {"spec": {"runtimeRef": {"name": "jax"}}}
    with pytest.raises(Invalid, match="runtimeRef is immutable"):
        await running.client.patch(JOBS, "fine", change, "default")


# --- definitions -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"rule": "self.size > 'a'"},
         "compilation failed: ERROR: <input>:1:11: found no matching overload for '_>_' applied "
         "to '(int, string)'\n | self.size > 'a'\n | ..........^"),
        ({"rule": "self.sise > 1"},
         "<input>:1:5: undefined field 'sise'\n | self.sise > 1\n | ....^"),
        ({"rule": "self.size >"}, "Syntax error: mismatched input '<EOF>'"),
        ({"rule": "self.size"}, "must evaluate to a bool"),
        ({"rule": "nope(self)"}, "undeclared reference to 'nope' (in container '')"),
        ({"rule": "self.words.all(w, w > 1)"}, "applied to '(string, int)'"),
        ({"rule": " "}, "rule: Required value: rule is not specified"),
        ({"rule": "true", "messageExpression": "1"}, "messageExpression must evaluate to a string"),
        ({"rule": "true", "messageExpression": "self.x"}, "messageExpression compilation failed"),
        ({"rule": "true", "reason": "Odd"}, 'reason: Unsupported value: "Odd"'),
        ({"rule": "true", "fieldPath": ".nope"}, "does not refer to a valid field"),
        ({"rule": "true", "optionalOldSelf": True},
         "may not be set if oldSelf is not used in rule"),
    ],
)  # fmt: skip
async def test_a_rule_that_cannot_work_is_refused_with_its_definition(
    running: RunningServer, rule: Obj, message: str
) -> None:
    words = {"type": "array", "items": STRING}
    spec = obj({"size": INT, "words": words}, rule)
    with pytest.raises(Invalid) as caught:
        await define(running.client, spec)
    assert message in caught.value.message
    path = "spec.versions[0].schema.openAPIV3Schema.properties[spec].x-kubernetes-validations[0]."
    assert path in caught.value.message


async def test_items_without_keys_have_no_former_selves(running: RunningServer) -> None:
    item = {**STRING, **rules("self == oldSelf")}
    with pytest.raises(Invalid, match="oldSelf cannot be used on the uncorrelatable portion"):
        await define(running.client, obj({"list": {"type": "array", "items": item}}))


async def test_a_costly_rule_ends_rather_than_the_server(running: RunningServer) -> None:
    rule = "self.list.all(a, self.list.all(b, self.list.all(c, a + b + c >= 0)))"
    await define(running.client, obj({"list": {"type": "array", "items": INT}}, rule))
    await running.client.create(JOBS, job("small", list=[1, 2, 3]))
    error = await refused(running.client, job("large", list=list(range(500))))
    assert "no further validation rules will be run" in error.message


async def test_a_pattern_cannot_take_exponential_time(running: RunningServer) -> None:
    await define(running.client, obj({"text": {**STRING, **rules("self.matches('^(a+)+$')")}}))
    await refused(running.client, job(text="a" * 64 + "!"))

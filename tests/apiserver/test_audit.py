"""The audit log: what is recorded of requests, what never is, and that it is never in the way."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.support.apiserver import RunningServer, running_server

from kubeling.apiserver.audit.logfile import AuditFile
from kubeling.apiserver.audit.policy import read_policy
from kubeling.apiserver.settings import ApiSettings, SettingsError
from kubeling.kube import config, yaml
from kubeling.kube.clock import FakeClock
from kubeling.kube.errors import Forbidden, Invalid
from kubeling.kube.objects import Obj, new_object
from kubeling.kube.resources import (
    CONFIG_MAPS,
    PODS,
    SECRETS,
    SERVICE_ACCOUNTS,
    TOKEN_REVIEWS,
    Resource,
)

SECRET = "c2VjcmV0LXZhbHVl"


@dataclass
class Log:
    """A server and what it has recorded."""

    running: RunningServer
    file: Path

    async def events(self, **wanted: Any) -> list[Obj]:
        """The events with these fields, of the objects' names with ``name``."""
        await asyncio.sleep(0)  # What was recorded in this turn of the loop is written at its end.
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        name = wanted.pop("name", None)
        return [
            event
            for event in map(json.loads, lines)
            if all(event.get(key) == value for key, value in wanted.items())
            and name in (None, event.get("objectRef", {}).get("name"))
        ]


@contextlib.asynccontextmanager
async def audited(folder: Path, level: Any = "metadata", **more: Any) -> AsyncIterator[Log]:
    file = folder / "audit.log"
    settings = ApiSettings(audit_level=level, audit_log_path=str(file), **more)
    async with running_server(https=True, settings=settings) as running:
        yield Log(running, file)


async def test_each_request_is_told_when_it_comes_and_when_it_is_over(tmp_path: Path) -> None:
    async with audited(tmp_path) as log:
        made = await log.running.client.create(CONFIG_MAPS, new_object(CONFIG_MAPS, "c", "default"))
        received, complete = await log.events(name="c")
        assert (received["stage"], complete["stage"]) == ("RequestReceived", "ResponseComplete")
        assert received["auditID"] == complete["auditID"]
        for moment in ("requestReceivedTimestamp", "stageTimestamp", "auditID"):
            assert complete.pop(moment)
        assert complete == {
            "kind": "Event",
            "apiVersion": "audit.k8s.io/v1",
            "level": "Metadata",
            "stage": "ResponseComplete",
            "requestURI": "/api/v1/namespaces/default/configmaps?fieldManager=test",
            "verb": "create",
            "user": {
                "username": "system:admin",
                "groups": ["system:masters", "system:authenticated"],
            },
            "userAgent": "kubeling",
            "objectRef": {
                "resource": "configmaps",
                "namespace": "default",
                "name": "c",
                "uid": made["metadata"]["uid"],
                "apiVersion": "v1",
                "resourceVersion": made["metadata"]["resourceVersion"],
            },
            "responseStatus": {"metadata": {}, "code": 201},
            "annotations": {
                "authorization.k8s.io/decision": "allow",
                "authorization.k8s.io/reason": "",
            },
        }


async def test_a_refusal_is_recorded_with_its_reason(tmp_path: Path) -> None:
    async with audited(tmp_path) as log:
        with pytest.raises(Forbidden):
            await log.running.client_of("eve").delete(PODS, "p", "default")
        (event,) = await log.events(name="p", stage="ResponseComplete")
        assert event["verb"] == "delete"
        assert event["responseStatus"]["code"] == 403
        assert event["responseStatus"]["reason"] == "Forbidden"
        assert 'User "eve" cannot delete resource "pods"' in event["responseStatus"]["message"]
        assert event["annotations"]["authorization.k8s.io/decision"] == "forbid"
        with pytest.raises(Invalid):
            await log.running.client.create(CONFIG_MAPS, new_object(CONFIG_MAPS, "A_", "default"))
        (event,) = await log.events(name="A_", stage="ResponseComplete")
        assert event["annotations"]["authorization.k8s.io/decision"] == "allow"


async def test_bodies_are_recorded_as_far_as_the_level_says(tmp_path: Path) -> None:
    for level, expected in (
        ("metadata", (False, False)),
        ("request", (True, False)),
        ("request-response", (True, True)),
    ):
        async with audited(tmp_path / level, level) as log:
            obj = new_object(CONFIG_MAPS, "c", "default", data={"a": "b"})
            await log.running.client.create(CONFIG_MAPS, obj)
            await log.running.client.patch(CONFIG_MAPS, "c", {"data": {"a": "x"}}, "default")
            created, patched = await log.events(name="c", stage="ResponseComplete")
            fields = ("requestObject", "responseObject")
            assert tuple(field in created for field in fields) == expected
            assert tuple(field in patched for field in fields) == expected
            if expected[0]:
                assert created["requestObject"]["data"] == {"a": "b"}
                assert patched["requestObject"] == {"data": {"a": "x"}}
            if expected[1]:
                assert patched["responseObject"]["data"] == {"a": "x"}


async def test_secrets_and_tokens_are_never_recorded(tmp_path: Path) -> None:
    async with audited(tmp_path, "request-response") as log:
        client = log.running.client
        await client.create(SECRETS, new_object(SECRETS, "s", "default", data={"k": SECRET}))
        await client.patch(SECRETS, "s", {"data": {"l": SECRET}}, "default")
        await client.list(SECRETS, "default")
        issued = await client.create_subresource(
            SERVICE_ACCOUNTS, "default", "default", "token", {}
        )
        token = issued["status"]["token"]
        await client.create(TOKEN_REVIEWS, {"metadata": {}, "spec": {"token": token}})
        recorded = await log.events()
        assert {event["objectRef"]["resource"] for event in recorded if "objectRef" in event} >= {
            "secrets",
            "serviceaccounts",
            "tokenreviews",
        }
        text = log.file.read_text()
        assert SECRET not in text
        assert token not in text


async def test_a_watch_is_recorded_when_it_starts_and_when_it_ends(tmp_path: Path) -> None:
    async with audited(tmp_path) as log:
        watch = log.running.client.watch(CONFIG_MAPS, "default")
        async with contextlib.aclosing(watch):
            await anext(watch)
            stages = [event["stage"] for event in await log.events(verb="watch")]
            assert stages == ["RequestReceived", "ResponseStarted"]
        stages = [event["stage"] for event in await log.events(verb="watch")]
        assert stages == ["RequestReceived", "ResponseStarted", "ResponseComplete"]


async def test_over_the_wire_the_answer_has_the_events_id(tmp_path: Path) -> None:
    async with audited(tmp_path) as log:
        context = config.load_kubeconfig(log.running.kubeconfig).ssl_context()
        connector = aiohttp.TCPConnector(ssl=context or True)
        path = CONFIG_MAPS.path("default")
        async with aiohttp.ClientSession(connector=connector) as session:
            url = log.running.server.url
            async with session.get(f"{url}{path}?limit=1", headers={"User-Agent": "x/1"}) as answer:
                name = answer.headers["Audit-Id"]
            (event,) = await log.events(auditID=name, stage="ResponseComplete")
            assert event["sourceIPs"] == ["127.0.0.1"]
            assert (event["userAgent"], event["verb"]) == ("x/1", "list")
            assert event["requestURI"] == f"{path}?limit=1"
            headers = {"Audit-ID": "mine", "Impersonate-User": "bob"}
            async with session.get(url + path, headers=headers) as answer:
                assert (answer.status, answer.headers["Audit-Id"]) == (403, "mine")
            (event,) = await log.events(auditID="mine", stage="ResponseComplete")
            assert event["user"]["username"] == "kubeling:admin"
            assert event["impersonatedUser"]["username"] == "bob"
            query = "?watch=1&timeoutSeconds=1"
            async with session.get(url + path + query, headers={"Audit-ID": "w"}) as answer:
                assert answer.headers["Audit-Id"] == "w"


async def test_who_cannot_say_who_they_are_is_recorded(tmp_path: Path) -> None:
    async with audited(tmp_path) as log:
        insecure = config.ClusterConfig(log.running.server.url, insecure=True).ssl_context()
        connector = aiohttp.TCPConnector(ssl=insecure or True)
        headers = {"Authorization": "Bearer wrong", "Audit-ID": "a"}
        async with aiohttp.ClientSession(connector=connector) as session:
            url = log.running.server.url + CONFIG_MAPS.path("default")
            async with session.get(url, headers=headers) as answer:
                assert answer.status == 401
        (event,) = await log.events(auditID="a")
        assert (event["stage"], event["user"]) == ("ResponseStarted", {})
        assert event["responseStatus"]["code"] == 401
        assert "wrong" not in log.file.read_text()


# --- a policy instead of one level --------------------------------------------------------------


@contextlib.asynccontextmanager
async def governed(folder: Path, *rules: Obj, **more: Any) -> AsyncIterator[Log]:
    policy = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": list(rules), **more}
    (folder / "policy.yaml").write_text(yaml.dump(policy))
    async with audited(folder, "off", audit_policy_file=str(folder / "policy.yaml")) as log:
        yield log


async def test_the_first_rule_that_fits_decides(tmp_path: Path) -> None:
    core = {"group": "", "resources": ["configmaps"]}
    async with governed(
        tmp_path,
        {"level": "None", "users": ["eve"]},
        {"level": "None", "resources": [{**core, "resourceNames": ["noise"]}]},
        {"level": "Request", "verbs": ["create"], "resources": [core], "namespaces": ["default"]},
        {"level": "Metadata", "userGroups": ["watched"]},
        {"level": "Metadata", "nonResourceURLs": ["/ver*"]},
    ) as log:
        client = log.running.client
        for name in ("noise", "signal"):
            made = new_object(CONFIG_MAPS, name, "default", data={"a": "b"})
            await client.apply(CONFIG_MAPS, made)
            await client.delete(CONFIG_MAPS, name, "default")
        await client.create(CONFIG_MAPS, new_object(CONFIG_MAPS, "c", "default", data={"a": "b"}))
        await client.list(PODS)
        await log.running.client_of("eve", "watched").raw("GET", "/version")
        await log.running.client_of("ann", "watched").raw("GET", "/apis")
        await log.running.client_of("ann").raw("GET", "/version")
        seen = await log.events(stage="ResponseComplete")
        told = [(event["user"]["username"], event["verb"], event["level"]) for event in seen]
        assert told == [
            ("system:admin", "create", "Request"),
            ("ann", "get", "Metadata"),
            ("ann", "get", "Metadata"),
        ]
        assert seen[0]["requestObject"]["data"] == {"a": "b"}


async def test_stages_and_managed_fields_may_be_left_out(tmp_path: Path) -> None:
    async with governed(
        tmp_path,
        {"level": "RequestResponse"},
        omitStages=["RequestReceived"],
        omitManagedFields=True,
    ) as log:
        await log.running.client.create(CONFIG_MAPS, new_object(CONFIG_MAPS, "c", "default"))
        (event,) = await log.events(name="c")
        assert event["stage"] == "ResponseComplete"
        assert event["responseObject"]["metadata"]["name"] == "c"
        assert "managedFields" not in event["responseObject"]["metadata"]


async def test_no_policy_shows_secrets(tmp_path: Path) -> None:
    async with governed(tmp_path, {"level": "RequestResponse"}) as log:
        secret = new_object(SECRETS, "s", "default", data={"k": SECRET})
        await log.running.client.create(SECRETS, secret)
        assert await log.events(name="s")
        assert SECRET not in log.file.read_text()


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({}, "missing required field `level`"),
        ({"level": "Everything"}, "Everything"),
        ({"level": "None", "nonResourceURLs": ["x"]}, "has to begin with /"),
        ({"level": "None", "nonResourceURLs": ["/a*b"]}, "has to be the last character"),
        (
            {"level": "None", "nonResourceURLs": ["/a"], "namespaces": ["x"]},
            "both regular resources and non-resource URLs",
        ),
        (
            {"level": "None", "resources": [{"resourceNames": ["a"]}]},
            "using resourceNames requires at least one resource",
        ),
        ({"level": "None", "nothing": 1}, "nothing"),
    ],
)
def test_a_policy_that_cannot_be_right_is_refused(tmp_path: Path, rule: Obj, message: str) -> None:
    file = tmp_path / "policy.yaml"
    policy = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [rule]}
    file.write_text(yaml.dump(policy))
    with pytest.raises(SettingsError) as raised:
        read_policy(file)
    assert message in str(raised.value)


async def test_a_level_and_a_policy_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="exclude each other"):
        async with audited(tmp_path, "metadata", audit_policy_file="x"):
            pass


# --- what admission policies note ---------------------------------------------------------------


POLICY_GROUP = "admissionregistration.k8s.io"
POLICIES = Resource(
    POLICY_GROUP, "v1", "ValidatingAdmissionPolicy", "validatingadmissionpolicies", False
)
BINDINGS = Resource(
    POLICY_GROUP,
    "v1",
    "ValidatingAdmissionPolicyBinding",
    "validatingadmissionpolicybindings",
    False,
)


async def enforce(log: Log, value: str, **spec: Any) -> None:
    rule = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["CREATE"],
        "resources": ["configmaps"],
    }
    wanted = {
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": "true"}, {"expression": "false", "message": "never"}],
        "auditAnnotations": [{"key": "size", "valueExpression": value}],
        **spec,
    }
    await log.running.client.create(POLICIES, new_object(POLICIES, "p", spec=wanted))
    bound = {"policyName": "p", "validationActions": ["Audit"]}
    await log.running.client.create(BINDINGS, new_object(BINDINGS, "b", spec=bound))


async def test_policies_may_note_what_they_let_through(tmp_path: Path) -> None:
    async with audited(tmp_path) as log:
        await enforce(log, "'entries: ' + string(size(object.data))")
        obj = new_object(CONFIG_MAPS, "c", "default", data={"a": "b"})
        await log.running.client.create(CONFIG_MAPS, obj)
        (event,) = await log.events(name="c", stage="ResponseComplete")
        annotations = event["annotations"]
        assert annotations["p/size"] == "entries: 1"
        failure = annotations["validation.policy.admission.k8s.io/validation_failure"]
        assert json.loads(failure) == [
            {
                "message": "never",
                "policy": "p",
                "binding": "b",
                "expressionIndex": 1,
                "validationActions": ["Audit"],
            }
        ]


async def test_a_note_is_a_text(tmp_path: Path) -> None:
    async with audited(tmp_path) as log:
        with pytest.raises(Invalid, match=r"must evaluate to one of \[string null_type\]"):
            await enforce(log, "size(object.data)")


async def test_a_note_that_cannot_be_made_refuses_the_write(tmp_path: Path) -> None:
    async with audited(tmp_path) as log:
        await enforce(log, "object.data.missing")
        with pytest.raises(Invalid, match="resulted in error: no such key"):
            await log.running.client.create(CONFIG_MAPS, new_object(CONFIG_MAPS, "c", "default"))


async def test_off_means_that_nothing_is_written(tmp_path: Path) -> None:
    async with running_server(data_dir=tmp_path) as running:
        await running.client.list(CONFIG_MAPS)
    assert "audit.log" not in os.listdir(tmp_path)


async def test_a_place_that_cannot_be_written_is_told_and_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    with caplog.at_level(logging.WARNING):
        async with audited(blocked) as log:
            for name in ("a", "b"):
                obj = new_object(CONFIG_MAPS, name, "default")
                await log.running.client.create(CONFIG_MAPS, obj)
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith(f"the audit log {blocked}/audit.log cannot be written: ")
    assert said.endswith("; requests are served all the same")


async def test_a_full_disk_loses_lines_and_spoils_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file = AuditFile(str(tmp_path / "audit.log"), 1 << 20, 1, FakeClock())
    file.write(b'{"n":1}')
    file.flush()
    with monkeypatch.context() as full:
        room = [4]

        def write(descriptor: int, text: bytes, real: Any = os.write) -> int:
            taken, room[0] = room[0], 0
            if not taken:
                raise OSError(28, "No space left on device")
            return int(real(descriptor, text[:taken]))

        full.setattr(os, "write", write)
        for number in (2, 3):
            file.write(b'{"n":%d}' % number)
            file.flush()
    file.write(b'{"n":4}')
    file.close()
    lines = (tmp_path / "audit.log").read_bytes().splitlines()
    assert lines == [b'{"n":1}', b'{"n"', b'{"n":4}']
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert "No space left on device" in said[0]
    assert "is written again: 2 events lost" in said[1]


async def test_the_file_is_turned_over_and_old_ones_go(tmp_path: Path) -> None:
    clock = FakeClock()
    file = AuditFile(str(tmp_path / "audit.log"), 40, 2, clock)
    for number in range(8):
        clock.advance(1)
        file.write(b'{"n":%d,"text":"1234567890"}' % number)
        file.flush()
    file.close()
    names = sorted(os.listdir(tmp_path))
    assert len(names) == 3
    assert names[-1] == "audit.log"
    assert b'"n":7' in (tmp_path / "audit.log").read_bytes()
    assert b'"n":6' in (tmp_path / names[1]).read_bytes()
    assert (tmp_path / "audit.log").stat().st_mode & 0o077 == 0

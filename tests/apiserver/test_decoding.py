"""What is no object of its kind is refused as Go's decoder does: 400, and what was found where."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.support.apiserver import RunningServer, running_server

from kubeling.apiserver.query import Query
from kubeling.apiserver.requests import ApiRequest, ObjectAnswer
from kubeling.apiserver.user import ADMIN
from kubeling.kube.errors import ApiError, BadRequest
from kubeling.kube.objects import Obj
from kubeling.kube.transport import APPLY_PATCH, JSON_PATCH, MERGE_PATCH

LAUGHTER = b"a: &a [x,x,x,x,x,x,x,x,x,x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (98 + n, 98 + n, b",".join([b"*%c" % (97 + n)] * 10)) for n in range(9)
)
"""Ten lines that are a thousand million words."""
CONTAINER = {"name": "c", "image": "busybox"}
BASES = {
    "Deployment": "/apis/apps/v1/namespaces/default/deployments",
    "ConfigMap": "/api/v1/namespaces/default/configmaps",
    "Pod": "/api/v1/namespaces/default/pods",
    "Secret": "/api/v1/namespaces/default/secrets",
}


@pytest.fixture
async def running() -> AsyncIterator[RunningServer]:
    async with running_server() as running:
        yield running


async def send(
    running: RunningServer,
    path: str,
    body: Any,
    query: str = "",
    method: str = "POST",
    content_type: str = "application/json",
) -> ObjectAnswer:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    pairs = [term.partition("=")[::2] for term in query.split("&") if term]
    request = ApiRequest(method, path, ADMIN, Query(pairs), text=text, content_type=content_type)
    answer = await running.server.handle(request)
    assert isinstance(answer, ObjectAnswer)
    return answer


@pytest.mark.parametrize(
    ("kind", "parts", "found"),
    [
        (
            "ConfigMap",
            {"data": {"a": 1}},
            "number into Go struct field ConfigMap.data of type string",
        ),
        (
            "Deployment",
            {"spec": {"replicas": "x"}},
            "string into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            "Deployment",
            {"spec": {"template": {"spec": {"containers": {}}}}},
            "object into Go struct field PodSpec.spec.template.spec.containers of type "
            "[]v1.Container",
        ),
        (
            "Deployment",
            {"spec": []},
            "array into Go struct field Deployment.spec of type v1.DeploymentSpec",
        ),
        (
            "Pod",
            {"spec": {"containers": [{"name": "c", "stdin": "yes"}]}},
            "string into Go struct field Container.spec.containers.stdin of type bool",
        ),
        (
            "Pod",
            {"spec": {"activeDeadlineSeconds": 1.5}},
            "number 1.5 into Go struct field PodSpec.spec.activeDeadlineSeconds of type int64",
        ),
        (
            "Pod",
            {"metadata": "x"},
            "string into Go struct field Pod.metadata of type v1.ObjectMeta",
        ),
        (
            "Pod",
            {"metadata": {"labels": {"a": 1}}},
            "number into Go struct field ObjectMeta.metadata.labels of type string",
        ),
    ],
)  # fmt: skip
async def test_a_value_of_another_type_is_named_with_its_field(
    running: RunningServer, kind: str, parts: Obj, found: str
) -> None:
    body = {"metadata": {"name": "x"}, **parts}
    with pytest.raises(BadRequest) as caught:
        await send(running, BASES[kind], body)
    expected = f'{kind} in version "v1" cannot be handled as a {kind}: json: cannot unmarshal '
    assert caught.value.message == expected + found


@pytest.mark.parametrize(
    ("kind", "parts", "why"),
    [
        ("Secret", {"data": {"a": "?"}}, "illegal base64 data at input byte 0"),
        (
            "Pod",
            {"spec": {"containers": [{"resources": {"limits": {"cpu": "x"}}}]}},
            "quantities must match the regular expression",
        ),
        ("Pod", {"metadata": {"creationTimestamp": "x"}}, 'parsing time "x" as'),
    ],
)
async def test_text_that_cannot_be_read_as_what_it_stands_for(
    running: RunningServer, kind: str, parts: Obj, why: str
) -> None:
    with pytest.raises(BadRequest, match=why):
        await send(running, BASES[kind], {"metadata": {"name": "x"}, **parts})


async def test_another_kind_or_version_than_the_address_says(running: RunningServer) -> None:
    with pytest.raises(BadRequest, match='Secret in version "v1" cannot be handled as a ConfigMap'):
        await send(running, BASES["ConfigMap"], {"kind": "Secret", "apiVersion": "v1"})
    with pytest.raises(BadRequest, match=r"\(apps/v1\) does not match the expected API version"):
        await send(running, BASES["ConfigMap"], {"kind": "ConfigMap", "apiVersion": "apps/v1"})


async def test_a_null_is_an_absent_field_and_an_empty_item(running: RunningServer) -> None:
    body = {"metadata": {"name": "x", "labels": None}, "data": {"a": None}, "binaryData": None}
    made = (await send(running, BASES["ConfigMap"], body)).obj
    assert made["data"] == {"a": ""}
    assert "binaryData" not in made
    assert "labels" not in made["metadata"]


class TestDuplicates:
    TWICE = b'{"metadata": {"name": "d"}, "data": {"a": "1", "a": "2"}}'

    async def test_are_told_of_and_the_last_one_holds(self, running: RunningServer) -> None:
        answer = await send(running, BASES["ConfigMap"], self.TWICE)
        assert answer.warnings == ['duplicate field "data.a"']
        assert answer.obj["data"] == {"a": "2"}

    async def test_are_refused_where_that_is_asked_for(self, running: RunningServer) -> None:
        with pytest.raises(BadRequest, match=r'strict decoding error: duplicate field "data\.a"'):
            await send(running, BASES["ConfigMap"], self.TWICE, "fieldValidation=Strict")

    async def test_are_ignored_where_that_is_asked_for(self, running: RunningServer) -> None:
        answer = await send(running, BASES["ConfigMap"], self.TWICE, "fieldValidation=Ignore")
        assert answer.warnings == []

    async def test_are_told_of_together_with_unknown_fields(self, running: RunningServer) -> None:
        body = self.TWICE[:-1] + b', "dat": 1}'
        with pytest.raises(BadRequest) as caught:
            await send(running, BASES["ConfigMap"], body, "fieldValidation=Strict")
        found = 'strict decoding error: unknown field "dat", duplicate field "data.a"'
        assert found in caught.value.message

    async def test_are_found_in_patches_and_in_yaml(self, running: RunningServer) -> None:
        await send(running, BASES["ConfigMap"], {"metadata": {"name": "d"}})
        path = BASES["ConfigMap"] + "/d"
        patch = b'{"data": {"a": "1", "a": "2"}}'
        answer = await send(running, path, patch, method="PATCH", content_type=MERGE_PATCH)
        assert answer.warnings == ['duplicate field "data.a"']
        applied = (
            b"kind: ConfigMap\napiVersion: v1\nmetadata: {name: d}\ndata:\n  b: '1'\n  b: '2'\n"
        )
        answer = await send(running, path, applied, "fieldManager=f", "PATCH", APPLY_PATCH)
        assert answer.warnings == ['line 6: key "b" already set in map']

    async def test_quotes_within_values_are_no_fields(self, running: RunningServer) -> None:
        body = {"metadata": {"name": "q"}, "data": {"a": '"a": "b", "a": "\u0022"', "b": "\\é"}}
        assert (await send(running, BASES["ConfigMap"], body)).warnings == []


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 3000,
        b'{"a":' * 400 + b"1" + b"}" * 400,
        b"\xff",
        b'{"a": 1e999}',
        b'{"a": ' + b"9" * 5000 + b"}",
    ],
)
async def test_json_that_nobody_could_read_again_is_refused(
    running: RunningServer, body: bytes
) -> None:
    with pytest.raises(BadRequest):
        await send(running, BASES["ConfigMap"], body)


@pytest.mark.parametrize(
    "body",
    [
        b"a: &a [*a]",
        LAUGHTER,
        b"- " * 900 + b"x",
        b"? [1]\n: 2",
        b"!!python/object:os.system x",
    ],
)  # fmt: skip
async def test_yaml_is_what_json_could_say(running: RunningServer, body: bytes) -> None:
    with pytest.raises(BadRequest):
        await send(running, BASES["ConfigMap"], body, content_type="application/yaml")


async def test_a_patch_has_so_many_operations_and_no_more(running: RunningServer) -> None:
    await send(running, BASES["ConfigMap"], {"metadata": {"name": "p"}, "data": {"a": "b"}})
    patch = [{"op": "test", "path": "/data/a", "value": "b"}] * 10_001
    path = BASES["ConfigMap"] + "/p"
    with pytest.raises(ApiError, match="in a JSON patch is 10000, got 10001") as caught:
        await send(running, path, patch, "", "PATCH", JSON_PATCH)
    assert caught.value.status_code == 413
    await send(running, path, patch[1:], "", "PATCH", JSON_PATCH)


class TestSubresources:
    async def test_resizing_changes_resources_and_nothing_else(
        self, running: RunningServer
    ) -> None:
        before = {**CONTAINER, "resources": {"requests": {"cpu": "1"}}}
        pod = {"metadata": {"name": "p"}, "spec": {"containers": [before]}}
        await send(running, BASES["Pod"], pod)
        resources = {"requests": {"cpu": "2"}}
        wanted = {
            "spec": {
                "nodeName": "n",
                "containers": [{"name": "c", "image": "evil", "resources": resources}],
            }
        }
        answer = await send(
            running, BASES["Pod"] + "/p/resize", wanted, method="PATCH", content_type=MERGE_PATCH
        )
        container = answer.obj["spec"]["containers"][0]
        assert (container["image"], container["resources"]) == ("busybox", resources)
        assert "nodeName" not in answer.obj["spec"]

    async def test_they_are_checked_as_a_whole(self, running: RunningServer) -> None:
        pod = {"metadata": {"name": "p"}, "spec": {"containers": [CONTAINER]}}
        await send(running, BASES["Pod"], pod)
        for subresource, spec in (
            ("resize", {"containers": [{"name": "c", "resources": "much"}]}),
            ("ephemeralcontainers", {"ephemeralContainers": "debug"}),
        ):
            path = f"{BASES['Pod']}/p/{subresource}"
            with pytest.raises(BadRequest, match="cannot unmarshal string"):
                await send(running, path, {"spec": spec}, "", "PATCH", MERGE_PATCH)

    async def test_a_scale_is_an_object_of_its_own(self, running: RunningServer) -> None:
        template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [CONTAINER]}}
        spec = {"replicas": 2, "selector": {"matchLabels": {"a": "b"}}, "template": template}
        await send(running, BASES["Deployment"], {"metadata": {"name": "d"}, "spec": spec})
        path = BASES["Deployment"] + "/d/scale"
        for scale, wrong in (
            ({"spec": {"replicas": "x"}}, "ScaleSpec.spec.replicas of type int32"),
            ({"metadata": {"name": "e"}}, r"the name of the object \(e\) does not match"),
            ({"spec": {"replicas": -1}}, "must be greater than or equal to 0"),
        ):
            with pytest.raises(ApiError, match=wrong):
                await send(running, path, scale, method="PUT")
        answer = await send(running, path, {"spec": {}}, method="PUT")
        assert answer.obj["spec"] == {"replicas": 0}

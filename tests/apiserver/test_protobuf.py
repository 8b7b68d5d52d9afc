"""kubectl's typed commands send protobuf: their bodies read as the JSON it would have sent."""

import base64
import contextlib
import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeling.apiserver.builtin.types import Field, wire_fields
from kubeling.apiserver.protobuf import decode
from kubeling.kube.errors import BadRequest

Obj = dict[str, Any]
RECORDED: dict[str, str] = json.loads(Path(__file__).with_name("kubectl_bodies.json").read_text())
"""Bodies by the command of kubectl 1.32.4 that sent them."""


def body(command: str) -> bytes:
    (found,) = (text for recorded, text in RECORDED.items() if recorded.startswith(command))
    return base64.b64decode(found)


def sent(command: str) -> Obj:
    return decode(body(command))


class TestWhatKubectlSends:
    def test_a_config_map(self) -> None:
        assert sent("create configmap") == {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "settings"},
            "data": {"mode": "fast", "level": "3"},
        }

    def test_a_secret_keeps_its_bytes_in_base64(self) -> None:
        assert sent("create secret generic")["data"] == {"password": "aHVudGVyMg=="}

    def test_a_deployment_without_the_zeros_that_go_writes(self) -> None:
        container = {
            "name": "nginx",
            "image": "nginx:1.27",
            "ports": [{"containerPort": 80}],
            "resources": {},
        }
        assert sent("create deployment") == {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "web", "labels": {"app": "web"}},
            "spec": {
                "replicas": 3,
                "selector": {"matchLabels": {"app": "web"}},
                "template": {
                    "metadata": {"labels": {"app": "web"}},
                    "spec": {"containers": [container]},
                },
                "strategy": {},
            },
        }

    def test_a_cron_job_with_the_template_of_its_jobs(self) -> None:
        spec = sent("create cronjob")["spec"]
        assert spec["schedule"] == "*/5 * * * *"
        (container,) = spec["jobTemplate"]["spec"]["template"]["spec"]["containers"]
        assert container["command"] == ["echo", "hi"]

    def test_quantities_and_integers_or_texts_as_they_were_written(self) -> None:
        hard = {"pods": "2", "requests.cpu": "500m", "requests.memory": "1Gi"}
        assert sent("create quota")["spec"] == {"hard": hard}
        assert sent("create poddisruptionbudget")["spec"]["minAvailable"] == "50%"
        (port,) = sent("create service nodeport")["spec"]["ports"]
        assert port["targetPort"] == 8080

    def test_questions_about_access(self) -> None:
        asked = sent("auth can-i delete")
        assert asked["kind"] == "SelfSubjectAccessReview"
        assert asked["spec"]["resourceAttributes"] == {
            "namespace": "team-a",
            "verb": "delete",
            "resource": "pods",
            "name": "log",
        }

    def test_lists_that_are_messages_of_their_own(self) -> None:
        extra = b"\x0a\x01k\x12\x08\x0a\x01a\x0a\x03b,c"
        spec = b"\x1a\x03bob\x2a" + bytes([len(extra)]) + extra
        review = b"\x12" + bytes([len(spec)]) + spec
        kind = b"\x0a\x17authorization.k8s.io/v1\x12\x13SubjectAccessReview"
        whole = b"\x0a" + bytes([len(kind)]) + kind + b"\x12" + bytes([len(review)]) + review
        assert decode(b"k8s\x00" + whole)["spec"] == {"user": "bob", "extra": {"k": ["a", "b,c"]}}

    def test_a_request_for_a_token(self) -> None:
        spec = sent("create token")["spec"]
        assert spec == {"audiences": ["api"], "expirationSeconds": 1200}

    @pytest.mark.parametrize("command", RECORDED)
    def test_every_recorded_command_can_be_read(self, command: str) -> None:
        obj = decode(base64.b64decode(RECORDED[command]))
        assert obj["apiVersion"]
        assert obj["kind"]
        assert "generation" not in obj["metadata"]


class TestWhatIsNoMessage:
    @pytest.mark.parametrize(
        "wrong", [b"", b"{}", b"k8s\x00", b"k8s\x00\xff\xff", b"k8s\x00\x0a\x7f"]
    )
    def test_is_refused(self, wrong: bytes) -> None:
        with pytest.raises(BadRequest):
            decode(wrong)

    def test_a_kind_nobody_knows_is_named(self) -> None:
        with pytest.raises(BadRequest, match='no kind "Nope" is registered for version "v1"'):
            decode(envelope("v1", "Nope", b""))

    @given(st.integers(0, 200), st.binary(max_size=4))
    def test_damage_anywhere_is_a_bad_request_or_another_object(
        self, at: int, damage: bytes
    ) -> None:
        whole = body("create deployment")
        with contextlib.suppress(BadRequest):
            decode(whole[:at] + damage + whole[at + len(damage) :])


# A writer, to read back what it wrote.


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def record(number: int, value: bytes | int | float) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 1) + struct.pack("<d", value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def envelope(api_version: str, kind: str, raw: bytes) -> bytes:
    type_meta = record(1, api_version.encode()) + record(2, kind.encode())
    return b"k8s\x00" + record(1, type_meta) + record(2, raw)


def written(value: Any, field: Field) -> bytes | int | float:
    match field.type:
        case "string":
            return str(value).encode()
        case "bytes":
            return base64.b64decode(value)
        case "bool" | "int32" | "int64":
            return int(value)
        case "double":
            return float(value)
        case "quantity":
            return record(1, value.encode())
        case "intstr":
            text = isinstance(value, str)
            inner = record(3, value.encode()) if text else record(2, value)
            return record(1, int(text)) + inner
        case definition:
            return message(value, definition)


def message(obj: Obj, definition: str) -> bytes:
    out = b""
    for name, field in wire_fields(definition).items():
        if field.inline:
            out += record(field.number, message(obj, field.type))
        elif name in obj and field.container == "[]":
            out += b"".join(record(field.number, written(item, field)) for item in obj[name])
        elif name in obj and field.container == "{}":
            for key, value in obj[name].items():
                entry = record(1, key.encode()) + record(2, written(value, field))
                out += record(field.number, entry)
        elif name in obj:
            out += record(field.number, written(obj[name], field))
    return out


CONTAINERS = st.fixed_dictionaries(
    {"name": st.text(min_size=1, max_size=5), "resources": st.just({})},
    optional={
        "image": st.text(min_size=1),
        "args": st.lists(st.text(max_size=3), min_size=1, max_size=3),
        "tty": st.just(True),
        "ports": st.lists(
            st.fixed_dictionaries({"containerPort": st.integers(-5, 70000)}), min_size=1, max_size=2
        ),
        "livenessProbe": st.fixed_dictionaries(
            {"tcpSocket": st.fixed_dictionaries({"port": st.integers(1, 9) | st.text(min_size=1)})},
            optional={"periodSeconds": st.integers(1, 9)},
        ),
    },
)
PODS = st.fixed_dictionaries(
    {
        "metadata": st.fixed_dictionaries(
            {"name": st.text(min_size=1, max_size=5)},
            optional={"labels": st.dictionaries(st.text(), st.text(), min_size=1, max_size=3)},
        ),
        "spec": st.fixed_dictionaries(
            {"containers": st.lists(CONTAINERS, min_size=1, max_size=3)},
            optional={
                "terminationGracePeriodSeconds": st.integers(-(2**63), 2**63 - 1),
                "enableServiceLinks": st.booleans(),
                "overhead": st.just({"cpu": "100m"}),
            },
        ),
    }
)


@given(PODS)
def test_any_pod_reads_back_as_it_was_written(pod: Obj) -> None:
    raw = message(pod, "io.k8s.api.core.v1.Pod")
    assert decode(envelope("v1", "Pod", raw)) == {"apiVersion": "v1", "kind": "Pod", **pod}


def test_a_set_zero_is_told_from_an_absent_one() -> None:
    raw = message({"spec": {"replicas": 0}}, "io.k8s.api.apps.v1.Deployment")
    assert decode(envelope("apps/v1", "Deployment", raw))["spec"] == {"replicas": 0}


def test_options_of_a_deletion() -> None:
    options = {"gracePeriodSeconds": 0, "propagationPolicy": "Foreground", "dryRun": ["All"]}
    raw = message(options, "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions")
    body = envelope("v1", "DeleteOptions", raw)
    assert decode(body) == {"apiVersion": "v1", "kind": "DeleteOptions", **options}

"""Where a container's variables come from."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engine.node import Node, container, pod

from kubeling.engine.envfiles import EnvFileError, read_variable
from kubeling.engine.envvars import api_env, expand, service_env
from kubeling.engine.fields import FieldError, PodFacts, field_value, resource_value
from kubeling.kube.objects import Obj
from kubeling.kube.quantities import parse_quantity

names = st.from_regex(r"[A-Z_][A-Z0-9_]{0,8}", fullmatch=True)
values = st.text(st.characters(exclude_characters="'", exclude_categories=("Cs",)), max_size=30)


# Files of variables


@given(st.dictionaries(names, values, max_size=5))
def test_what_is_written_in_single_quotes_is_read(variables: dict[str, str]) -> None:
    lines = "".join(f"{name}='{value}'\n" for name, value in variables.items())
    text = f"# written by a step\n\n{lines}"
    assert {name: read_variable(text, name) for name in variables} == variables
    assert read_variable(text, "missing") is None


@given(st.text(alphabet="A=' #\n\t\"x", max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(EnvFileError):
        assert read_variable(text, "none") is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("A", "line 1: missing '='"),
        ("\n='x'", "line 2: empty variable name"),
        ("A ='x'", "line 1: whitespace before '='"),
        ("A=x", "line 1: value must be enclosed in single quotes"),
        ("A='x", "line 1: unterminated single quote"),
        ("A='x'y", "line 1: unexpected content after closing quote"),
    ],
)
def test_what_could_mean_something_else_is_refused(text: str, why: str) -> None:
    with pytest.raises(EnvFileError, match=why):
        read_variable(text, "Z")


async def test_a_variable_from_a_file_that_an_earlier_container_wrote(node: Node) -> None:
    mounts = [{"name": "v", "mountPath": "/v"}]
    write = container("write", "echo \"LR='0.1'\" > /v/params.env", volumeMounts=mounts)
    reference = {"volumeName": "v", "path": "params.env", "key": "LR"}
    absent = {**reference, "key": "NONE", "optional": True}
    main = container(
        script="echo $RATE ${NONE-unset}",
        env=[
            {"name": "RATE", "valueFrom": {"fileKeyRef": reference}},
            {"name": "NONE", "valueFrom": {"fileKeyRef": absent}},
        ],
    )
    volumes = [{"name": "v", "emptyDir": {}}]
    await node.run(pod("p", main, initContainers=[write], volumes=volumes))
    assert await node.logs("p", "main") == "0.1 unset\n"


async def test_a_missing_variable_of_a_file_keeps_the_container_waiting(node: Node) -> None:
    reference = {"volumeName": "v", "path": "params.env", "key": "LR"}
    main = container(env=[{"name": "RATE", "valueFrom": {"fileKeyRef": reference}}])
    await node.create(pod("p", main, volumes=[{"name": "v", "emptyDir": {}}]))
    await node.seen_event("Failed", 'environment variable key "LR" not found in file "params.env"')


# ConfigMaps and Secrets


async def test_prefixes_order_and_what_is_optional(node: Node) -> None:
    await node.config_map("first", A="1", B="1")
    await node.secret("second", B="2")
    main = container(
        script="echo $A $B $P_A ${NONE-unset}",
        envFrom=[
            {"configMapRef": {"name": "first"}},
            {"prefix": "P_", "configMapRef": {"name": "first"}},
            {"secretRef": {"name": "second"}},
            {"secretRef": {"name": "none", "optional": True}},
        ],
        env=[
            {"name": "A", "value": "own"},
            {
                "name": "NONE",
                "valueFrom": {"configMapKeyRef": {"name": "first", "key": "x", "optional": True}},
            },
        ],
    )
    await node.run(pod("p", main))
    assert await node.logs("p") == "own 2 1 unset\n"


async def test_a_missing_key_keeps_the_container_waiting(node: Node) -> None:
    await node.config_map("c", a="1")
    reference = {"configMapKeyRef": {"name": "c", "key": "b"}}
    await node.create(pod("p", container(env=[{"name": "B", "valueFrom": reference}])))
    await node.seen_event("Failed", "couldn't find key b in configmap default/c")


@given(st.text(alphabet="$()AB x", max_size=20))
def test_expansion_leaves_what_it_does_not_know(text: str) -> None:
    assert expand(text.replace("$", "$$"), {"A": "1"}) == text
    if "$" not in text:
        assert expand(f"{text}$(A)$(NONE)", {"A": "1"}) == f"{text}1$(NONE)"


# Services


def test_the_variables_of_a_service_are_those_of_kubernetes() -> None:
    ports = [{"name": "http-api", "port": 80}, {"port": 53, "protocol": "UDP"}]
    service = {"metadata": {"name": "my-db"}, "spec": {"clusterIP": "10.0.0.9", "ports": ports}}
    assert service_env([service]) == {
        "MY_DB_SERVICE_HOST": "10.0.0.9",
        "MY_DB_SERVICE_PORT": "80",
        "MY_DB_SERVICE_PORT_HTTP_API": "80",
        "MY_DB_PORT": "tcp://10.0.0.9:80",
        "MY_DB_PORT_80_TCP": "tcp://10.0.0.9:80",
        "MY_DB_PORT_80_TCP_PROTO": "tcp",
        "MY_DB_PORT_80_TCP_PORT": "80",
        "MY_DB_PORT_80_TCP_ADDR": "10.0.0.9",
        "MY_DB_PORT_53_UDP": "udp://10.0.0.9:53",
        "MY_DB_PORT_53_UDP_PROTO": "udp",
        "MY_DB_PORT_53_UDP_PORT": "53",
        "MY_DB_PORT_53_UDP_ADDR": "10.0.0.9",
    }
    headless = {"metadata": {"name": "h"}, "spec": {"clusterIP": "None", "ports": ports}}
    assert service_env([headless]) == {}


def test_programs_find_the_api() -> None:
    found = api_env("10.0.0.1", 6443)
    assert found["KUBERNETES_SERVICE_HOST"] == "10.0.0.1"
    assert found["KUBERNETES_SERVICE_PORT_HTTPS"] == "6443"
    assert found["KUBERNETES_PORT"] == "tcp://10.0.0.1:6443"


# The downward API

FACTS = PodFacts(
    {
        "metadata": {
            "name": "p", "namespace": "team", "uid": "u", "labels": {"b": "2", "a": "1"},
            "annotations": {"note": 'say "hi"\n'},
        },
        "spec": {
            "serviceAccountName": "runner",
            "containers": [
                {
                    "name": "main",
                    "resources": {
                        "limits": {"cpu": "1500m", "memory": "1Gi", "example.com/gpu": "2"},
                        "requests": {"cpu": "1", "ephemeral-storage": "1G"},
                    },
                },
                {"name": "other"},
            ],
        },
    },
    "10.1.0.2", "192.168.0.1", "node",
    {"cpu": parse_quantity("2"), "memory": parse_quantity("4Gi")},
)  # fmt: skip


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "p"),
        ("metadata.namespace", "team"),
        ("metadata.uid", "u"),
        ("metadata.labels", 'a="1"\nb="2"'),
        ("metadata.labels['a']", "1"),
        ("metadata.annotations", 'note="say \\"hi\\"\\n"'),
        ("metadata.annotations['none']", ""),
        ("spec.nodeName", "node"),
        ("spec.serviceAccountName", "runner"),
        ("status.podIP", "10.1.0.2"),
        ("status.podIPs", "10.1.0.2"),
        ("status.hostIP", "192.168.0.1"),
        ("status.hostIPs", "192.168.0.1"),
    ],
)
def test_a_pod_s_own_fields(path: str, value: str) -> None:
    assert field_value(FACTS, path) == value


@pytest.mark.parametrize(
    ("reference", "value"),
    [
        ({"resource": "limits.cpu"}, "2"),
        ({"resource": "limits.cpu", "divisor": "1m"}, "1500"),
        ({"resource": "limits.memory"}, "1073741824"),
        ({"resource": "limits.memory", "divisor": "1Mi"}, "1024"),
        ({"resource": "requests.ephemeral-storage"}, "1000000000"),
        ({"resource": "requests.memory"}, "0"),
        ({"resource": "limits.cpu", "containerName": "other"}, "2"),
        ({"resource": "limits.memory", "containerName": "other", "divisor": "1Gi"}, "4"),
    ],
)
def test_a_container_s_resources(reference: Obj, value: str) -> None:
    assert resource_value(FACTS, reference, "main") == value


def test_fields_there_are_not_are_refused() -> None:
    with pytest.raises(FieldError, match="is not one that pods offer"):
        field_value(FACTS, "spec.containers")
    with pytest.raises(FieldError, match='container "none" does not exist'):
        resource_value(FACTS, {"resource": "limits.cpu", "containerName": "none"}, "main")

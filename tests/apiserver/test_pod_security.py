"""Pod security admission: which pods a namespace's labels allow, and what people are told."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.support.apiserver import RunningServer, running_server

from kubeling.apiserver.podsecurity.standard import LEVELS, Level, findings
from kubeling.apiserver.settings import ApiSettings
from kubeling.kube import config
from kubeling.kube.errors import Forbidden, Invalid
from kubeling.kube.objects import Obj, new_object
from kubeling.kube.resources import DEPLOYMENTS, NAMESPACES, PODS

PREFIX = "pod-security.kubernetes.io"
HARDENED: Obj = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def container(name: str = "a", **security: Any) -> Obj:
    made: Obj = {"name": name, "image": "busybox"}
    return {**made, "securityContext": security} if security else made


def spec(*containers: Obj, security: Obj | None = None, **fields: Any) -> Obj:
    made: Obj = {"containers": list(containers) or [container()], **fields}
    return {**made, "securityContext": security} if security else made


def found(level: Level, pod: Obj, minor: int = 99, **annotations: str) -> list[str]:
    return [str(finding) for finding in findings(level, minor, {"annotations": annotations}, pod)]


SELINUX = {"seLinuxOptions": {"type": "spc_t", "user": "u", "role": "r"}}
TCP = {"tcpSocket": {"port": 1, "host": "10.0.0.1"}}
BASELINE: list[tuple[Obj, str]] = [
    (spec(hostNetwork=True, hostIPC=True), "host namespaces (hostNetwork=true, hostIPC=true)"),
    (
        spec(container(privileged=True), container("b", privileged=True)),
        'privileged (containers "a", "b" must not set securityContext.privileged=true)',
    ),
    (
        spec(container(capabilities={"add": ["NET_RAW", "CHOWN", "BPF"]})),
        'non-default capabilities (container "a" must not include "BPF", "NET_RAW" in '
        "securityContext.capabilities.add)",
    ),
    (
        spec(volumes=[{"name": "v", "hostPath": {"path": "/"}}, {"name": "w", "emptyDir": {}}]),
        'hostPath volumes (volume "v")',
    ),
    (
        spec(
            {**container(), "ports": [{"containerPort": 1, "hostPort": 80}, {"containerPort": 2}]}
        ),
        'hostPort (container "a" uses hostPort 80)',
    ),
    (
        spec({**container(), "livenessProbe": TCP, "lifecycle": {"preStop": TCP}}),
        'probe or lifecycle host (container "a" uses probe or lifecycle host "10.0.0.1")',
    ),
    (
        spec(container(procMount="Unmasked")),
        'procMount (container "a" must not set securityContext.procMount to "Unmasked")',
    ),
    (
        spec(container(**SELINUX), security=SELINUX),
        'seLinuxOptions (pod and container "a" set forbidden securityContext.seLinuxOptions: type '
        '"spc_t"; user may not be set; role may not be set)',
    ),
    (
        spec(container(seccompProfile={"type": "Unconfined"})),
        'seccompProfile (container "a" must not set securityContext.seccompProfile.type to '
        '"Unconfined")',
    ),
    (
        spec(security={"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}),
        "forbidden sysctls (kernel.msgmax)",
    ),
    (
        spec(security={"appArmorProfile": {"type": "Unconfined"}}),
        'forbidden AppArmor profile (pod must not set AppArmor profile type to "Unconfined")',
    ),
    (
        spec(security={"windowsOptions": {"hostProcess": True}}),
        "hostProcess (pod must not set securityContext.windowsOptions.hostProcess=true)",
    ),
    (
        {**spec(), "initContainers": [container("i", privileged=True)]},
        'privileged (container "i" must not set securityContext.privileged=true)',
    ),
]
RESTRICTED: list[tuple[Obj, str]] = [
    (
        spec(container(**{**HARDENED, "allowPrivilegeEscalation": True})),
        'allowPrivilegeEscalation != false (container "a" must set '
        "securityContext.allowPrivilegeEscalation=false)",
    ),
    (
        spec(container(**{**HARDENED, "capabilities": {"drop": ["KILL"], "add": ["CHOWN"]}})),
        'unrestricted capabilities (container "a" must set securityContext.capabilities.drop='
        '["ALL"]; container "a" must not include "CHOWN" in securityContext.capabilities.add)',
    ),
    (
        spec(
            container(**HARDENED),
            volumes=[{"name": "v", "nfs": {}}, {"name": "w", "hostPath": {"path": "/"}}],
        ),
        'restricted volume types (volumes "v", "w" use restricted volume types "hostPath", "nfs")',
    ),
    (
        spec(container(**{**HARDENED, "runAsNonRoot": False}), security={"runAsNonRoot": True}),
        'runAsNonRoot != true (container "a" must not set securityContext.runAsNonRoot=false)',
    ),
    (
        spec(container(**HARDENED), security={"runAsUser": 0}),
        "runAsUser=0 (pod must not set runAsUser=0)",
    ),
    (
        spec(container(**{**HARDENED, "seccompProfile": {"type": "Unconfined"}})),
        'seccompProfile (container "a" must not set securityContext.seccompProfile.type to '
        '"Unconfined")',
    ),
]
BARE = (
    'allowPrivilegeEscalation != false (container "a" must set '
    "securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container "
    '"a" must set securityContext.capabilities.drop=["ALL"]), runAsNonRoot != true (pod or '
    'container "a" must set securityContext.runAsNonRoot=true), seccompProfile (pod or container '
    '"a" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")'
)


@pytest.mark.parametrize(("pod", "message"), BASELINE)
def test_baseline_refuses_ways_out_of_a_container(pod: Obj, message: str) -> None:
    assert found("baseline", pod) == [message]
    assert found("privileged", pod) == []


@pytest.mark.parametrize(("pod", "message"), RESTRICTED)
def test_restricted_asks_for_hardened_pods(pod: Obj, message: str) -> None:
    assert found("restricted", pod) == [message]


def test_a_bare_pod_is_baseline_and_breaks_four_rules_of_restricted() -> None:
    assert found("baseline", spec()) == []
    assert ", ".join(found("restricted", spec())) == BARE
    assert found("restricted", spec(container(**HARDENED))) == []


def test_what_the_pod_says_holds_for_containers_that_say_nothing() -> None:
    quiet = {key: HARDENED[key] for key in ("allowPrivilegeEscalation", "capabilities")}
    shared = {key: HARDENED[key] for key in ("runAsNonRoot", "seccompProfile")}
    assert found("restricted", spec(container(**quiet), security=shared)) == []


def test_a_version_keeps_the_rules_of_its_time() -> None:
    probing = spec({**container(), "livenessProbe": TCP})
    assert found("baseline", probing, 33) == []
    assert len(found("baseline", probing, 34)) == 1
    keepalive = spec(security={"sysctls": [{"name": "net.ipv4.tcp_keepalive_time", "value": "1"}]})
    assert len(found("baseline", keepalive, 28)) == 1
    assert found("baseline", keepalive, 29) == []
    windows = spec(os={"name": "windows"}, security={"runAsNonRoot": True})
    assert len(found("restricted", windows, 24)) == 3
    assert found("restricted", windows, 25) == []
    apart = spec(container(**{**HARDENED, "runAsNonRoot": False}), hostUsers=False)
    assert len(found("restricted", apart, 34)) == 1
    assert found("restricted", apart) == []
    annotated = {"seccomp.security.alpha.kubernetes.io/pod": "unconfined"}
    (message,) = found("baseline", spec(), 18, **annotated)
    assert message == (
        "seccompProfile (forbidden annotation seccomp.security.alpha.kubernetes.io/pod="
        '"unconfined")'
    )
    assert found("baseline", spec(), 19, **annotated) == []


def test_levels_include_each_other() -> None:
    for pod, _ in [*BASELINE, *RESTRICTED]:
        counts = [len(found(level, pod)) for level in LEVELS]
        assert counts == sorted(counts)


# --- namespaces --------------------------------------------------------------------------------


@pytest.fixture
async def running() -> AsyncIterator[RunningServer]:
    async with running_server(https=True) as running:
        yield running


async def namespace(running: RunningServer, **labels: str) -> None:
    wanted = {f"{PREFIX}/{key.replace('_', '-')}": value for key, value in labels.items()}
    await running.client.create(NAMESPACES, new_object(NAMESPACES, "team", labels=wanted))


async def send(running: RunningServer, method: str, path: str, body: Obj) -> tuple[int, list[str]]:
    """The code and the warnings of an answer, as kubectl sees them."""
    context = config.load_kubeconfig(running.kubeconfig).ssl_context()
    connector = aiohttp.TCPConnector(ssl=context or True)
    kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.request(
            method,
            running.server.url + path,
            data=json.dumps(body),
            headers={"Content-Type": kind},
        ) as answer,
    ):
        given = answer.headers.getall("Warning", [])
        return answer.status, [
            text.removeprefix('299 - "').removesuffix('"').replace('\\"', '"') for text in given
        ]


def deployment(pod: Obj) -> Obj:
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": pod}
    wanted = {"selector": {"matchLabels": labels}, "template": template}
    return new_object(DEPLOYMENTS, "web", "team", spec=wanted)


async def test_a_pod_that_is_not_allowed_is_refused(running: RunningServer) -> None:
    await namespace(running, enforce="restricted")
    with pytest.raises(Forbidden) as raised:
        await running.client.create(PODS, new_object(PODS, "p", "team", spec=spec()))
    assert str(raised.value) == (
        f'pods "p" is forbidden: violates PodSecurity "restricted:latest": {BARE}'
    )
    hardened = new_object(PODS, "q", "team", spec=spec(container(**HARDENED)))
    await running.client.create(PODS, hardened)
    await running.client.create(PODS, new_object(PODS, "p", "default", spec=spec()))


async def test_of_what_makes_pods_people_are_warned(running: RunningServer) -> None:
    await namespace(running, enforce="restricted")
    path = DEPLOYMENTS.path("team")
    code, warnings = await send(running, "POST", path, deployment(spec()))
    assert (code, warnings) == (201, [f'would violate PodSecurity "restricted:latest": {BARE}'])


async def test_people_are_warned_where_that_is_all_that_is_asked(running: RunningServer) -> None:
    await namespace(running, warn="baseline", warn_version="v1.30")
    pod = new_object(PODS, "p", "team", spec=spec(hostNetwork=True))
    code, warnings = await send(running, "POST", PODS.path("team"), pod)
    expected = 'would violate PodSecurity "baseline:v1.30": host namespaces (hostNetwork=true)'
    assert (code, warnings) == (201, [expected])


async def test_an_update_is_judged_where_it_brings_in_an_image(running: RunningServer) -> None:
    await namespace(running)
    await running.client.create(PODS, new_object(PODS, "p", "team", spec=spec()))
    label = {"metadata": {"labels": {f"{PREFIX}/enforce": "restricted"}}}
    await running.client.patch(NAMESPACES, "team", label)
    await running.client.patch(PODS, "p", {"metadata": {"labels": {"a": "b"}}}, "team")
    pod = await running.client.get(PODS, "p", "team")
    pod["spec"]["containers"][0]["image"] = "alpine"
    with pytest.raises(Forbidden, match="violates PodSecurity"):
        await running.client.replace(PODS, pod)


async def test_who_tightens_a_namespace_learns_of_the_pods_in_it(running: RunningServer) -> None:
    await namespace(running)
    for name in ("b", "a", "c"):
        await running.client.create(PODS, new_object(PODS, name, "team", spec=spec(hostPID=True)))
    hardened = spec(container(**HARDENED))
    await running.client.create(PODS, new_object(PODS, "ok", "team", spec=hardened))
    label = {"metadata": {"labels": {f"{PREFIX}/enforce": "baseline"}}}
    code, warnings = await send(running, "PATCH", NAMESPACES.path("", "team"), label)
    assert (code, warnings) == (
        200,
        [
            'existing pods in namespace "team" violate the new PodSecurity enforce level '
            '"baseline:latest"',
            "a (and 2 other pods): host namespaces",
        ],
    )


async def test_labels_that_say_nothing_known_are_refused(running: RunningServer) -> None:
    with pytest.raises(Invalid, match="must be one of privileged, baseline, restricted"):
        await namespace(running, enforce="strict")
    with pytest.raises(Invalid, match=r'must be "latest" or "v1\.x"'):
        await namespace(running, enforce="baseline", enforce_version="1.30")


async def test_the_audit_log_tells_what_was_let_through(tmp_path: Path) -> None:
    file = tmp_path / "audit.log"
    settings = ApiSettings(audit_level="metadata", audit_log_path=str(file))
    async with running_server(settings=settings) as running:
        await namespace(running, enforce="privileged", audit="baseline")
        pod = new_object(PODS, "p", "team", spec=spec(hostPID=True))
        await running.client.create(PODS, pod)
    events = [json.loads(line) for line in file.read_text().splitlines()]
    (event,) = [
        e for e in events if e.get("objectRef", {}).get("name") == "p" and "annotations" in e
    ]
    assert event["annotations"][f"{PREFIX}/enforce-policy"] == "privileged:latest"
    assert event["annotations"][f"{PREFIX}/audit-violations"] == (
        'would violate PodSecurity "baseline:latest": host namespaces (hostPID=true)'
    )

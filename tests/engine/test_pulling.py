"""Images that are not in the catalogue: what pulls them, when, and what is said if nothing can."""

import base64
import json
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.engine.memory_api import MemoryApi
from tests.engine.node import Node, container, pod, running_node
from tests.engine.registry import Registry
from tests.support import containerengine

from kubeling.engine.oci.client import ContainerEngine
from kubeling.engine.oci.discovery import EngineFinder
from kubeling.engine.oci.images import InvalidImageName, check_name, pull_credentials
from kubeling.kube.objects import Obj
from kubeling.kube.resources import SECRETS, SERVICE_ACCOUNTS


@pytest.fixture(scope="module", params=["podman", "docker"])
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    with containerengine.usable(str(request.param)):
        yield str(request.param)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = containerengine.busybox()
    if program is None:
        pytest.skip("needs busybox-static")
    return containerengine.root_archive(tmp_path_factory.mktemp("image"), program)


@pytest.fixture
async def registry(archive: Path, engine: str) -> AsyncIterator[Registry]:
    made = Registry(archive)
    runner = await made.start()
    yield made
    containerengine.remove_image(engine, made.image)
    await runner.cleanup()


@pytest.fixture
async def locked(archive: Path, engine: str) -> AsyncIterator[Registry]:
    made = Registry(archive, password="s3cret")
    runner = await made.start()
    yield made
    containerengine.remove_image(engine, made.image)
    await runner.cleanup()


@pytest.fixture
async def node(engine: str, tmp_path: Path, api: MemoryApi) -> AsyncIterator[Node]:
    async with running_node(tmp_path / "data", api, container_engine=engine) as running:
        yield running


def waiting(obj: Obj) -> Obj:
    statuses = obj["status"].get("containerStatuses") or [{"state": {}}]
    return statuses[0]["state"].get("waiting") or {}


async def until_waiting(node: Node, reason: str) -> str:
    found = await node.until("p", lambda p: waiting(p).get("reason") == reason)
    return str(waiting(found)["message"])


async def test_an_image_is_pulled_once_and_its_command_runs(node: Node, registry: Registry) -> None:
    done = await node.run(pod("p", container(image=registry.image)))
    assert await node.logs("p") == "pulled\n"
    (status,) = done["status"]["containerStatuses"]
    assert status["imageID"].endswith(f"/team/box@{registry.digest}")
    await node.seen_event("Pulling", f'Pulling image "{registry.image}"')
    await node.seen_event("Pulled", f'Successfully pulled image "{registry.image}" in ')
    asked = registry.asked
    await node.run(pod("q", container(image=registry.image)))
    assert registry.asked == asked
    await node.seen_event("Pulled", "already present on machine")


async def test_always_asks_the_registry_again(node: Node, registry: Registry) -> None:
    main = container(image=registry.image, imagePullPolicy="Always")
    await node.run(pod("p", main))
    asked = registry.asked
    await node.run(pod("q", main))
    assert registry.asked > asked


async def test_never_asks_nobody(node: Node, registry: Registry) -> None:
    await node.create(pod("p", container(image=registry.image, imagePullPolicy="Never")))
    message = await until_waiting(node, "ErrImageNeverPull")
    assert "is not present with pull policy of Never" in message
    assert registry.asked == 0


async def test_what_cannot_be_pulled_is_told_and_tried_again(
    node: Node, registry: Registry
) -> None:
    missing = f"127.0.0.1:{registry.port}/team/box:2"
    await node.create(pod("p", container(image=missing)))
    message = await until_waiting(node, "ErrImagePull")
    assert "manifest unknown" in message
    assert str(node.engine.config.images_file) in message
    await node.seen_event("Failed", f'Failed to pull image "{missing}"')
    await node.config_map("anything")  # a change in the namespace is a reason to try again
    message = await until_waiting(node, "ImagePullBackOff")
    assert message.startswith(f'Back-off pulling image "{missing}": ErrImagePull: ')
    await node.event("BackOff")


async def test_pull_secrets_open_a_registry(node: Node, locked: Registry) -> None:
    await node.create(pod("p", container(image=locked.image)))
    message = await until_waiting(node, "ErrImagePull")
    assert "auth" in message.partition(". image ")[0]
    await _secret(node, "regcred", locked)
    secrets = [{"name": "regcred"}, {"name": "gone"}]
    done = await node.run(pod("q", container(image=locked.image), imagePullSecrets=secrets))
    assert done["status"]["phase"] == "Succeeded"
    await node.seen_event("FailedToRetrieveImagePullSecret", "(gone)")


async def test_those_of_the_service_account_serve_pods_without(
    node: Node, locked: Registry
) -> None:
    await _secret(node, "regcred", locked)
    account = {"metadata": {"name": "builder"}, "imagePullSecrets": [{"name": "regcred"}]}
    await node.client.create(SERVICE_ACCOUNTS, account, "default")
    done = await node.run(pod("p", container(image=locked.image), serviceAccountName="builder"))
    assert done["status"]["phase"] == "Succeeded"


async def test_an_image_of_root_does_not_run_where_root_must_not(
    node: Node, registry: Registry
) -> None:
    main = container(image=registry.image, securityContext={"runAsNonRoot": True})
    await node.create(pod("p", main))
    message = await until_waiting(node, "CreateContainerConfigError")
    assert message.startswith("container has runAsNonRoot and image will run as root (pod: ")
    main["securityContext"]["runAsUser"] = 1000
    assert (await node.run(pod("q", main)))["status"]["phase"] == "Succeeded"


async def test_names_below_localhost_are_never_asked_for(node: Node, engine: str) -> None:
    main = container(image="localhost/nothing:1", imagePullPolicy="Always")
    await node.create(pod("p", main))
    message = await until_waiting(node, "ErrImagePull")
    assert f"make it with {engine} build -t localhost/nothing:1" in message


async def test_an_impossible_name_is_refused(node: Node) -> None:
    await node.create(pod("p", container(image="--privileged")))
    message = await until_waiting(node, "InvalidImageName")
    assert message == 'couldn\'t parse image name "--privileged": invalid reference format'


# Without an engine.


async def test_without_an_engine_the_message_says_what_to_do(
    tmp_path: Path, api: MemoryApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    async with running_node(tmp_path / "data", api) as node:
        await node.create(pod("p", container(image="mine:1")))
        message = await until_waiting(node, "ErrImagePull")
        file = node.engine.config.images_file
    assert message.startswith(
        'image "mine:1" is not in the catalogue, and this machine has neither podman nor docker: '
        f"install podman (or docker), or say what it stands for in {file}"
    )


async def test_an_engine_that_is_turned_off_is_not_used(tmp_path: Path, api: MemoryApi) -> None:
    async with running_node(tmp_path / "data", api, container_engine="none") as node:
        await node.create(pod("p", container(image="mine:1")))
        message = await until_waiting(node, "ErrImagePull")
    assert "containers are turned off (engine.container_engine is none)" in message
    assert "set engine.container_engine to auto" in message


async def test_a_known_name_can_be_asked_for_as_a_container(tmp_path: Path, api: MemoryApi) -> None:
    images = {"busybox": {"container": True}}
    async with running_node(tmp_path / "data", api, images=images, container_engine="none") as node:
        await node.create(pod("p", container(script="true")))
        message = await until_waiting(node, "ErrImagePull")
    known = 'image "busybox" is in the catalogue to be run as a container'
    assert message.startswith(f"{known}, and containers are turned off")


async def test_a_broken_engine_is_quoted(
    tmp_path: Path, api: MemoryApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "docker"
    program.write_text("#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda name: str(program) if name == "docker" else None)
    async with running_node(tmp_path / "data", api) as node:
        await node.create(pod("p", container(image="mine:1")))
        message = await until_waiting(node, "ErrImagePull")
    assert "docker does not work: Cannot connect to the Docker daemon" in message
    assert "see to it that docker info works" in message


@pytest.mark.parametrize("engine", ["podman"], indirect=True)
async def test_podman_by_the_name_of_docker_is_podman(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = shutil.which("podman")
    assert program is not None
    (tmp_path / "docker").symlink_to(program)
    monkeypatch.setattr(shutil, "which", lambda name: str(tmp_path / name))
    assert (await EngineFinder("docker").find()).name == "podman"


# Pure.


@pytest.mark.parametrize(
    "image",
    ["a", "a:1", "a/b", "r.example:5000/a/b:c", f"a@sha256:{'0' * 64}", "A.example/b__c/d-e.f"],
)
def test_names_that_images_can_have(image: str) -> None:
    check_name(image)


@pytest.mark.parametrize("image", ["", "A", "a b", "-a", "a:", "a//b", "a:b:c", "a@sha256:0", "/a"])
def test_names_that_they_cannot(image: str) -> None:
    with pytest.raises(InvalidImageName, match="invalid reference format"):
        check_name(image)


def test_both_kinds_of_pull_secrets_are_read() -> None:
    new = {"auths": {"a": {"auth": "x"}}}
    old = {"b": {"auth": "y"}}
    secrets = [
        {"metadata": {"name": "n"}, "data": {".dockerconfigjson": _base64(new)}},
        {"metadata": {"name": "o"}, "data": {".dockercfg": _base64(old)}},
    ]
    assert pull_credentials(secrets) == {"a": {"auth": "x"}, "b": {"auth": "y"}}
    with pytest.raises(ValueError, match=r'secret "n": \.dockerconfigjson'):
        pull_credentials([{"metadata": {"name": "n"}, "data": {".dockerconfigjson": "%"}}])


def test_only_podman_as_root_joins_namespaces() -> None:
    assert ContainerEngine("podman", Path()).joins_namespaces
    assert not ContainerEngine("podman", Path(), rootless=True).joins_namespaces
    assert not ContainerEngine("docker", Path()).joins_namespaces


async def _secret(node: Node, name: str, registry: Registry) -> None:
    auth = base64.b64encode(b"user:s3cret").decode()
    content = {"auths": {f"127.0.0.1:{registry.port}": {"auth": auth}}}
    body = {"metadata": {"name": name}, "data": {".dockerconfigjson": _base64(content)}}
    await node.client.create(SECRETS, body, "default")


def _base64(content: object) -> str:
    return base64.b64encode(json.dumps(content).encode()).decode()

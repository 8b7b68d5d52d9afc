"""A container's image made ready: prepared from the catalogue, or pulled by a container engine.

Reasons and Events are the kubelet's (pkg/kubelet/images/image_manager.go), so that whoever watches
pods for ``ErrImagePull`` or ``Pulled`` finds them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from kubeling.engine.building import PullError
from kubeling.engine.cgroups import bounds_of
from kubeling.engine.environments import Environment
from kubeling.engine.images import ImageEntry, UnknownImage, with_declared_packages
from kubeling.engine.notready import NotReady
from kubeling.engine.oci.client import ContainerEngine, EngineError
from kubeling.engine.oci.discovery import NoEngine
from kubeling.engine.oci.images import (
    ContainerImage,
    InvalidImageName,
    check_name,
    is_local,
    pull_credentials,
)
from kubeling.engine.podspec import all_containers, spec
from kubeling.engine.security import security_of
from kubeling.engine.services import NodeServices
from kubeling.engine.sharing import shares_processes
from kubeling.engine.sources import read_source
from kubeling.kube.objects import Obj, name, namespace, uid
from kubeling.kube.resources import SERVICE_ACCOUNTS

__all__ = [
    "PreparedImage",
    "can_have_network",
    "image_at_hand",
    "prepare_image",
    "processes_of",
]

_FAILED: Final = "ErrImagePull"


@dataclass(frozen=True, slots=True)
class PreparedImage:
    """What an image name stands for, ready to be run; with ``image``, as a container."""

    entry: ImageEntry
    environment: Environment
    image: ContainerImage | None = None


async def prepare_image(node: NodeServices, pod: Obj, container: Obj) -> PreparedImage:
    """The container's image, made ready first if need be; raises :class:`NotReady`."""
    image = container.get("image", "")
    try:
        entry = node.catalogue.find(image)
        if not entry.container:
            entry = with_declared_packages(entry, pod, container["name"])
            return PreparedImage(entry, await _environment(node, pod, container, entry))
        unknown = f'image "{image}" is in the catalogue to be run as a container'
        advice = f"change that in {node.config.images_file}"
    except UnknownImage as error:
        unknown, advice = str(error), error.advice
    except (ValueError, PullError) as error:
        raise _failed(image, str(error)) from error
    try:
        check_name(image)
        engine = await node.container_engine.find()
        found = await _container_image(node, engine, pod, container)
    except InvalidImageName as error:
        raise NotReady("InvalidImageName", str(error), "InspectFailed") from error
    except NoEngine as none:
        raise _failed(image, f"{unknown}, and {none}: {none.remedy}, or {advice}") from none
    except (EngineError, ValueError) as error:
        text = f"{error}. {unknown}: to run it as a process of this machine, {advice}"
        raise _failed(image, text) from error
    _check_user(found, pod, container)
    _tell_what_is_missing(node, engine, pod, container)
    entry = ImageEntry(container=True, entrypoint=found.entrypoint, cmd=found.cmd)
    return PreparedImage(entry, Environment((), found.reference), found)


def image_at_hand(node: NodeServices, pod: Obj, container: Obj) -> PreparedImage:
    """The container's image, if it is a process' and there; else raises :class:`NotReady`."""
    image = container.get("image", "")
    try:
        entry = with_declared_packages(node.catalogue.find(image), pod, container["name"])
    except (UnknownImage, ValueError) as error:
        raise _failed(image, str(error)) from error
    environment = None if entry.container else node.environments.ready(entry)
    if environment is None:
        raise _failed(image, f'image "{image}" is not there')
    return PreparedImage(entry, environment)


def _check_user(image: ContainerImage, pod: Obj, container: Obj) -> None:
    """``runAsNonRoot``: whom an image runs as is known only when it is there."""
    security = security_of(pod, container)
    if not security.get("runAsNonRoot") or security.get("runAsUser") is not None:
        return
    user = image.user.partition(":")[0] or "0"
    where = f'(pod: "{name(pod)}_{namespace(pod)}({uid(pod)})", container: {container["name"]})'
    if not user.isdecimal():
        why = f"image has non-numeric user ({user}), cannot verify user is non-root"
    elif int(user) == 0:
        why = "image will run as root"
    else:
        return
    raise NotReady("CreateContainerConfigError", f"container has runAsNonRoot and {why} {where}")


def _tell_what_is_missing(
    node: NodeServices, engine: ContainerEngine, pod: Obj, container: Obj
) -> None:
    own = container["name"]
    if bounds_of(container) and not engine.limits:
        text = f"limits on memory and CPU of container {own} do not hold: "
        text += f"{engine.name} without root needs control groups version 2 for them"
        node.events.warning(pod, "ReducedIsolation", text)
    if shares_processes(pod) and not engine.joins_namespaces:
        text = f"container {own} does not share its processes: only podman as root can do that"
        node.events.warning(pod, "ReducedIsolation", text)


def processes_of(node: NodeServices, pod: Obj) -> Obj:
    """The pod as far as its containers are processes of this machine."""
    kept: Obj = {
        kind: [c for c in listed if not _is_container(node, c)]
        for kind in ("initContainers", "containers")
        if (listed := spec(pod).get(kind))
    }
    return {**pod, "spec": {**spec(pod), **kept}}


async def can_have_network(node: NodeServices, pod: Obj) -> bool:
    """Whether all that runs the pod's containers can be put on a network of the pod's own."""
    if not any(_is_container(node, c) for c in all_containers(pod)):
        return True
    try:
        return (await node.container_engine.find()).joins_namespaces
    except NoEngine:
        return True


def _is_container(node: NodeServices, container: Obj) -> bool:
    try:
        return node.catalogue.find(container.get("image", "")).container
    except UnknownImage:
        return True
    except ValueError:
        return False


async def _environment(
    node: NodeServices, pod: Obj, container: Obj, entry: ImageEntry
) -> Environment:
    image = container["image"]
    if (ready := node.environments.ready(entry)) is not None:
        _tell_present(node, pod, image)
        return ready
    if container.get("imagePullPolicy") == "Never":
        raise _never(image)
    node.events.normal(pod, "Pulling", f'Pulling image "{image}"')
    begun = node.clock.monotonic()

    def tell(news: str) -> None:
        node.events.normal(pod, "Pulling", f'Image "{image}": {news}')

    environment = await node.environments.prepare(entry, tell)
    seconds = node.clock.monotonic() - begun
    _tell_pulled(node, pod, image, seconds, environment.size)
    return environment


async def _container_image(
    node: NodeServices, engine: ContainerEngine, pod: Obj, container: Obj
) -> ContainerImage:
    image, policy = container["image"], container.get("imagePullPolicy")
    found = await node.engine_images.find(engine, image)
    if found is not None and (policy != "Always" or is_local(image)):
        _tell_present(node, pod, image)
        return found
    if policy == "Never":
        raise _never(image)
    if is_local(image):
        raise EngineError(
            f'image "{image}" is not on this machine, and no registry has names below localhost/: '
            f"make it with {engine.name} build -t {image}"
        )
    node.events.normal(pod, "Pulling", f'Pulling image "{image}"')
    begun = node.clock.monotonic()
    pulled = await node.engine_images.pull(engine, image, await _credentials(node, pod))
    seconds = node.clock.monotonic() - begun
    _tell_pulled(node, pod, image, seconds, pulled.size)
    return pulled


async def _credentials(node: NodeServices, pod: Obj) -> dict[str, Any]:
    """What the pod's pull secrets say; without any, those of its service account."""
    listed = spec(pod).get("imagePullSecrets")
    if not listed:
        account = spec(pod).get("serviceAccountName") or "default"
        found = await node.client.find(SERVICE_ACCOUNTS, account, namespace(pod))
        listed = (found or {}).get("imagePullSecrets") or ()
    names = [entry["name"] for entry in listed if entry.get("name")]
    secrets = [
        await read_source("secret", secret, namespace(pod), node.client, node.informers)
        for secret in names
    ]
    if missing := [n for n, secret in zip(names, secrets, strict=True) if secret is None]:
        text = f"Unable to retrieve some image pull secrets ({', '.join(missing)}); "
        text += "attempting to pull the image may not succeed."
        node.events.warning(pod, "FailedToRetrieveImagePullSecret", text)
    return pull_credentials(secret for secret in secrets if secret is not None)


def _tell_present(node: NodeServices, pod: Obj, image: str) -> None:
    text = f'Container image "{image}" already present on machine'
    node.events.normal(pod, "Pulled", text)


def _tell_pulled(node: NodeServices, pod: Obj, image: str, seconds: float, size: int) -> None:
    text = f'Successfully pulled image "{image}" in {seconds:.1f}s.'
    node.events.normal(pod, "Pulled", f"{text} Image size: {size} bytes.")


def _never(image: str) -> NotReady:
    text = f'Container image "{image}" is not present with pull policy of Never'
    return NotReady("ErrImageNeverPull", text, "ErrImageNeverPull")


def _failed(image: str, why: str) -> NotReady:
    return NotReady(_FAILED, why, about=f'Failed to pull image "{image}": {why}')

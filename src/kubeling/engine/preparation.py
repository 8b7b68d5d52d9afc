"""Everything that has to be there before a container can start: its image, what it refers to, its
variables, volumes and tokens. Whatever is missing raises :class:`NotReady`, and the pod waits."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kubeling.engine.assembly import ContainerParts, base_env, etc_files
from kubeling.engine.devices import Grant, device_env, device_files
from kubeling.engine.envvars import api_env, expand_all, resolve_env, service_env
from kubeling.engine.fields import FieldError, PodFacts
from kubeling.engine.hostpaths import HostPathError
from kubeling.engine.hosts import HostNameError, host_name
from kubeling.engine.kept import kept_env, kept_mounts
from kubeling.engine.mounts import resolve_mounts
from kubeling.engine.notready import NotReady
from kubeling.engine.paths import PodPaths
from kubeling.engine.podspec import spec
from kubeling.engine.pulling import PreparedImage, image_at_hand, prepare_image
from kubeling.engine.refusals import refusal
from kubeling.engine.security import SecurityError, check_security, has_root, identity
from kubeling.engine.services import NodeServices
from kubeling.engine.sources import MissingSource, Sources, gather
from kubeling.engine.volumes import (
    Place,
    VolumeError,
    has_content,
    make_volume,
    token_requests,
)
from kubeling.kube.errors import ApiError
from kubeling.kube.objects import Obj, name, namespace, uid
from kubeling.kube.resources import SERVICE_ACCOUNTS, SERVICES

__all__ = ["NotReady", "Preparation"]

_REFRESH_AT = 0.8
_UNABLE = (MissingSource, FieldError, VolumeError, HostPathError, OSError)


@dataclass
class Preparation:
    """Prepares one pod's containers; volumes and tokens are made once and refreshed."""

    node: NodeServices
    paths: PodPaths
    _places: dict[str, Place] = field(default_factory=dict)
    _tokens: dict[tuple[str, int], str] = field(default_factory=dict)
    _refresh_at: float | None = None
    granted: Grant = field(default_factory=dict)
    """The devices of the pod's containers."""

    @property
    def refresh_at(self) -> float | None:
        """When the volumes' tokens have to be renewed."""
        return self._refresh_at

    async def container(
        self, facts: PodFacts, container: Obj, network: str, beside: int
    ) -> ContainerParts:
        """All parts of a container; raises :class:`NotReady`."""
        if refused := refusal(facts.pod):
            raise NotReady(*refused)
        try:
            check_security(facts.pod, container)
        except SecurityError as error:
            raise NotReady(error.reason, str(error)) from error
        prepared = await prepare_image(self.node, facts.pod, container)
        sources = await gather(facts.pod, self.node.client, self.node.informers)
        await self.volumes(facts, sources)
        env = self._variables(facts, container, prepared, sources)
        try:
            mounts = resolve_mounts(container, self._places, env)
        except VolumeError as error:
            raise NotReady("CreateContainerConfigError", str(error)) from error
        mounts += kept_mounts(prepared.entry, self._kept(facts.pod))
        argv = expand_all(prepared.entry.command(container), env)
        if not argv:
            raise NotReady(
                "CreateContainerError",
                f'no command: image "{container["image"]}" has none of its own here; set command',
            )
        config, own = self.node.config, self.hostname(facts.pod)
        etc = etc_files(facts, own, config.cluster_domain, config.dns_server)
        return ContainerParts(
            facts.pod, container, argv, env, prepared.entry, prepared.environment, mounts, etc,
            network, own, beside,
            device_files(self.node.devices, self.granted.get(container["name"], {})),
            prepared.image,
        )  # fmt: skip

    async def as_it_would_be(self, facts: PodFacts, container: Obj) -> ContainerParts:
        """What would be run for a container of a pod that there is not, and may never be.

        Makes and fetches nothing: raises :class:`NotReady` if something is missing for it.
        """
        prepared = image_at_hand(self.node, facts.pod, container)
        sources = await gather(facts.pod, self.node.client, self.node.informers)
        env = self._variables(facts, container, prepared, sources)
        argv = expand_all(prepared.entry.command(container), env)
        own = self.hostname(facts.pod)
        return ContainerParts(
            facts.pod,
            container,
            argv,
            env,
            prepared.entry,
            prepared.environment,
            (),
            {},
            "",
            own,
            0,
        )

    def _variables(
        self, facts: PodFacts, container: Obj, prepared: PreparedImage, sources: Sources
    ) -> dict[str, str]:
        try:
            base = self._base(facts, container, prepared)
            volumes = {volume: place.path for volume, place in self._places.items()}
            return resolve_env(container, facts, sources, base, volumes)
        except (MissingSource, FieldError) as error:
            raise NotReady("CreateContainerConfigError", str(error)) from error

    def hostname(self, pod: Obj) -> str:
        """What the pod is called; raises :class:`NotReady` for a name that cannot be had."""
        try:
            return host_name(pod, self.node.config.cluster_domain, os.uname().nodename)
        except HostNameError as error:
            text = f"Failed to create pod sandbox: {error}"
            raise NotReady("ContainerCreating", text, "FailedCreatePodSandBox") from error

    async def volumes(self, facts: PodFacts, sources: Sources | None = None) -> None:
        """Makes the pod's volumes, or brings those with content up to date."""
        wanted = spec(facts.pod).get("volumes") or []
        if not wanted:
            return
        if sources is None:
            sources = await gather(facts.pod, self.node.client, self.node.informers)
        await self._renew_tokens(facts.pod)
        memory = has_root(self.node.walls)
        for volume in wanted:
            folder = self._folder(facts.pod, volume)
            try:
                self._places[volume["name"]] = make_volume(
                    volume, folder, facts, sources, self._tokens, memory=memory
                )
            except _UNABLE as error:
                text = f'MountVolume.SetUp failed for volume "{volume["name"]}": {error}'
                raise NotReady("ContainerCreating", text, "FailedMount") from error

    def _kept(self, pod: Obj) -> Path:
        return self.node.config.paths.kept / namespace(pod)

    def _folder(self, pod: Obj, volume: Obj) -> Path:
        memory = self.node.memory
        if memory is not None and has_content(volume):
            return memory / uid(pod) / str(volume["name"])
        return self.paths.volumes / str(volume["name"])

    def _base(self, facts: PodFacts, container: Obj, prepared: PreparedImage) -> Mapping[str, str]:
        config = self.node.config
        own = self.hostname(facts.pod)
        granted = self.granted.get(container["name"], {})
        passed = self.node.passed_env
        if prepared.image is None:
            who = identity(facts.pod, container)
            env = {**passed, **base_env(own, who, prepared.entry, prepared.environment)}
            kept = self._kept(facts.pod)
            env.update(kept_env(prepared.entry, kept, mounted=self.node.walls.files))
        else:
            env = {name: value for name, value in passed.items() if not _names_a_file(value)}
            env["HOSTNAME"] = own
        alone = prepared.image is not None or self.node.walls.files
        env.update(device_env(self.node.devices, granted, alone=alone))
        if spec(facts.pod).get("enableServiceLinks", True):
            services = self.node.informers.of(SERVICES).list(namespace(facts.pod))
            env.update(service_env(services))
        if config.api_host:
            env.update(api_env(*self._api(facts.pod)))
        return env

    def _api(self, pod: Obj) -> tuple[str, int]:
        """Where the pod reaches the API: by its name, or directly from the machine's network.

        There the cluster's names may be unknown, and ports such as 443 closed to us.
        """
        config = self.node.config
        service = self.node.informers.of(SERVICES).get("default", "kubernetes")
        if service is not None and (self.node.networks is None or spec(pod).get("hostNetwork")):
            port = spec(service)["ports"][0].get("targetPort")
            if isinstance(port, int):
                return "127.0.0.1", port
        return config.api_host, config.api_port

    async def _renew_tokens(self, pod: Obj) -> None:
        wanted = token_requests(pod)
        now = self.node.now()
        if not wanted or (self._refresh_at is not None and now < self._refresh_at):
            return
        for audience, seconds in wanted:
            try:
                self._tokens[audience, seconds] = await self._token(pod, audience, seconds)
            except ApiError as error:
                text = f"cannot get a token for the pod's service account: {error.message}"
                raise NotReady("ContainerCreating", text, "FailedMount") from error
        self._refresh_at = now + _REFRESH_AT * min(seconds for _, seconds in wanted)

    async def _token(self, pod: Obj, audience: str, seconds: int) -> str:
        account = spec(pod).get("serviceAccountName") or "default"
        bound = {"apiVersion": "v1", "kind": "Pod", "name": name(pod), "uid": uid(pod)}
        request: Obj = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": seconds, "boundObjectRef": bound},
        }
        if audience:
            request["spec"]["audiences"] = [audience]
        answer = await self.node.client.create_subresource(
            SERVICE_ACCOUNTS, account, namespace(pod), "token", request
        )
        return str(answer["status"]["token"])


def _names_a_file(value: str) -> bool:
    """Whether a variable means nothing in an image with files of its own."""
    return value.startswith(("/", "~", "file:"))

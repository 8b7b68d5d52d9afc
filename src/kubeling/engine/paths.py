"""Where the engine keeps what: the layout of its part of the data directory.

engine/
  node.json             this node's name and subnet, chosen once
  net/<octet>           a pod's network, as a mounted namespace
  envs/<hash>/          prepared environments ("images")
  layers/<keeper>/<n>/  what a container changes, where layers are used again
  templates/<n>/        what an interpreter changes that Python commands are forked from
  volumes/<ns>/<claim>/ what persistent volume claims keep
  snapshots/<handle>/   what volume snapshots keep
  kept/<ns>/<name>/     what programs of some images keep from pod to pod
  memory/<uid>/<name>/  volumes made of objects, in memory where it can be had
  pods/<uid>/           one pod, removed when its object is gone
    pod.json ended.json what a restarted agent needs to know about it
    volumes/<name>/     its volumes
    <container>.<attempt>/
      state.json exit.json engine.json log termination-log alive input etc/ tmp/ files/
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from kubeling.engine.sandbox.keyboard import INPUT

__all__ = ["ContainerPaths", "EnginePaths", "PodPaths"]


@dataclass(frozen=True, slots=True)
class EnginePaths:
    """The engine's folder."""

    root: Path

    @property
    def node_file(self) -> Path:
        return self.root / "node.json"

    @property
    def networks(self) -> Path:
        return self.root / "net"

    @property
    def environments(self) -> Path:
        return self.root / "envs"

    @property
    def layers(self) -> Path:
        return self.root / "layers"

    @property
    def templates(self) -> Path:
        return self.root / "templates"

    @property
    def claims(self) -> Path:
        return self.root / "volumes"

    @property
    def snapshots(self) -> Path:
        return self.root / "snapshots"

    @property
    def kept(self) -> Path:
        return self.root / "kept"

    @property
    def memory(self) -> Path:
        return self.root / "memory"

    @property
    def pods(self) -> Path:
        return self.root / "pods"

    def pod(self, uid: str) -> PodPaths:
        return PodPaths(self.pods / uid)


@dataclass(frozen=True, slots=True)
class PodPaths:
    """One pod's folder."""

    root: Path

    @property
    def record(self) -> Path:
        return self.root / "pod.json"

    @property
    def ended(self) -> Path:
        """The record once the pod has given its address back."""
        return self.root / "ended.json"

    @property
    def volumes(self) -> Path:
        return self.root / "volumes"

    def container(self, name: str, attempt: int) -> ContainerPaths:
        return ContainerPaths(self.root / f"{name}.{attempt}")

    def attempts(self, name: str) -> list[int]:
        """The attempts at a container there are files of, oldest first."""
        return sorted(attempt for found, attempt in self._attempts() if found == name)

    def all_attempts(self) -> list[ContainerPaths]:
        """The attempts at all containers."""
        return [self.container(name, attempt) for name, attempt in self._attempts()]

    def _attempts(self) -> list[tuple[str, int]]:
        try:
            names = os.listdir(self.root)
        except FileNotFoundError:
            return []
        parts = (name.rpartition(".") for name in names)
        return [(name, int(attempt)) for name, _, attempt in parts if attempt.isdigit()]


@dataclass(frozen=True, slots=True)
class ContainerPaths:
    """One attempt at running a container."""

    root: Path

    @property
    def attempt(self) -> str:
        return self.root.name.rpartition(".")[2]

    @property
    def container(self) -> str:
        return self.root.name.rpartition(".")[0]

    @property
    def pod(self) -> str:
        """The pod's uid."""
        return self.root.parent.name

    @property
    def log(self) -> Path:
        return self.root / "log"

    @property
    def input(self) -> Path:
        return self.root / INPUT

    @property
    def alive(self) -> Path:
        return self.root / "alive"

    @property
    def exit(self) -> Path:
        return self.root / "exit.json"

    @property
    def state(self) -> Path:
        return self.root / "state.json"

    @property
    def engine(self) -> Path:
        """What is known of a container of podman or docker; absent for a process."""
        return self.root / "engine.json"

    @property
    def etc(self) -> Path:
        """Hosts, hostname and resolv.conf for a container of podman or docker."""
        return self.root / "etc"

    @property
    def termination_log(self) -> Path:
        return self.root / "termination-log"

    @property
    def tmp(self) -> Path:
        return self.root / "tmp"

    @property
    def files(self) -> Path:
        return self.root / "files"

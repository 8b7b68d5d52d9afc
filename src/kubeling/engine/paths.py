"""Where the engine keeps what: the layout of its part of the data directory.

engine/
  node.json             this node's name and subnet, chosen once
  net/<octet>           a pod's network, as a mounted namespace
  envs/<hash>/          prepared environments ("images")
  volumes/<ns>/<claim>/ what persistent volume claims keep
  snapshots/<handle>/   what volume snapshots keep
  memory/<uid>/<name>/  volumes made of objects, in memory where it can be had
  pods/<uid>/           one pod, removed when its object is gone
    pod.json            what a restarted agent needs to know about it
    etc/                hosts, hostname, resolv.conf
    volumes/<name>/     its volumes
    containers/<name>/<attempt>/
      launch.json state.json exit.json engine.json log termination-log alive input tmp/ files/
"""

from __future__ import annotations

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
    def claims(self) -> Path:
        return self.root / "volumes"

    @property
    def snapshots(self) -> Path:
        return self.root / "snapshots"

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
    def etc(self) -> Path:
        return self.root / "etc"

    @property
    def volumes(self) -> Path:
        return self.root / "volumes"

    @property
    def containers(self) -> Path:
        return self.root / "containers"

    def container(self, name: str, attempt: int) -> ContainerPaths:
        return ContainerPaths(self.containers / name / str(attempt))

    def attempts(self, name: str) -> list[int]:
        """The attempts at a container there are files of, oldest first."""
        folder = self.containers / name
        if not folder.is_dir():
            return []
        return sorted(int(entry.name) for entry in folder.iterdir())


@dataclass(frozen=True, slots=True)
class ContainerPaths:
    """One attempt at running a container."""

    root: Path

    @property
    def attempt(self) -> str:
        return self.root.name

    @property
    def container(self) -> str:
        return self.root.parent.name

    @property
    def pod(self) -> str:
        """The pod's uid."""
        return self.root.parents[2].name

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
    def launch(self) -> Path:
        return self.root / "launch.json"

    @property
    def termination_log(self) -> Path:
        return self.root / "termination-log"

    @property
    def tmp(self) -> Path:
        return self.root / "tmp"

    @property
    def files(self) -> Path:
        return self.root / "files"

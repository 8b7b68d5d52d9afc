"""Training runtimes: what TrainJobs may name, and each with a TrainJob to begin with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from kubeling.gateway.kinds import TRAIN_JOBS, TRAINING_RUNTIMES, link_to
from kubeling.gateway.pages.objects import object_values
from kubeling.gateway.pages.view import Views
from kubeling.kube import yaml
from kubeling.kube.objects import Obj, name, namespace
from kubeling.kube.resources import Resource

__all__ = ["runtime_link", "runtime_list", "runtime_page"]

_FRAMEWORK: Final = "trainer.kubeflow.org/framework"
_SUPPORT: Final = "trainer.kubeflow.org/support"
_STEP: Final = "trainer.kubeflow.org/trainjob-ancestor-step"
_NODES: Final = "numNodes"
_BY_KIND: Final = {resource.kind: resource for resource in TRAINING_RUNTIMES}
_LATEST: Final = 20


@dataclass(frozen=True, slots=True)
class Runtime:
    """What a TrainJob gets from naming a runtime."""

    obj: Obj
    used: int = 0

    @property
    def framework(self) -> str:
        return str((self.obj["metadata"].get("labels") or {}).get(_FRAMEWORK) or "")

    @property
    def is_deprecated(self) -> bool:
        return (self.obj["metadata"].get("labels") or {}).get(_SUPPORT) == "deprecated"

    @property
    def nodes(self) -> int:
        return int(self._policy.get(_NODES) or 1)

    @property
    def launcher(self) -> str:
        """What starts the training on the nodes: ``torch``, ``mpi`` … or nothing."""
        return next((str(key) for key in self._policy if key != _NODES), "")

    @property
    def launcher_settings(self) -> dict[str, Any]:
        return dict(self._policy.get(self.launcher) or {})

    @property
    def jobs(self) -> list[Job]:
        """The jobs of its JobSet."""
        template = (self.obj["spec"].get("template") or {}).get("spec") or {}
        return [Job(entry) for entry in template.get("replicatedJobs") or ()]

    @property
    def images(self) -> list[str]:
        """The images of all its containers, each once."""
        return list(dict.fromkeys(image for job in self.jobs for image in job.images))

    @property
    def _policy(self) -> dict[str, Any]:
        return dict(self.obj["spec"].get("mlPolicy") or {})


@dataclass(frozen=True, slots=True)
class Job:
    """A job of a runtime's JobSet."""

    entry: Obj

    @property
    def name(self) -> str:
        return str(self.entry.get("name") or "")

    @property
    def step(self) -> str:
        """Which part of a TrainJob fills it in: ``trainer`` or an initializer."""
        metadata = (self.entry.get("template") or {}).get("metadata") or {}
        return str((metadata.get("labels") or {}).get(_STEP) or "")

    @property
    def after(self) -> list[str]:
        """What it waits for."""
        depends = self.entry.get("dependsOn") or ()
        return [f"{d.get('name')} {str(d.get('status', '')).lower()}".strip() for d in depends]

    @property
    def containers(self) -> Iterator[Obj]:
        job = (self.entry.get("template") or {}).get("spec") or {}
        yield from ((job.get("template") or {}).get("spec") or {}).get("containers") or ()

    @property
    def images(self) -> list[str]:
        return [str(container.get("image") or "") for container in self.containers]


async def runtime_list(views: Views, request: web.Request) -> web.Response:
    """All runtimes, those of the whole cluster first."""
    used = Counter(_named_by(job) for job in await views.objects(TRAIN_JOBS))
    found = await views.objects(*TRAINING_RUNTIMES)
    found.sort(key=lambda obj: (namespace(obj), name(obj)))
    return views.page(
        request,
        "training_runtimes.html",
        "/training",
        "Training runtimes",
        (*TRAINING_RUNTIMES, TRAIN_JOBS),
        found=[Runtime(obj, used[_key(obj)]) for obj in found],
    )


async def runtime_page(views: Views, request: web.Request) -> web.Response:
    """One runtime."""
    resource: Resource = _BY_KIND[request.path.split("/")[4]]
    obj = await views.object(resource, request)
    jobs = [job for job in await views.objects(TRAIN_JOBS) if _named_by(job) == _key(obj)]
    values = await object_values(views, obj)
    return views.page(
        request,
        "training_runtime.html",
        "/training",
        name(obj),
        (resource, TRAIN_JOBS),
        runtime=Runtime(obj, len(jobs)),
        used_by=jobs[:_LATEST],
        example=yaml.dump(_example(obj)),
        **values,
    )


def runtime_link(train_job: Obj) -> str:
    """The page of the runtime that a TrainJob names."""
    kind, where, called = _named_by(train_job)
    return link_to(TRAIN_JOBS.api_version, kind, where, called)


def _key(runtime: Obj) -> tuple[str, str, str]:
    return runtime["kind"], namespace(runtime), name(runtime)


def _named_by(train_job: Obj) -> tuple[str, str, str]:
    """The runtime that a TrainJob names, as upstream's defaults complete the reference."""
    reference = train_job["spec"].get("runtimeRef") or {}
    kind = str(reference.get("kind") or "ClusterTrainingRuntime")
    where = "" if kind == "ClusterTrainingRuntime" else namespace(train_job)
    return kind, where, str(reference.get("name") or "")


def _example(runtime: Obj) -> Obj:
    """A TrainJob that runs a script on the runtime."""
    reference = {"name": name(runtime)}
    where = {"namespace": namespace(runtime)} if namespace(runtime) else {}
    if where:
        reference = {"kind": runtime["kind"], **reference}
    return {
        "apiVersion": TRAIN_JOBS.api_version,
        "kind": "TrainJob",
        "metadata": {"generateName": "train-", **where},
        "spec": {
            "runtimeRef": reference,
            "trainer": {"numNodes": 1, "command": ["python", "train.py"]},
        },
    }

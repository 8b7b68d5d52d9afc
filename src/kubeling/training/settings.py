"""What can be set about training."""

from __future__ import annotations

from typing import Literal

import msgspec

from kubeling.component import Settings

__all__ = ["GangScheduler", "TrainingSettings"]

GangScheduler = Literal["auto", "none", "scheduler-plugins", "volcano"]


class TrainingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that begin with ``training.``."""

    gang_scheduler: GangScheduler = "auto"
    """Who sees to it that the pods of a job start together (upstream's ``--gang-scheduler-name``):
    ``auto`` makes PodGroups where the API knows those of scheduler-plugins, which the embedded node
    heeds; the two others also hand the pods to that scheduler by its name."""

    jobsets: bool = True
    """Whether this platform runs JobSets; off where JobSet itself is installed."""
    progress_url: str = ""
    """Where the pods of TrainJobs post their progress; empty: ``trainer-progress.kubeflow``, as
    the platform has it."""

    @classmethod
    def of(cls, settings: Settings) -> TrainingSettings:
        """Those of an installation."""
        return msgspec.convert(settings.rooms.get("training", {}), cls)

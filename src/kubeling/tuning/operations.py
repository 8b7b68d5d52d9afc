"""What can be done to an experiment that runs, besides deleting it.

Upstream has no way to stop one. A budget of as many trials as have ended is one: the experiment
succeeds by its own rules, keeps its trials and its best, and those under way are ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kubeling.kube.client import Client
from kubeling.kube.objects import Obj, name, namespace, uid
from kubeling.tuning.experiment_status import has_ended
from kubeling.tuning.resources import EXPERIMENTS, TRIALS
from kubeling.tuning.tally import Tally

__all__ = ["BUDGET", "stop"]

BUDGET: Final = ("maxTrialCount", "parallelTrialCount", "maxFailedTrialCount")
"""The fields of an experiment's spec that may be changed."""


async def stop(client: Client, experiment: Obj, trials: Sequence[Obj]) -> None:
    """Ends an experiment with what it has; one without an ended trial has nothing and goes."""
    if has_ended(experiment):
        return
    tally = Tally.of(trials, experiment["spec"])
    if not tally.ended:
        await client.delete(
            EXPERIMENTS, name(experiment), namespace(experiment), uid=uid(experiment)
        )
        return
    spec = experiment["spec"]
    most = {"maxTrialCount": tally.ended}
    for field in BUDGET[1:]:
        if (spec.get(field) or 0) > tally.ended:
            most[field] = tally.ended
    await client.patch(EXPERIMENTS, name(experiment), {"spec": most}, namespace(experiment))
    for trial in tally.active:
        await client.delete(TRIALS, name(trial), namespace(trial), uid=uid(trial), missing_ok=True)

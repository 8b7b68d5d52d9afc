"""Which running trials are not worth finishing, judged as their metrics arrive.

What is asked is :mod:`kubeling.tuning.early_stopping`; here is where the readings of one trial and
the curves of the others come from. Curves of trials that ended are kept in memory while their
experiment goes on, and read from the store once after a restart.
"""

from __future__ import annotations

from collections.abc import Sequence

from kubeling.component import Context
from kubeling.kube.objects import Obj, controller_of, namespace, uid
from kubeling.tuning.collection import WATCHED, MetricsCollection
from kubeling.tuning.collectors import REPORTED, collector_kind, metric_names
from kubeling.tuning.early_stopping import Curve, compares_trials, stop_reason
from kubeling.tuning.early_stopping.curves import curve
from kubeling.tuning.experiment_status import has_ended
from kubeling.tuning.metrics import Reading, Summary, summarise
from kubeling.tuning.resources import EXPERIMENTS, TRIALS
from kubeling.tuning.trial_status import TrialPhase, phase_of
from kubeling.tuning.trial_status import has_ended as trial_has_ended

__all__ = ["EarlyStops"]


class EarlyStops:
    """Judges trials; ``collection`` is given once it is there."""

    collection: MetricsCollection

    def __init__(self, context: Context) -> None:
        self._experiments = context.informers.of(EXPERIMENTS)
        self._trials = context.informers.of(TRIALS)
        self._asked: dict[str, int] = {}
        self._curves: dict[str, dict[str, Curve]] = {}
        self._experiments.add_handler(self._forget_ended)

    def watches(self, trial: Obj) -> bool:
        """Whether a trial may be stopped early at all."""
        spec = (self._experiment(trial) or {}).get("spec") or {}
        return bool(trial["spec"].get("earlyStoppingRules") or spec.get("earlyStopping"))

    async def judge(self, trial: Obj) -> tuple[str, dict[str, Summary]]:
        """Why a trial should stop, empty if it may go on; and what it measured so far."""
        experiment = self._experiment(trial)
        asked = self._asked.get(uid(trial), 0)
        if asked >= WATCHED:
            return "", {}
        # A trial that somebody made by hand has rules at most.
        spec = experiment["spec"] if experiment else {"objective": trial["spec"]["objective"]}
        readings, summaries = await self._so_far(trial)
        if len(readings) <= asked:
            return "", {}
        others: Sequence[Curve] = ()
        if experiment is not None and compares_trials(spec):
            others = await self._others(experiment, trial)
        rules = trial["spec"].get("earlyStoppingRules") or ()
        why = stop_reason(spec, rules, readings, others, asked=asked)
        if not why:  # What is to be written may have to be asked again.
            self._asked[uid(trial)] = len(readings)
        return why or "", summaries

    def over(self, trial: Obj) -> None:
        """A trial ended, and is not asked about again."""
        self._asked.pop(uid(trial), None)

    def _forget_ended(self, old: Obj | None, new: Obj | None) -> None:
        """No trial of an experiment that ended, or is gone, is compared with others."""
        if (known := new or old) is not None and (new is None or has_ended(new)):
            self._curves.pop(uid(known), None)

    async def _so_far(self, trial: Obj) -> tuple[Sequence[Reading], dict[str, Summary]]:
        if collector_kind(trial) in REPORTED:
            wanted = set(metric_names(trial))
            reported = await self.collection.readings(trial, WATCHED)
            found = [r for r in reported if r.name in wanted]
            return found, summarise(found)
        return self.collection.live(trial)

    async def _others(self, experiment: Obj, trial: Obj) -> list[Curve]:
        final = {} if has_ended(experiment) else self._curves.setdefault(uid(experiment), {})
        found = []
        for other in self._trials.owned_by(uid(experiment)):
            if uid(other) == uid(trial):
                continue
            known = final.get(uid(other)) or await self._curve(other)
            if trial_has_ended(other):
                final[uid(other)] = known
            found.append(known)
        return found

    async def _curve(self, trial: Obj) -> Curve:
        metric, ended = metric_names(trial)[0], trial_has_ended(trial)
        if ended or collector_kind(trial) in REPORTED:
            readings: Sequence[Reading] = await self.collection.readings(trial, WATCHED)
        else:
            readings, _ = self.collection.live(trial)
        return curve(readings, metric, complete=phase_of(trial) is TrialPhase.SUCCEEDED)

    def _experiment(self, trial: Obj) -> Obj | None:
        owner = controller_of(trial) or {}
        found = self._experiments.get(namespace(trial), owner.get("name", ""))
        return found if found is not None and uid(found) == owner.get("uid") else None

"""Which trials of an experiment changed since somebody last asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kubeling.kube.informer import Informer
from kubeling.kube.objects import Obj, controller_of, name

__all__ = ["TrialChanges"]

_NOBODY: Final = ""


class TrialChanges:
    """Changes by experiment, for one who keeps what he derives from the trials.

    Who asks first gets all trials and is told of changes from then on, until he is forgotten.
    """

    def __init__(self, trials: Informer) -> None:
        self._trials = trials
        self._changed: dict[str, dict[str, Obj | None]] = {}
        trials.add_handler(self._note)

    def take(self, experiment_uid: str) -> Mapping[str, Obj | None]:
        """The trials that changed, by name; nothing for those that are gone."""
        changed = self._changed.get(experiment_uid)
        self._changed[experiment_uid] = {}
        if changed is None:
            return {name(trial): trial for trial in self._trials.owned_by(experiment_uid)}
        return changed

    def forget(self, experiment_uid: str) -> None:
        """Keeps no more changes of an experiment."""
        self._changed.pop(experiment_uid, None)

    def _note(self, old: Obj | None, new: Obj | None) -> None:
        before, after = _owner(old), _owner(new)
        if old is not None and before != after and before in self._changed:
            self._changed[before][name(old)] = None
        if new is not None and after in self._changed:
            self._changed[after][name(new)] = new


def _owner(trial: Obj | None) -> str:
    owner = controller_of(trial) if trial is not None else None
    return str(owner["uid"]) if owner else _NOBODY

"""The Experiment that tries a script's parameters. Pure.

The script is run as it is: with ``--name=value`` for each parameter, or with variables, and prints
``metric=value``. Nothing is imported into it and nothing in it has to know of Katib.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from kubeling.kube.objects import Obj
from kubeling.tuning.extensions import WARM_START
from kubeling.tuning.words import settings

__all__ = ["COMMAND", "Script", "Wanted", "experiment_of", "name_of"]

COMMAND: Final = "kubeling.io/command"
"""The annotation that says how the script is run by hand, as a JSON list of words."""

_CONTAINER: Final = "trial"
_LONGEST: Final = 28
"""Of an experiment's name, so that what makes it unique finds room."""


@dataclass(frozen=True, slots=True)
class Script:
    """What is run, and how it gets its parameters."""

    path: str
    arguments: tuple[str, ...] = ()
    image: str = "python:3"
    as_variables: bool = False
    folder: str = ""
    resources: Mapping[str, str] = field(default_factory=dict)

    @property
    def command(self) -> list[str]:
        return ["python", "-u", self.path, *self.arguments]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be found, by what means, and at what price."""

    goal_type: str
    metric: str
    parameters: Sequence[Obj]
    metrics: Mapping[str, str] = field(default_factory=dict)
    """Others that are kept, with which of their values counts: min, max or latest."""
    goal: float | None = None
    algorithm: str = "auto"
    settings: Mapping[str, str] = field(default_factory=dict)
    early_stopping: str = ""
    early_stopping_settings: Mapping[str, str] = field(default_factory=dict)
    trials: int = 20
    parallel: int = 2
    failures: int | None = None
    earlier: Sequence[str] = ()
    """Experiments to learn from."""


def experiment_of(name: str, script: Script, wanted: Wanted) -> Obj:
    """The manifest."""
    objective: Obj = {"type": wanted.goal_type, "objectiveMetricName": wanted.metric}
    if wanted.goal is not None:
        objective["goal"] = wanted.goal
    if wanted.metrics:
        objective["additionalMetricNames"] = list(wanted.metrics)
        objective["metricStrategies"] = [
            {"name": name, "value": value} for name, value in wanted.metrics.items()
        ]
    spec: Obj = {
        "objective": objective,
        "algorithm": _algorithm(wanted.algorithm, wanted.settings),
        "parameters": list(wanted.parameters),
        "maxTrialCount": wanted.trials,
        "parallelTrialCount": min(wanted.parallel, wanted.trials),
        # What is given more trials later goes on with what it has learnt.
        "resumePolicy": "LongRunning",
        "trialTemplate": _template(script, [p["name"] for p in wanted.parameters]),
    }
    if wanted.failures is not None:
        spec["maxFailedTrialCount"] = wanted.failures
    if wanted.early_stopping:
        spec["earlyStopping"] = _algorithm(wanted.early_stopping, wanted.early_stopping_settings)
    annotations = {COMMAND: json.dumps(["python", script.path, *script.arguments])}
    if wanted.earlier:
        annotations[WARM_START] = ",".join(wanted.earlier)
    return {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"name": name, "annotations": annotations},
        "spec": spec,
    }


def name_of(path: str, suffix: str) -> str:
    """A name for the experiment of a script: ``train.py`` becomes ``train-SUFFIX``."""
    stem = path.rpartition("/")[2].removesuffix(".py").lower()
    word = re.sub(r"[^a-z0-9]+", "-", stem).strip("-")
    word = word if word[:1].isalpha() else f"tune-{word}".rstrip("-")
    return f"{word[:_LONGEST].rstrip('-')}-{suffix}"


def _algorithm(name: str, given: Mapping[str, str]) -> Obj:
    found: Obj = {"algorithmName": name}
    if given:
        found["algorithmSettings"] = settings(given)
    return found


def _template(script: Script, names: Sequence[str]) -> Obj:
    reference = {name: f"${{trialParameters.{_variable(name)}}}" for name in names}
    container: Obj = {"name": _CONTAINER, "image": script.image, "command": script.command}
    if script.as_variables:
        container["env"] = [
            {"name": _variable(name).upper(), "value": value} for name, value in reference.items()
        ]
    else:
        container["command"] += [f"--{name}={value}" for name, value in reference.items()]
    if script.folder:
        container["workingDir"] = script.folder
    if script.resources:
        container["resources"] = {"limits": dict(script.resources)}
    return {
        "primaryContainerName": _CONTAINER,
        # The pods stay with the trials, and their logs with them.
        "retain": True,
        "trialParameters": [{"name": _variable(name), "reference": name} for name in names],
        "trialSpec": {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "spec": {
                "backoffLimit": 0,
                "template": {"spec": {"restartPolicy": "Never", "containers": [container]}},
            },
        },
    }


def _variable(name: str) -> str:
    """A parameter's name as a variable may be called."""
    return re.sub(r"[^A-Za-z0-9_]", "_", name)

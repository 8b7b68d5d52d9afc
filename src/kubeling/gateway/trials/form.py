"""An Experiment from what somebody wrote into a form, or what is wrong with it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from kubeling.gateway.drawing.plane import number
from kubeling.kube import yaml
from kubeling.kube.objects import Obj
from kubeling.tuning.words import WordsError, parameter, settings

__all__ = ["COUNTS", "again", "experiment_of_form"]

COUNTS: Final = {
    "trials": "maxTrialCount",
    "parallel": "parallelTrialCount",
    "failures": "maxFailedTrialCount",
}
_STRATEGIES: Final = ("min", "max", "latest")
_CONTAINER: Final = "trial"
_SEPARATORS: Final = re.compile(r"[\s,]+")
_KEPT: Final = ("annotations", "labels")
_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"


def experiment_of_form(values: Mapping[str, str]) -> tuple[Obj, dict[str, str]]:
    """The manifest, and by field what is wrong; the manifest counts if nothing is."""
    wrong: dict[str, str] = {}
    name = values.get("name", "").strip()
    if not name:
        wrong["name"] = "Give it a name."
    parameters = _parameters(values, wrong)
    spec: Obj = {
        "objective": _objective(values, wrong),
        "parameters": parameters,
        "algorithm": _algorithm("algorithm", "s", values),
        "resumePolicy": values.get("resume") or "Never",
        "trialTemplate": _template(values, parameters, wrong),
    }
    if values.get("stopping"):
        spec["earlyStopping"] = _algorithm("stopping", "e", values)
    for field, key in COUNTS.items():
        text = values.get(field, "").strip()
        if text and not text.isdecimal():
            wrong[field] = "Give a whole number."
        elif text:
            spec[key] = int(text)
    manifest: Obj = {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"name": name, "namespace": values.get("namespace", "").strip() or "default"},
        "spec": spec,
    }
    return manifest, wrong


def _objective(values: Mapping[str, str], wrong: dict[str, str]) -> Obj:
    metric = values.get("metric", "").strip()
    if not metric:
        wrong["metric"] = "Which metric? Trials print it as metric=value."
    found: Obj = {"type": values.get("type") or "maximize", "objectiveMetricName": metric}
    if goal := values.get("goal", "").strip():
        value = number(goal)
        if value is None:
            wrong["goal"] = "Give a number."
        found["goal"] = value
    strategies = []
    for word in filter(None, _SEPARATORS.split(values.get("metrics", ""))):
        other, _, strategy = word.partition(":")
        if strategy not in ("", *_STRATEGIES):
            wrong["metrics"] = f"{word}: write NAME, NAME:min, NAME:max or NAME:latest."
        found.setdefault("additionalMetricNames", []).append(other)
        strategies.append({"name": other, "value": strategy or "latest"})
    if strategies:
        found["metricStrategies"] = strategies
    return found


def _parameters(values: Mapping[str, str], wrong: dict[str, str]) -> list[Obj]:
    found, said = [], []
    for line in filter(None, map(str.strip, values.get("parameters", "").splitlines())):
        try:
            found.append(parameter(line))
        except WordsError as error:
            said.append(str(error))
    if said:
        wrong["parameters"] = " ".join(said)
    elif not found:
        wrong["parameters"] = "Give at least one, a line each."
    return found


def _algorithm(field: str, prefix: str, values: Mapping[str, str]) -> Obj:
    """The chosen algorithm, with those of its settings that were filled in."""
    name = values.get(field, "")
    start = f"{prefix}.{name}."
    given = {
        key.removeprefix(start): text.strip()
        for key, text in values.items()
        if key.startswith(start) and text.strip()
    }
    found: Obj = {"algorithmName": name}
    if given:
        found["algorithmSettings"] = settings(given)
    return found


def _template(values: Mapping[str, str], parameters: list[Obj], wrong: dict[str, str]) -> Obj:
    names = [str(entry["name"]) for entry in parameters]
    found: Obj = {
        "primaryContainerName": values.get("container", "").strip() or _CONTAINER,
        "retain": bool(values.get("retain")),
        "trialParameters": [{"name": _variable(name), "reference": name} for name in names],
    }
    if values.get("template") == "yaml":
        found["trialSpec"] = _read(values.get("spec", ""), wrong)
    else:
        found["trialSpec"] = _job(values, names, found["primaryContainerName"], wrong)
    return found


def _read(text: str, wrong: dict[str, str]) -> Any:
    try:
        found = yaml.load(text)
    except ValueError as error:
        wrong["spec"] = str(error)
        return None
    if not isinstance(found, dict):
        wrong["spec"] = "Give the object that a trial creates: a Job, a PyTorchJob …"
    return found


def _job(values: Mapping[str, str], names: list[str], container: str, wrong: dict[str, str]) -> Obj:
    """A Job that runs a command in a shell; parameters it does not mention are appended."""
    command = values.get("command", "").strip()
    if not command:
        wrong["command"] = "What does a trial run?"
    places = {name: f"${{trialParameters.{_variable(name)}}}" for name in names}
    if not any(place in command for place in places.values()):
        command = " ".join([command, *(f"--{name}={place}" for name, place in places.items())])
    image = values.get("image", "").strip() or "python:3"
    main: Obj = {"name": container, "image": image, "command": ["sh", "-c", f"exec {command}"]}
    if "\n" in command or ";" in command or "&" in command or "|" in command:
        main["command"][2] = command
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "spec": {
            "backoffLimit": 0,
            "template": {"spec": {"restartPolicy": "Never", "containers": [main]}},
        },
    }


def again(experiment: Obj, name: str) -> str:
    """The manifest of an experiment under another name, without what the platform added."""
    before = experiment["metadata"]
    metadata: Obj = {"name": name, "namespace": before.get("namespace", "default")}
    for key in _KEPT:
        kept = {k: v for k, v in _items(before.get(key)) if k != _APPLIED}
        if kept:
            metadata[key] = kept
    made = {
        "apiVersion": experiment["apiVersion"],
        "kind": experiment["kind"],
        "metadata": metadata,
        "spec": experiment["spec"],
    }
    return yaml.dump(made)


def _items(found: Any) -> Iterator[tuple[str, Any]]:
    yield from (found or {}).items()


def _variable(name: str) -> str:
    """A parameter's name as a placeholder may be called."""
    return re.sub(r"[^A-Za-z0-9_]", "_", name)

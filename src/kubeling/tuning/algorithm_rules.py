"""The rules of ``spec.algorithm``, ``spec.earlyStopping`` and ``spec.nasConfig``.

Upstream finds most of these when its suggestion service is asked, minutes later, and fails the
Experiment; here they are found when it is written, in the service's words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from kubeling.kube.errors import UNSET, FieldError
from kubeling.kube.objects import Obj
from kubeling.kube.objects import annotations as annotations_of
from kubeling.tuning.algorithms.catalogue import ALGORITHMS, SEVERAL_OBJECTIVES, check_settings
from kubeling.tuning.algorithms.distinct import combinations
from kubeling.tuning.early_stopping import EARLY_STOPPING
from kubeling.tuning.early_stopping import check_settings as check_stopping
from kubeling.tuning.extensions import EARLY_STOPPING_SERVICE, SUGGESTION_SERVICE
from kubeling.tuning.objectives import goal_errors
from kubeling.tuning.space import SpaceError, dimension, dimensions

__all__ = ["ARCHITECTURES", "algorithm_errors"]

ARCHITECTURES: Final = ("enas", "darts")
"""The algorithms that search ``nasConfig`` instead of parameters."""

_ALGORITHM: Final = "spec.algorithm"


def algorithm_errors(obj: Obj) -> Iterator[FieldError]:
    """What is wrong with how an Experiment is to be searched."""
    spec: Obj = obj.get("spec") or {}
    services = annotations_of(obj)
    yield from _early_stopping(spec, remote=EARLY_STOPPING_SERVICE in services)
    name = (spec.get("algorithm") or {}).get("algorithmName")
    if not name:
        message = f"name one of {', '.join(sorted(ALGORITHMS))}"
        yield FieldError(f"{_ALGORITHM}.algorithmName", "Required value", message)
    elif SUGGESTION_SERVICE in services:
        return
    elif name not in ALGORITHMS:
        listed = ", ".join(f'"{known}"' for known in sorted(ALGORITHMS))
        path, text = f"{_ALGORITHM}.algorithmName", f"supported values: {listed}"
        yield FieldError(path, "Unsupported value", text, name)
    else:
        wrong = list(_settings(spec, name))
        yield from wrong
        if not wrong:
            yield from _together(spec, name)


def _settings(spec: Obj, name: str) -> Iterator[FieldError]:
    settings = _stated(spec["algorithm"])
    errors = list(check_settings(name, settings))
    if not errors and name in SEVERAL_OBJECTIVES and isinstance(spec.get("objective"), dict):
        errors = list(goal_errors(spec))
    for setting, message in errors:
        yield _of_setting(_ALGORITHM, setting, message, settings.get(setting))


def _early_stopping(spec: Obj, *, remote: bool) -> Iterator[FieldError]:
    early = spec.get("earlyStopping")
    if not early:
        return
    path, name = "spec.earlyStopping", early.get("algorithmName")
    listed = ", ".join(f'"{known}"' for known in sorted(EARLY_STOPPING))
    if not name:
        text = f"one of {', '.join(sorted(EARLY_STOPPING))}"
        yield FieldError(f"{path}.algorithmName", "Required value", text)
    elif remote:
        return
    elif name not in EARLY_STOPPING:
        text = f"supported values: {listed}"
        yield FieldError(f"{path}.algorithmName", "Unsupported value", text, name)
    else:
        settings = _stated(early)
        for setting, message in check_stopping(name, settings):
            yield _of_setting(path, setting, message, settings.get(setting))


def _together(spec: Obj, name: str) -> Iterator[FieldError]:
    """What an algorithm asks of the rest of the Experiment."""
    settings, parameters = _stated(spec["algorithm"]), spec.get("parameters") or ()
    if name in ARCHITECTURES:
        yield from _architectures(spec)
        return
    if spec.get("nasConfig"):
        message = f"{name} searches parameters; {' and '.join(ARCHITECTURES)} search nasConfig"
        yield FieldError("spec.nasConfig", "Forbidden", message)
    if name == "grid":
        yield from _grid(spec)
    if name == "cmaes":
        ordered = [p for p in parameters if p.get("parameterType") in ("int", "double")]
        if len(ordered) < 2:
            text = "cmaes only supports two or more dimensional continuous search space."
            yield FieldError("spec.parameters", "Invalid value", text)
    if "resource_name" in settings:
        resource = next((p for p in parameters if p.get("name") == settings["resource_name"]), None)
        if resource is None:
            message = "value of resource_name setting must be in parameters."
            yield _of_setting(_ALGORITHM, "resource_name", message, settings["resource_name"])
    if name == "pbt":
        yield from _population(spec)


def _population(spec: Obj) -> Iterator[FieldError]:
    if spec.get("resumePolicy") != "FromVolume":
        text = "pbt keeps checkpoints on a volume and needs FromVolume"
        yield FieldError("spec.resumePolicy", "Invalid value", text, spec.get("resumePolicy"))
    yield from _steps(spec, "population based training")


def _grid(spec: Obj) -> Iterator[FieldError]:
    missing = list(_steps(spec, "grid search"))
    yield from missing[:1]
    try:
        size = combinations(dimensions(spec.get("parameters") or ()))
    except (SpaceError, KeyError):
        return
    most = spec.get("maxTrialCount")
    if not missing and size is not None and most is not None and most > size:
        message = f"must not exceed the {size} combinations of the grid"
        yield FieldError("spec.maxTrialCount", "Invalid value", message, most)


def _steps(spec: Obj, what: str) -> Iterator[FieldError]:
    for index, parameter in enumerate(spec.get("parameters") or ()):
        space = parameter.get("feasibleSpace") or {}
        if parameter.get("parameterType") == "double" and not space.get("step"):
            path = f"spec.parameters[{index}].feasibleSpace.step"
            yield FieldError(path, "Required value", f"{what} needs a step for a double")


def _architectures(spec: Obj) -> Iterator[FieldError]:
    """Upstream's rules of the two, found by its services."""
    nas = spec.get("nasConfig")
    if not isinstance(nas, dict):
        text = "say which network is searched: graphConfig and operations"
        yield FieldError("spec.nasConfig", "Required value", text)
        return
    graph, path = nas.get("graphConfig") or {}, "spec.nasConfig.graphConfig"
    needed = ("numLayers", "inputSizes", "outputSizes")
    for field in needed if spec["algorithm"]["algorithmName"] == "enas" else needed[:1]:
        if not graph.get(field):
            missing = f"Missing {field[0].upper()}{field[1:]} in GraphConfig"
            yield FieldError(f"{path}.{field}", "Required value", missing)
    operations = nas.get("operations") or ()
    if not operations:
        text = "list at least one operation"
        yield FieldError("spec.nasConfig.operations", "Required value", text)
    # Upstream reads skip_connection without parameters, but refuses it before, in its own example.
    bare = "skip_connection" if spec["algorithm"]["algorithmName"] == "darts" else ""
    for index, operation in enumerate(operations):
        yield from _operation(f"spec.nasConfig.operations[{index}]", operation, bare)


def _operation(path: str, operation: Mapping[str, Any], bare: str) -> Iterator[FieldError]:
    if not operation.get("operationType"):
        yield FieldError(f"{path}.operationType", "Required value", "Missing operationType")
    parameters = operation.get("parameters") or ()
    if not parameters and (not bare or operation.get("operationType") != bare):
        yield FieldError(f"{path}.parameters", "Required value", "Missing ParameterConfigs")
    for index, parameter in enumerate(parameters):
        where = f"{path}.parameters[{index}]"
        space = parameter.get("feasibleSpace") or {}
        if not parameter.get("name"):
            yield FieldError(f"{where}.name", "Required value", "Missing Name")
        if parameter.get("parameterType") == "double" and not space.get("step"):
            text = "Step parameter should be > 0"
            yield FieldError(f"{where}.feasibleSpace.step", "Required value", text)
        try:
            dimension({"name": "", **parameter})
        except SpaceError as error:
            missing = error.value is None
            reason = "Required value" if missing else "Invalid value"
            value = UNSET if missing else error.value
            yield FieldError(f"{where}.feasibleSpace.{error.field}", reason, str(error), value)


def _stated(algorithm: Mapping[str, Any]) -> dict[str, str]:
    stated = algorithm.get("algorithmSettings") or ()
    return {str(s.get("name")): str(s.get("value")) for s in stated}


def _of_setting(path: str, setting: str, message: str, value: str | None) -> FieldError:
    field = f"{path}.algorithmSettings[{setting}]"
    if value is None:
        return FieldError(field, "Required value", message)
    return FieldError(field, "Invalid value", message, value)

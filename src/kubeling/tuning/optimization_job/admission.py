"""What is filled into OptimizationJobs when they are written, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from kubeling.kube.admission import Admission, AdmissionRequest
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj, mapping, mappings
from kubeling.kube.resources import Resource
from kubeling.tuning.optimization_job.resources import OPTIMIZATION_JOBS
from kubeling.tuning.optimization_job.search import parameter_dimension, variable
from kubeling.tuning.space import SpaceError

__all__ = ["admissions"]

_NAME: Final = re.compile(r"^[a-z]([-a-z0-9]{0,37}[a-z0-9])?$")
_SPACES: Final = ("uniform", "logUniform", "categorical")


def admissions() -> dict[Resource, Admission]:
    """The admission of OptimizationJobs."""
    return {OPTIMIZATION_JOBS: Admission(_default, _validate)}


def _default(obj: Obj, _: AdmissionRequest) -> None:
    spec = obj.get("spec")
    if not isinstance(spec, dict):
        return
    spec.setdefault("searchAlgorithm", {"random": {}})
    for objective in mappings(spec.get("objectives")):
        objective.setdefault("direction", "Minimize")
    for parameter in mappings(spec.get("parameters")):
        for kind in ("uniform", "logUniform"):
            space = mapping(parameter.get("searchSpace")).get(kind)
            if isinstance(space, dict):
                space.setdefault("type", "Float")


def _validate(obj: Obj, old: Obj | None, _: AdmissionRequest) -> list[FieldError]:
    if old is not None:
        if old.get("spec") == obj["spec"]:
            return []
        message = "OptimizationJobSpec is immutable and cannot be updated after creation"
        return [FieldError("spec", "Forbidden", message)]
    return [*_name(obj), *_counts(obj["spec"]), *_parameters(obj["spec"]), *_template(obj["spec"])]


def _name(obj: Obj) -> Iterator[FieldError]:
    name = obj["metadata"].get("name", "")
    if not _NAME.match(name):
        message = (
            "must be a lowercase DNS-1035 label of at most 39 characters, because the trials' pods "
            "are named after it"
        )
        yield FieldError("metadata.name", "Invalid value", message, name)


def _counts(spec: Obj) -> Iterator[FieldError]:
    if spec.get("parallelTrials", 1) > spec.get("numTrials", 1):
        message = "parallelTrials cannot exceed numTrials"
        yield FieldError("spec.parallelTrials", "Invalid value", message, spec["parallelTrials"])
    algorithm = spec.get("searchAlgorithm") or {}
    if sum(algorithm.get(kind) is not None for kind in ("random", "grid")) != 1:
        message = "exactly one of random and grid must be set"
        yield FieldError("spec.searchAlgorithm", "Invalid value", message)


def _parameters(spec: Obj) -> Iterator[FieldError]:
    grid = (spec.get("searchAlgorithm") or {}).get("grid") is not None
    seen: dict[str, str] = {}
    for index, parameter in enumerate(spec["parameters"]):
        path, space = f"spec.parameters[{index}]", parameter["searchSpace"]
        name = parameter["name"]
        if name in seen.values():
            yield FieldError(f"{path}.name", "Duplicate value", "", name)
        elif variable(name) in seen:
            message = f"trials could not tell it from {seen[variable(name)]}: both would be "
            message += variable(name)
            yield FieldError(f"{path}.name", "Invalid value", message, name)
        seen[variable(name)] = name
        given = [kind for kind in _SPACES if space.get(kind) is not None]
        if len(given) != 1:
            message = f"exactly one of {', '.join(_SPACES)} must be set"
            yield FieldError(f"{path}.searchSpace", "Invalid value", message)
            continue
        if grid and given != ["categorical"]:
            message = (
                "Grid search requires all parameters to be Categorical; Uniform and LogUniform are "
                "not supported."
            )
            yield FieldError(f"{path}.searchSpace", "Invalid value", message)
        yield from _space(parameter, given[0], f"{path}.searchSpace.{given[0]}")


def _space(parameter: Obj, kind: str, path: str) -> Iterator[FieldError]:
    bounds = parameter["searchSpace"][kind]
    try:
        parameter_dimension(parameter)
    except SpaceError as error:
        field = {"list": "choices"}.get(error.field, error.field)
        yield FieldError(f"{path}.{field}", "Invalid value", str(error), error.value)
        return
    if kind != "categorical" and float(bounds["min"]) >= float(bounds["max"]):
        message = "min must be strictly less than max"
        yield FieldError(f"{path}.min", "Invalid value", message, bounds["min"])


def _template(spec: Obj) -> Iterator[FieldError]:
    template = spec["trainJobTemplate"]
    metadata = template.get("metadata") or {}
    for field in ("name", "namespace"):
        if metadata.get(field):
            message = "name and namespace cannot be set in a template."
            yield FieldError(f"spec.trainJobTemplate.metadata.{field}", "Forbidden", message)
    path = "spec.trainJobTemplate.spec"
    content = template["spec"]
    if not (content.get("runtimeRef") or {}).get("name"):
        message = "name the runtime, such as torch-distributed"
        yield FieldError(f"{path}.runtimeRef.name", "Required value", message)
    ours = {variable(parameter["name"]) for parameter in spec["parameters"]}
    for index, entry in enumerate((content.get("trainer") or {}).get("env") or ()):
        if entry.get("name") in ours:
            message = "is the variable of a parameter; use another name"
            where = f"{path}.trainer.env[{index}].name"
            yield FieldError(where, "Invalid value", message, entry["name"])

"""The search space and the algorithm of an OptimizationJob, in the terms of this room."""

from __future__ import annotations

import re
from typing import Final

from kubeling.kube.objects import Obj, uid
from kubeling.tuning.algorithms.base import Algorithm, Search
from kubeling.tuning.space import Dimension, dimension

__all__ = ["algorithm", "parameter_dimension", "variable"]

_PREFIX: Final = "KUBEFLOW_TRAINER_OPT_"


def algorithm(job: Obj) -> Algorithm:
    """What proposes the points."""
    from kubeling.tuning.algorithms.catalogue import create

    spec = job["spec"]
    wanted = spec.get("searchAlgorithm") or {}
    seed = (wanted.get("random") or {}).get("seed")
    search = Search(
        space=tuple(parameter_dimension(parameter) for parameter in spec["parameters"]),
        minimize=spec["objectives"][0].get("direction") != "Maximize",
        settings={},
        seed=uid(job) if seed is None else str(seed),
    )
    return create("grid" if wanted.get("grid") is not None else "random", search)


def parameter_dimension(parameter: Obj) -> Dimension:
    """The values of a parameter; raises :class:`~kubeling.tuning.space.SpaceError`."""
    space, name = parameter["searchSpace"], parameter["name"]
    if (choices := space.get("categorical")) is not None:
        feasible = {"list": choices["choices"]}
        return dimension({"name": name, "parameterType": "categorical", "feasibleSpace": feasible})
    kind = "uniform" if space.get("uniform") is not None else "logUniform"
    bounds = space[kind]
    feasible = {"min": bounds["min"], "max": bounds["max"], "distribution": kind}
    number = "int" if bounds.get("type") == "Int" else "double"
    return dimension({"name": name, "parameterType": number, "feasibleSpace": feasible})


def variable(parameter: str) -> str:
    """The environment variable in which a trial finds a parameter."""
    return _PREFIX + re.sub(r"[^A-Za-z0-9]", "_", parameter).upper()

"""What a service says to its model server on the command line.

A server may be told another model's name than the service's, and another port than the usual one;
who asks it has to know. Upstream: GetModelName in pkg/controller/v1beta1/inferenceservice/utils.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from kubeling.kube.objects import Obj, mapping, mappings, name
from kubeling.serving.names import COLLOCATED

__all__ = ["flag", "model_name"]

_MLSERVER_NAME: Final = "MLSERVER_MODEL_NAME"


def flag(arguments: Iterable[Any] | None, title: str) -> str:
    """The last value of ``--title=value`` or ``--title value``; empty if there is none."""
    found, expected = "", False
    for argument in map(str, arguments or ()):
        if expected:
            found, expected = argument, False
        elif argument == title:
            expected = True
        elif argument.startswith(f"{title}="):
            found = argument.partition("=")[2]
    return found


def model_name(isvc: Obj) -> str:
    """What a service's model is called in the paths of its requests."""
    spec = isvc["spec"]
    predictor = mapping(spec.get("predictor"))
    told = [*mappings(mapping(spec.get("transformer")).get("containers"))[:1]]
    beside = mappings(predictor.get("containers"))
    told += [container for container in beside if container.get("name") == COLLOCATED]
    if model := mapping(predictor.get("model")):
        for variable in mappings(model.get("env")):
            if variable.get("name") == _MLSERVER_NAME and not _named(told):
                return str(variable.get("value") or "")
        told.append(model)
    else:
        told += beside[:1]
    return _named(told) or name(isvc)


def _named(containers: Iterable[Obj]) -> str:
    return next(filter(None, (flag(c.get("args"), "--model_name") for c in containers)), "")

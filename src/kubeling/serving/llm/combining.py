"""A service's spec with all that it builds on: presets, ``baseRefs``, variables.

Source: pkg/controller/v1alpha2/llmisvc/config_merge.go (combineBaseRefsConfig).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kubeling.kube.admission import AdmissionRequest
from kubeling.kube.objects import Obj, name, namespace
from kubeling.serving.llm.presets import SYSTEM_NAMESPACE, complete, needed
from kubeling.serving.llm.resources import LLM_SERVICES
from kubeling.serving.llm.rules import validate_llm_service
from kubeling.serving.llm.status import Problem
from kubeling.serving.llm.variables import TemplateError, substituted
from kubeling.serving.strategic import merged

__all__ = ["Combined", "Find", "NotCombined", "combined"]

Find = Callable[[str, str], Obj | None]
"""A configuration by namespace and name."""


class NotCombined(Exception):
    """The configurations of a service cannot be merged."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Combined:
    """A spec, and the configurations that it was made of, the first with the least say."""

    spec: Obj
    applied: list[Obj]


def combined(llm: Obj, find: Find) -> Combined:
    """The spec to run; raises :class:`NotCombined`."""
    own = llm["spec"]
    referred = [_config(llm, ref.get("name") or "", find) for ref in own.get("baseRefs") or ()]
    known = merged({}, *(config["spec"] for config in referred), own)
    presets = [
        found
        for title in needed(known)
        if (found := _found(llm, title, find)) is not None and found not in referred
    ]
    configs = [*presets, *referred]
    spec = merged({}, *(config.get("spec") or {} for config in configs), own)
    spec.pop("baseRefs", None)
    if not (spec.get("model") or {}).get("uri"):
        raise NotCombined(
            Problem("InvalidRenderedConfig", "spec.model.uri: Required value: no config has one")
        )
    spec = _rendered(llm, spec)
    applied = [
        {"name": name(c), "namespace": namespace(c), "source": source}
        for source, several in (("Preset", presets), ("UserRef", referred))
        for c in several
    ]
    return Combined(complete(spec, namespace(llm), name(llm)), applied)


def _rendered(llm: Obj, spec: Obj) -> Obj:
    try:
        found: Obj = substituted(spec, {**llm, "spec": spec})
    except TemplateError as error:
        raise NotCombined(Problem("CombineBaseError", str(error))) from error
    request = AdmissionRequest(LLM_SERVICES, "CREATE", dry_run=True)
    wrong = [
        f"{error.path}: {error.reason}: {error.message}"
        for error in validate_llm_service({**llm, "spec": found}, None, request)
    ]
    if wrong:
        raise NotCombined(Problem("InvalidRenderedConfig", "; ".join(wrong)))
    return found


def _found(llm: Obj, title: str, find: Find) -> Obj | None:
    return find(namespace(llm), title) or find(SYSTEM_NAMESPACE, title)


def _config(llm: Obj, title: str, find: Find) -> Obj:
    found = _found(llm, title, find)
    if found is None:
        text = (
            f'spec.baseRefs: no LLMInferenceServiceConfig "{title}" in "{namespace(llm)}" or '
            f'"{SYSTEM_NAMESPACE}"'
        )
        raise NotCombined(Problem("ConfigNotFound", text))
    return found

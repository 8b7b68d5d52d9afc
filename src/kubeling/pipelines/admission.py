"""What is refused when a Run or RecurringRun is written. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from kubeling.kube.admission import Admission, AdmissionRequest
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj
from kubeling.kube.resources import Resource
from kubeling.pipelines.packages import unwrap
from kubeling.pipelines.resources import RECURRING_RUNS, RUNS, decode_recurring_run
from kubeling.pipelines.schedule import ScheduleError, check_trigger

__all__ = ["admissions"]


def admissions() -> Mapping[Resource, Admission]:
    """The rules of this room."""
    return {
        RUNS: Admission(validate=_validate_run),
        RECURRING_RUNS: Admission(validate=_validate_recurring_run),
    }


def _validate_run(new: Obj, old: Obj | None, _: AdmissionRequest) -> Iterable[FieldError]:
    spec = new.get("spec") or {}
    if old is not None and spec.get("pipelineSpec") == (old.get("spec") or {}).get("pipelineSpec"):
        return
    yield from _source_problems("spec", spec)


def _validate_recurring_run(
    new: Obj, _old: Obj | None, _: AdmissionRequest
) -> Iterable[FieldError]:
    yield from _source_problems("spec.run", (new.get("spec") or {}).get("run") or {})
    try:
        check_trigger(decode_recurring_run(new).trigger)
    except ScheduleError as error:
        yield FieldError(f"spec.trigger.{error.field}", "Invalid value", str(error))
    except msgspec.ValidationError:
        return  # the schema says what is wrong


def _source_problems(path: str, spec: Obj) -> Iterator[FieldError]:
    document, reference = spec.get("pipelineSpec"), spec.get("pipelineVersionReference")
    if document is None and not reference:
        yield FieldError(
            f"{path}.pipelineSpec",
            "Required value",
            "the compiled pipeline, or pipelineVersionReference to one that was uploaded",
        )
    if document is not None:
        try:
            unwrap(document)
        except ValueError as error:
            yield FieldError(f"{path}.pipelineSpec", "Invalid value", str(error))

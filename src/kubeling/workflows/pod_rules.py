"""What is wrong with a template that runs in a pod."""

from __future__ import annotations

from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from typing import Any

from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj
from kubeling.workflows.call_rules import Templates
from kubeling.workflows.containers import MAIN, takes_turns
from kubeling.workflows.entry_rules import (
    MAX_TEXT,
    duration_errors,
    entry_name_errors,
)
from kubeling.workflows.expressions import tags
from kubeling.workflows.images import image_command
from kubeling.workflows.place_rules import artifact_errors
from kubeling.workflows.podpatch import InvalidPatch, parse_patch
from kubeling.workflows.tag_rules import Known, tag_errors

__all__ = ["patch_errors", "pod_errors", "set_errors"]


def pod_errors(template: Obj, path: str, known: Known, _: Templates) -> Iterator[FieldError]:
    """What is wrong with ``container`` or ``script``."""
    kind = "script" if template.get("script") is not None else "container"
    content: Obj = template[kind]
    if not content.get("image"):
        yield FieldError(f"{path}.{kind}.image", "Required value", "name the image to run")
    elif not content.get("command") and _needs_command(template, kind, content["image"]):
        message = (
            "this step's program, inputs or outputs are handed over around its command, and the "
            "image's own ENTRYPOINT cannot be seen from here; write the command out"
        )
        yield FieldError(f"{path}.{kind}.command", "Required value", message)
    if len(str(content.get("source") or "")) > MAX_TEXT:
        yield FieldError(f"{path}.script.source", "Too long", "must be at most 100 KiB")
    yield from _common_errors(template, path, known)


def _common_errors(template: Obj, path: str, known: Known) -> Iterator[FieldError]:
    for key in ("timeout", "pendingTimeout"):
        if template.get(key) and not tags.has_tags(template[key]):
            yield from duration_errors(template[key], f"{path}.{key}")
    yield from patch_errors(template, path)
    yield from _pod_output_errors(template, path)
    shown = {key: value for key, value in template.items() if key not in ("inputs", "metrics")}
    yield from tag_errors(shown, path, known)


def _needs_command(template: Obj, kind: str, image: str) -> bool:
    if tags.has_tags(image) or image_command(image) is not None:
        return False
    return kind == "script" or _hands_over(template)


def _hands_over(template: Obj) -> bool:
    """Whether inputs or outputs pass through the main container."""
    handed = [(template.get(side) or {}).get("artifacts") for side in ("inputs", "outputs")]
    parameters = (template.get("outputs") or {}).get("parameters") or ()
    return any(handed) or any((p.get("valueFrom") or {}).get("path") for p in parameters)


def _pod_output_errors(template: Obj, path: str) -> Iterator[FieldError]:
    outputs = template.get("outputs") or {}
    for kind in ("parameters", "artifacts"):
        seen: set[str] = set()
        for number, entry in enumerate(outputs.get(kind) or ()):
            at = f"{path}.outputs.{kind}[{number}]"
            yield from entry_name_errors(entry, at, seen)
            if kind == "artifacts":
                yield from artifact_errors(entry, at, output=True)
                if not entry.get("path"):
                    yield FieldError(f"{at}.path", "Required value", "say where the step writes it")
            elif entry.get("value") is None and not (entry.get("valueFrom") or {}).get("path"):
                yield FieldError(
                    f"{at}.valueFrom.path", "Required value", "say which file the step writes it to"
                )


def patch_errors(holder: Obj, path: str) -> Iterator[FieldError]:
    """What is wrong with a ``podSpecPatch`` as far as it can be read without its tags' values."""
    text = holder.get("podSpecPatch")
    if not text or tags.has_tags(text):
        return
    try:
        parse_patch(text)
    except InvalidPatch as problem:
        yield FieldError(f"{path}.podSpecPatch", "Invalid value", str(problem), text)


def set_errors(template: Obj, path: str, known: Known, _: Templates) -> Iterator[FieldError]:
    """What is wrong with ``containerSet`` (``ContainerSetTemplate.Validate``)."""
    content: Obj = template["containerSet"]
    at = f"{path}.containerSet"
    listed: list[Obj] = content.get("containers") or []
    names = [str(container.get("name")) for container in listed]
    if not listed:
        yield FieldError(f"{at}.containers", "Required value", "must have at least one container")
    seen: set[str] = set()
    for number, container in enumerate(listed):
        where = f"{at}.containers[{number}]"
        yield from entry_name_errors(container, where, seen)
        yield from _member_errors(container, where, content, template)
        for wanted in container.get("dependencies") or ():
            if wanted not in names:
                message = "is not a container of this set"
                yield FieldError(f"{where}.dependencies", "Not found", message, wanted)
    yield from _circle_errors(listed, at)
    if MAIN not in names and _hands_over(template):
        message = f'inputs and outputs are those of a container named "{MAIN}"'
        yield FieldError(f"{at}.containers", "Required value", message)
    retry = content.get("retryStrategy") or {}
    if retry.get("duration") and not tags.has_tags(str(retry["duration"])):
        yield from duration_errors(retry["duration"], f"{at}.retryStrategy.duration")
    yield from _common_errors(template, path, known)


def _member_errors(container: Obj, path: str, content: Obj, template: Obj) -> Iterator[FieldError]:
    image = container.get("image") or ""
    if not image:
        yield FieldError(f"{path}.image", "Required value", "name the image to run")
        return
    around = takes_turns(content) or (container.get("name") == MAIN and _hands_over(template))
    known = tags.has_tags(image) or image_command(image) is not None
    if around and not known and not container.get("command"):
        message = (
            "something has to happen around this container's command, and the image's own "
            "ENTRYPOINT cannot be seen from here; write the command out"
        )
        yield FieldError(f"{path}.command", "Required value", message)


def _circle_errors(listed: list[Obj], path: str) -> Iterator[FieldError]:
    graph = {str(c.get("name")): set(c.get("dependencies") or ()) for c in listed}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle: list[Any] = list(error.args[1])
        message = f"containers wait for each other: {' -> '.join(map(str, circle))}"
        yield FieldError(f"{path}.containers", "Invalid value", message)

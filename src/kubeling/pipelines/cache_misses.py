"""Why the cache had no answer: what differs from the nearest earlier task of a component. Pure.

A key is a digest, which only says that something differs. So what it was made from is kept beside
it, each part short: values as they are if they are small, else their digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from kubeling.pipelines.ir import ComponentSpec
from kubeling.pipelines.ir_executors import ContainerSpec
from kubeling.pipelines.nodes import Inputs
from kubeling.pipelines.values import normalize

__all__ = ["Parts", "differences", "key_parts"]

Parts = dict[str, str]
"""What a key was made from: ``parameter lr``, ``image``, ``command`` …, by its words."""

_SHORT: Final = 80
_DIGEST: Final = "sha256:"
_TOLD: Final = 4


def key_parts(
    pipeline: str,
    component: ComponentSpec,
    container: ContainerSpec,
    inputs: Inputs,
    claims: Sequence[str],
) -> Parts:
    """The parts of a task's key, as :func:`~kubeling.pipelines.caching.fingerprint` takes them."""
    outputs = component.output_definitions
    parts: dict[str, Any] = {
        "the pipeline": pipeline,
        "the image": container.image,
        "the command": [container.command, container.args],
        **{f"variable {variable.name}": variable.value for variable in container.env},
        **{
            f"parameter {name}": value
            for name, value in normalize(inputs.parameters).items()
            if value is not None  # not given
        },
        "its volumes": sorted(claims),
        "its outputs": [
            {name: parameter.kind for name, parameter in outputs.parameters.items()},
            {name: a.artifact_type.schema_title for name, a in outputs.artifacts.items()},
        ],
    }
    found = {name: _shown(value) for name, value in parts.items()}
    for name, artifacts in inputs.artifacts.items():
        content = [[a.type, a.digest or a.uri, a.metadata] for a in artifacts]
        found[f"input {name}"] = _digest(content)
    return found


def differences(now: Parts, earlier: Sequence[Parts]) -> tuple[int, list[str]]:
    """The number of the nearest of earlier keys, and in words what differs from it."""
    counted = [(len(set(now.items()) ^ set(parts.items())), at) for at, parts in enumerate(earlier)]
    _, nearest = min(counted)
    told = list(_told(now, earlier[nearest]))
    if len(told) > _TOLD:
        told[_TOLD:] = [f"{len(told) - _TOLD} more differ"]
    return nearest, told


def _told(now: Mapping[str, str], before: Mapping[str, str]) -> Iterator[str]:
    for part in {**now, **before}:
        is_now, was = now.get(part), before.get(part)
        if is_now == was:
            continue
        if was is None:
            yield (
                f"{part} is new"
                if is_now is None or _is_long(is_now)
                else f"{part} {is_now} is new"
            )
        elif is_now is None:
            yield f"{part} is gone"
        elif _is_long(was) or _is_long(is_now):
            yield f"{part} changed"
        else:
            yield f"{part} was {was}, is {is_now}"


def _is_long(shown: str) -> bool:
    return shown.startswith(_DIGEST)


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= _SHORT and not isinstance(value, list | tuple) else _digest(value)


def _digest(value: Any) -> str:
    data = msgspec.json.encode(value, order="deterministic")
    return _DIGEST + hashlib.sha256(data).hexdigest()[:32]

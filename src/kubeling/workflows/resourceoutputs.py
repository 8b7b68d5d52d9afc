"""What ``resource`` templates give: parameters read from the object by JSONPath or jq."""

from __future__ import annotations

import asyncio
import re
import shutil
from typing import Any, Final

import msgspec

from kubeling.kube.jsonpath import JsonPathError, find_all
from kubeling.kube.objects import Obj
from kubeling.workflows.errands import ErrandFailed
from kubeling.workflows.resources import Outputs, Parameter
from kubeling.workflows.variables import parameter_text

__all__ = ["json_path", "resource_outputs"]

_PART: Final = re.compile(r"\{([^{}]*)\}")
_JQ_SECONDS: Final = 20


async def resource_outputs(declared: Any, obj: Obj | None) -> Outputs | None:
    """The outputs of an object; without one (not found, deleted) the defaults."""
    if not declared:
        return None
    outputs = msgspec.convert(declared, Outputs)
    outputs.parameters = [
        msgspec.structs.replace(parameter, value=await _value(parameter, obj))
        for parameter in outputs.parameters
    ]
    return outputs


async def _value(parameter: Parameter, obj: Obj | None) -> Any:
    source = parameter.value_from
    if source is None:
        return parameter.value
    if obj is None:
        return "" if source.default is None else parameter_text(source.default)
    try:
        if source.json_path:
            return json_path(source.json_path, obj)
        if source.jq_filter:
            return await _jq(source.jq_filter, obj)
    except (JsonPathError, ErrandFailed) as problem:
        raise ErrandFailed(f"outputs.parameters.{parameter.name}: {problem}") from None
    return parameter.value


def json_path(template: str, obj: Obj) -> str:
    """A template as kubectl's ``-o jsonpath=`` reads it: text with paths in braces."""
    if "{" not in template:
        template = "{" + template + "}"

    def found(match: re.Match[str]) -> str:
        path = match[1].strip()
        if path.startswith(('"', "'")):
            return path[1:-1]
        if path.split(" ")[0] in ("range", "end"):
            raise JsonPathError(f'"{{{path}}}" is not supported; use [*] or several parameters')
        values = find_all("." + path.lstrip("$@").lstrip("."), obj) if path != "." else [obj]
        return " ".join(parameter_text(value) for value in values)

    return _PART.sub(found, template)


async def _jq(program: str, obj: Obj) -> str:
    """Runs jq, which keeps a user's program out of this process and ends it if it does not end."""
    jq = shutil.which("jq")
    if jq is None:
        raise ErrandFailed(
            "jqFilter needs the program jq on the machine of the controllers; install it, or use "
            "valueFrom.jsonPath"
        )
    process = await asyncio.create_subprocess_exec(
        jq, "-c", "-r", "-S", "-L", "/nonexistent", f" {program}",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={},
    )  # fmt: skip
    try:
        out, err = await asyncio.wait_for(
            process.communicate(msgspec.json.encode(obj)), _JQ_SECONDS
        )
    except TimeoutError:
        raise ErrandFailed(f"jqFilter did not end within {_JQ_SECONDS} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise ErrandFailed(f"jqFilter: {err.decode(errors='replace').strip()}")
    return out.decode(errors="replace").strip()

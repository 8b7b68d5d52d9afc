"""``data`` templates: which artifacts there are, and what an expression makes of the list.

Upstream lists a bucket in a pod (``executor/data.go``).
"""

from __future__ import annotations

import asyncio
from typing import Any

from kubeling.kube.objects import Obj
from kubeling.workflows.errandinputs import ErrandInputs
from kubeling.workflows.errandlog import ErrandLog
from kubeling.workflows.errands import Errand, ErrandFailed
from kubeling.workflows.expressions import ExpressionError, exprlang
from kubeling.workflows.resources import Outputs
from kubeling.workflows.variables import parameter_text

__all__ = ["do_data"]


async def do_data(
    inputs: ErrandInputs, errand: Errand, gate: asyncio.Semaphore, log: ErrandLog
) -> Outputs:
    """Lists the artifacts below a key and puts the list through the transformation."""
    wanted: Obj = errand.raw["data"]
    async with gate:
        data: Any = await inputs.keys((wanted.get("source") or {}).get("artifactPaths") or {})
    log.say(f"listed {_count(data)}")
    for step in wanted.get("transformation") or ():
        expression = step.get("expression") or ""
        try:
            data = exprlang.evaluate(expression, {"data": data})
        except ExpressionError as error:
            raise ErrandFailed(f"transformation '{expression}': {error}") from None
        log.say(f"transformation '{expression}' gave {_count(data)}")
    return Outputs(result=parameter_text(data))


def _count(data: Any) -> str:
    if not isinstance(data, list):
        return parameter_text(data)
    return f"{len(data)} file" if len(data) == 1 else f"{len(data)} files"

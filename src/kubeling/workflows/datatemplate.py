"""``data`` templates: which artifacts there are, and what an expression makes of the list.

Upstream lists a bucket in a pod (``executor/data.go``); here the list is of the artifact store.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from kubeling.kube.objects import Obj
from kubeling.workflows.errands import Errand, ErrandFailed
from kubeling.workflows.expressions import ExpressionError, exprlang
from kubeling.workflows.resources import Outputs
from kubeling.workflows.variables import parameter_text

__all__ = ["do_data"]


async def do_data(folder: Path, errand: Errand, gate: asyncio.Semaphore) -> Outputs:
    """Lists the artifacts below a key and puts the list through the transformation."""
    wanted: Obj = errand.raw["data"]
    source = (wanted.get("source") or {}).get("artifactPaths") or {}
    key = str((source.get("s3") or {}).get("key") or "").strip("/")
    async with gate:
        data: Any = await asyncio.to_thread(_files, folder, key)
    for step in wanted.get("transformation") or ():
        expression = step.get("expression") or ""
        try:
            data = exprlang.evaluate(expression, {"data": data})
        except ExpressionError as error:
            raise ErrandFailed(f"transformation '{expression}': {error}") from None
    return Outputs(result=parameter_text(data))


def _files(folder: Path, key: str) -> list[str]:
    """The keys of the files at or below a key, in order (blocking)."""
    root = folder / key
    if ".." in Path(key).parts:
        raise ErrandFailed(f'artifact key "{key}" leads out of the artifact store')
    found = [root] if root.is_file() else sorted(p for p in root.rglob("*") if p.is_file())
    return [str(path.relative_to(folder)) for path in found]

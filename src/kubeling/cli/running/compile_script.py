"""Compiles the pipeline of a Python file; run by a Python that has kfp, not by ours.

Called with the file, where to write, and the name of a pipeline or nothing. Writes JSON: the
package as YAML, or what is wrong. It needs nothing but the standard library and kfp.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any


def main(file: str, out: str, wanted: str) -> None:
    """Writes the answer to ``out``; what the file prints goes to stderr."""
    sys.path.insert(0, str(Path(file).parent))
    with contextlib.redirect_stdout(sys.stderr):
        compiler = importlib.import_module("kfp.compiler")
        found = pipelines_of(load(file))
        name, refusal = chosen(found, wanted, Path(file).stem)
        if not name:
            Path(out).write_text(json.dumps(refusal))
            return
        package = Path(f"{out}.yaml")
        compiler.Compiler().compile(found[name], str(package))
    Path(out).write_text(json.dumps({"package": package.read_text(), "pipeline": name}))


def load(file: str) -> Any:
    """The file as a module, its ``__main__`` block left out."""
    spec = importlib.util.spec_from_file_location("kubeling_pipeline", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["kubeling_pipeline"] = module
    spec.loader.exec_module(module)
    return module


def pipelines_of(module: Any) -> dict[str, Any]:
    """The pipelines that the file defines; without one, its components."""
    base = importlib.import_module("kfp.dsl.base_component").BaseComponent
    own = {name: value for name, value in vars(module).items() if isinstance(value, base)}
    graphs = {n: v for n, v in own.items() if type(v).__name__ == "GraphComponent"}
    return graphs or own


def chosen(found: dict[str, Any], wanted: str, stem: str) -> tuple[str, dict[str, str]]:
    """The name of the pipeline meant, or what to say if it is not clear."""
    names = ", ".join(found)
    if wanted in found:
        return wanted, {}
    if wanted:
        return "", {"error": f"it has no pipeline {wanted}", "hint": f"It has: {names or 'none'}."}
    if not found:
        hint = "Decorate a function with @dsl.pipeline, at the top level of the file."
        return "", {"error": "it defines no pipeline", "hint": hint}
    outer = [name for name in found if not used_by_another(name, found)]
    if len(outer) == 1:
        return outer[0], {}
    if stem in found:
        return stem, {}
    return "", {"error": f"it defines several pipelines: {names}", "hint": "Name one: --pipeline."}


def used_by_another(name: str, found: dict[str, Any]) -> bool:
    """Whether a pipeline is a part of another one in the file."""
    label = f"comp-{found[name].name}"
    others = (value for other, value in found.items() if other != name)
    return any(label in value.pipeline_spec.components for value in others)


if __name__ == "__main__":
    main(*sys.argv[1:4])

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
import traceback
from pathlib import Path
from typing import Any


def main(file: str, out: str, wanted: str) -> None:
    """Writes the answer to ``out``; what the file prints goes to stderr."""
    sys.path.insert(0, str(Path(file).parent))
    with contextlib.redirect_stdout(sys.stderr):
        try:
            answer = compiled(file, f"{out}.yaml", wanted)
        except Exception as error:  # Whatever the user's file does wrong is told, not raised.
            answer = {"error": f"it does not compile\n{told(error, file)}", "hint": hint(error)}
    Path(out).write_text(json.dumps(answer))


def compiled(file: str, package: str, wanted: str) -> dict[str, str]:
    """The package of the pipeline that is meant, or what is not clear."""
    compiler = importlib.import_module("kfp.compiler")
    found = pipelines_of(load(file))
    name, refusal = chosen(found, wanted, Path(file).stem)
    if not name:
        return refusal
    compiler.Compiler().compile(found[name], package)
    return {"package": Path(package).read_text(), "pipeline": name}


def told(error: Exception, file: str) -> str:
    """The error and where in the user's own files it came up."""
    whole = traceback.TracebackException.from_exception(error)
    own = [frame for frame in whole.stack if frame.filename.startswith(str(Path(file).parent))]
    places = "".join(traceback.StackSummary.from_list(own).format())
    return (places + "".join(whole.format_exception_only())).rstrip()


def hint(error: Exception) -> str:
    """What to do where that is plain."""
    if isinstance(error, ModuleNotFoundError):
        return "Use a Python that has it and kfp: --python PATH, or activate its environment."
    return ""


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

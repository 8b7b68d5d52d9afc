"""Runs one stage: a Python file or a notebook, with what earlier stages gave, by name.

The text of this file is the program of a stage's container, so it needs nothing but the standard
library (and nbclient for notebooks), and holds no pair of braces that a Workflow would take for a
placeholder. Outputs are lines ``name=value`` in a file per stage below ``$SHARED_DIR/.stages``: the
form that a shell script writes with echo. Values are JSON where they are no plain text, and what is
neither is pickled beside.
"""

from __future__ import annotations

import ast
import inspect
import json
import os
import pickle
import runpy
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

PICKLE = "pickle:"
EVERYTHING = inspect.Parameter.VAR_KEYWORD
POSITIONAL = (inspect.Parameter.VAR_POSITIONAL, EVERYTHING)


def main(stage: str, file: str) -> None:
    """Runs the file; ends with a sentence for what a person has to mend."""
    outputs = Path(os.environ["STAGE_OUTPUTS"])
    outputs.parent.mkdir(parents=True, exist_ok=True)
    outputs.touch()
    inputs = read_inputs()
    for name, value in inputs.items():
        os.environ["INPUT_" + name.upper().replace("-", "_")] = written(value)
    run = run_notebook if file.endswith(".ipynb") else run_script
    write(run(stage, file, {name: loaded(value) for name, value in inputs.items()}))


def read_inputs() -> dict[str, Any]:
    """The run's parameters, then what stages gave, later ones over earlier ones."""
    names = json.loads(os.environ.get("STAGE_PARAMETERS", "[]"))
    found = {name: value_of(os.environ[key]) for name, key in names}
    for outputs in sorted(Path(os.environ["STAGE_OUTPUTS"]).parent.glob("*.out")):
        for line in outputs.read_text().splitlines():
            name, equals, text = line.partition("=")
            if equals:
                found[name.strip()] = value_of(text)
    return found


def value_of(text: str) -> Any:
    """JSON, or the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def loaded(value: Any) -> Any:
    """A value as a stage takes it: what was pickled is read."""
    if isinstance(value, str) and value.startswith(PICKLE):
        return pickle.loads(Path(value[len(PICKLE) :]).read_bytes())
    return value


def written(value: Any) -> str:
    """A value as a line of an outputs file has it."""
    if isinstance(value, str) and "\n" not in value and value_of(value) is value:
        return value
    return json.dumps(value)


def write(outputs: dict[str, Any]) -> None:
    """Adds outputs to the stage's file."""
    target = Path(os.environ["STAGE_OUTPUTS"])
    with target.open("a") as file:
        for name, value in outputs.items():
            if isinstance(value, Path):
                value = str(value)
            try:
                text = written(value)
            except TypeError:
                beside = target.with_name(name + ".pickle")
                beside.write_bytes(pickle.dumps(value))
                text = PICKLE + str(beside)
            file.write(name + "=" + text + "\n")
            print("output", name, "=", text if len(text) < 200 else text[:200] + "…")


def run_script(stage: str, file: str, inputs: dict[str, Any]) -> dict[str, Any]:
    """Runs a Python file; a function of the stage's name that it does not call is called."""
    name = stage.replace("-", "_")
    waits = is_left_to_us(ast.parse(Path(file).read_text(), file), name)
    sys.argv = [file]
    sys.path.insert(0, str(Path(file).parent))
    namespace = runpy.run_path(file, run_name="__main__")
    if not waits:
        return {}
    function = getattr(namespace[name], "python_func", namespace[name])
    result = function(**arguments(stage, function, inputs))
    if result is None:
        return {}
    if isinstance(result, dict):
        return result
    fields = getattr(result, "_asdict", None)
    return fields() if fields is not None else {name: result}


def is_left_to_us(tree: ast.Module, name: str) -> bool:
    """Whether the file defines the function and does nothing with it."""
    defined = False
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef):
            defined = defined or statement.name == name
        elif not isinstance(statement, ast.ClassDef | ast.AsyncFunctionDef):
            used = (n.id for n in ast.walk(statement) if isinstance(n, ast.Name))
            if name in used:
                return False
    return defined


def arguments(stage: str, function: Any, inputs: dict[str, Any]) -> dict[str, Any]:
    """What a function takes, by name."""
    taken = inspect.signature(function).parameters
    if any(p.kind is EVERYTHING for p in taken.values()):
        return inputs
    for name, parameter in taken.items():
        if name in inputs or parameter.kind in POSITIONAL:
            continue
        if parameter.default is inspect.Parameter.empty:
            known = ", ".join(inputs) or "nothing"
            sys.exit(
                f"stage {stage}: {function.__name__}() needs '{name}', which no earlier stage "
                f"gives (so far there is: {known}). Return it from one as a dict, or give it a "
                "default."
            )
    return {name: inputs[name] for name in taken if name in inputs}


def run_notebook(stage: str, file: str, inputs: dict[str, Any]) -> dict[str, Any]:
    """Runs a notebook: its cell tagged "parameters" is overridden, "outputs" are handed on."""
    nbformat, nbclient = import_module("nbformat"), import_module("nbclient")
    notebook = nbformat.read(file, as_version=4)
    parameters, outputs = tagged(notebook, "parameters"), tagged(notebook, "outputs")
    given = {n: inputs[n] for n in assigned(parameters) if n in inputs}
    if given:
        lines = [f"{name} = {value!r}" for name, value in given.items()]
        cell = nbformat.v4.new_code_cell("\n".join(lines))
        notebook.cells.insert(notebook.cells.index(parameters[-1]) + 1, cell)
    names = assigned(outputs)
    tell = "import json; print(json.dumps(dict((n, globals()[n]) for n in %r), default=repr))"
    notebook.cells.append(nbformat.v4.new_code_cell(tell % names))
    kept = Path(os.environ["SHARED_DIR"]) / f"{stage}.ipynb"

    def show(cell: Any, cell_index: int, execute_reply: Any) -> None:
        if cell_index < len(notebook.cells) - 1:
            for output in cell.get("outputs", ()):
                print(output.get("text", ""), end="", flush=True)

    client = nbclient.NotebookClient(notebook, timeout=None, on_cell_executed=show)
    try:
        client.execute(cwd=str(Path(file).parent.absolute()))
    except nbclient.exceptions.CellExecutionError as error:
        place = sum(bool(cell.get("execution_count")) for cell in notebook.cells)
        sys.exit(f"{error}\nstage {stage}: cell {place} of {file} failed: see {kept}")
    finally:
        said = notebook.cells.pop()
        nbformat.write(notebook, kept)
    found: dict[str, Any] = json.loads(said["outputs"][0]["text"])
    return found


def tagged(notebook: Any, tag: str) -> list[Any]:
    """The code cells with a tag."""
    return [c for c in notebook.cells if tag in c.get("metadata", {}).get("tags", ())]


def assigned(cells: list[Any]) -> list[str]:
    """The names that cells give values to, at their top level."""
    found = {}
    for cell in cells:
        for statement in ast.parse(cell["source"]).body:
            targets = getattr(statement, "targets", None) or [getattr(statement, "target", None)]
            for target in targets:
                if isinstance(target, ast.Name):
                    found[target.id] = True
    return list(found)


if __name__ == "__main__":
    main(*sys.argv[1:3])

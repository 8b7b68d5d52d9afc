"""Shell commands that do nothing but start a Python program, read as the shell would. Pure.

The pipelines' SDK wraps a component in two of them: one that installs packages, which is left at
once where the environment has them (``kubeling.pipelines.bootstrap``), and one that writes the
component's source to a file and runs it. Both together start three shells and two more programs; a
template does without. Commands that are only similar are left to the shell.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Final

from kubeling.engine.pythoncommand import PythonCommand, find_program, python_command
from kubeling.engine.sandbox.plan import ProgramFile

__all__ = ["warm_command"]

_SHELL: Final = "sh"
_KNOWN_SHELL: Final = "dash"
"""The shell whose ways are known: which variables it hands on, for one."""

_SKIPPED: Final = re.compile(r'\[ -n "\$(\w+)" \] && exec "\$0" "\$@"\n')

_EPHEMERAL: Final = re.compile(
    r"\s*program_path=\$\(mktemp -d\)\s*\n\s*"
    r'printf "%s" "\$0" > "\$program_path/(?P<file>\w+\.py)"\s*\n\s*'
    r"(?P<variable>_KFP_RUNTIME)=(?P<value>true) (?P<python>python3) -m "
    r"(?P<module>kfp\.(v2\.components|components|dsl)\.executor_main)[ ]+"
    r'--component_module_path[ ]+"\$program_path/(?P=file)"[ ]+"\$@"\s*'
)
"""``kfp.dsl.component_factory`` in the SDK, version 2."""


def warm_command(argv: Sequence[str], env: Mapping[str, str]) -> PythonCommand | None:
    """What a command comes to, if that is a Python interpreter's that a template may run."""
    if not argv or argv[0] != _SHELL:
        return python_command(argv)
    shell = find_program(_SHELL, env)
    if shell is None or os.path.basename(os.path.realpath(shell)) != _KNOWN_SHELL:
        return None
    start = 0
    if len(argv) > 4 and argv[1] == "-c" and (found := _SKIPPED.match(argv[2])):
        if not env.get(found[1]):
            return None
        start = 3
    inner = argv[start:]
    if len(inner) < 4 or tuple(inner[:2]) != (_SHELL, "-ec"):
        return None
    if (found := _EPHEMERAL.fullmatch(inner[2])) is None:
        return None
    options = ["-m", found["module"], "--component_module_path", found["file"]]
    command = python_command([found["python"], *options, *inner[4:]])
    assert command is not None
    command.warm["shell"] = True
    command.warm["env"] = {found["variable"]: found["value"]}
    command.warm["file"] = ProgramFile(name=found["file"], text=start + 3, place=4)
    return command

"""How a trial is run again by hand: its container's command line. Pure."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from kubeling.kube.objects import Obj

__all__ = ["command_of"]

COMMAND: Final = "kubeling.io/command"
_SHELLS: Final = ("sh", "bash", "/bin/sh", "/bin/bash")


def command_of(trial: Obj, experiment: Obj | None = None) -> str:
    """The command as one types it; empty where the trial's object names none.

    An experiment that was made from a script says how that is run; any other trial repeats what its
    primary container does.
    """
    spec = trial.get("spec") or {}
    container = _primary(spec.get("runSpec") or {}, str(spec.get("primaryContainerName") or ""))
    if container is None:
        return ""
    words = [str(w) for w in (*(container.get("command") or ()), *(container.get("args") or ()))]
    if not words:
        return ""
    values = {str(p["value"]) for p in spec.get("parameterAssignments") or ()}
    variables = [
        f"{entry['name']}={shlex.quote(str(entry['value']))}"
        for entry in container.get("env") or ()
        if str(entry.get("value", "")) in values
    ]
    plain = _plain(experiment, words)
    return " ".join([*variables, _said(plain or words)])


def _said(words: Sequence[str]) -> str:
    """The words as a line; what a shell is told is what one types."""
    if len(words) == 3 and words[0] in _SHELLS and words[1] in ("-c", "-ec", "-lc"):
        return words[2].strip()
    return shlex.join(words)


def _plain(experiment: Obj | None, words: Sequence[str]) -> list[str]:
    """The script's own command with what the trial adds to it."""
    annotations = ((experiment or {}).get("metadata") or {}).get("annotations") or {}
    try:
        base = [str(word) for word in json.loads(annotations.get(COMMAND) or "[]")]
    except ValueError:
        return []
    # In the trial the interpreter also writes its lines at once.
    given = [word for place, word in enumerate(words) if (place, word) != (1, "-u")]
    return given if base and given[: len(base)] == base else []


def _primary(obj: Any, wanted: str) -> Mapping[str, Any] | None:
    """The container of that name, else the only or first one, wherever it is in the object."""
    found = list(_containers(obj))
    named = [container for container in found if container.get("name") == wanted]
    return next(iter(named or found), None)


def _containers(obj: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(obj, Mapping):
        for key, value in obj.items():
            if key == "containers" and isinstance(value, list):
                yield from (entry for entry in value if isinstance(entry, Mapping))
            else:
                yield from _containers(value)
    elif isinstance(obj, list):
        for entry in obj:
            yield from _containers(entry)

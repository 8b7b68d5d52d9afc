"""What Argo's own end-to-end tests submit and expect, read from their Go source.

Only tests of one shape are taken: one Workflow, from a file or written in the test, submitted once
and left alone until its end, of which the phase (and sometimes the message) is asserted. A test
that does anything beside that (runs commands, changes quotas, writes ConfigMaps) is not a case.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Final

from tests.conformance.rows import Case

__all__ = ["cases"]

_TESTS: Final = "argo-workflows/test/e2e"
_TEST: Final = re.compile(r"\nfunc \(s \*\w+\) (?=Test)")
_FILE: Final = re.compile(r'\bWorkflow\(["`]@([\w/.-]+)["`]\)')
_INLINE: Final = re.compile(r"\bWorkflow\(`([^`@][^`]*)`\)")
_COMMENT: Final = re.compile(r"//.*")
_PHASE: Final = re.compile(
    r"(?<!\")\bWorkflow(Succeeded|Failed|Error)\b|\bToBe(Succeeded|Failed|Errored)\b"
)
_MESSAGE: Final = re.compile(
    r'(?:Contains|Equal)\(t, (?:status\.Message, "([^"]*)"|"([^"]*)", status\.Message)'
)
_MORE: Final = re.compile(
    r"RunCli|Exec\(|Shutdown|Resume|Suspend|Cron|WorkflowTemplate|And\(|Quota|ConfigMap|Secret"
    r"|Wait\(|SubmitWorkflowsFrom|s\.Need|Skip|DeleteP|SetP|Informer|RestConfig|Plugin|PodCondition"
    r"|SubmitWorkflow\(\)[\s\S]*SubmitWorkflow\(\)"
)


def cases(upstream: Path) -> list[Case]:
    """Every test of that shape."""
    root = upstream / _TESTS
    return [case for path in sorted(root.glob("*_test.go")) for case in _cases(path)]


def _cases(path: Path) -> Iterator[Case]:
    for text in _TEST.split(path.read_text())[1:]:
        files, inline = _FILE.findall(text), _INLINE.findall(text)
        around = _COMMENT.sub("", _INLINE.sub("", text))
        phase = _PHASE.search(around)
        if len(files) + len(inline) != 1 or phase is None or _MORE.search(around):
            continue
        message = _MESSAGE.search(around)
        yield Case(
            name=f"{path.name} {text.partition('(')[0]}",
            group="argo e2e tests",
            path=path.parent / files[0] if files else path,
            expect=(phase[1] or phase[2]).replace("Errored", "Error"),
            message=(message[1] or message[2] or "") if message else "",
            text=dedent(inline[0].expandtabs(2)) if inline else "",
        )

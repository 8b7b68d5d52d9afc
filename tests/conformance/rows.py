"""What every part of the conformance table has in common: cases, and rows of outcomes.

A case is a piece of others' material: where it comes from, its group (``examples``, ``IR B`` …) and
what is to become of it. A row is what did become of it. A module of a suite offers
``cases(upstream)``, which only reads, and ``run(cases, platform)``, which drives a platform that is
up and gives one row per case, whatever happens.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = ["Case", "Outcome", "Platform", "Row"]

Outcome = Literal["passed", "failed", "not runnable"]


@dataclass(frozen=True, slots=True)
class Case:
    """One file of others'; ``skip`` says why it cannot run on one machine, empty if it can.

    ``text`` is the material itself where it is only a part of the file. ``expect`` is the phase or
    state it is to end in, in upstream's spelling, and ``message``, where it is known, a part of
    what upstream says about it.
    """

    name: str
    group: str
    path: Path
    expect: str = "Succeeded"
    message: str = ""
    skip: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """How a case went; ``reason`` is for people, empty where it passed without ado."""

    name: str
    group: str
    outcome: Outcome
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Platform:
    """A platform that is up: its API's address, the kubeconfig that reaches it, and its data."""

    url: str
    kubeconfig: Path
    data: Path

    def kubectl(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Runs a command of kubectl against it, however that ends."""
        return subprocess.run(
            [str(Path(sys.executable).with_name("kubectl")), *arguments],
            env={**os.environ, "KUBECONFIG": str(self.kubeconfig)},
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )

"""What uv says while it prepares an environment: progress for people, and what went wrong. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

__all__ = ["explain", "is_network_trouble", "progress"]

_PROGRESS: Final = re.compile(
    r"(Resolved|Downloading|Building|Prepared|Installed|Bytecode compiled) \S.*"
)
_DECORATION: Final = re.compile(r"^[\s\u00d7\u2570\u2500\u25b6\u251c\u2502]+|\s+$")
_NETWORK: Final = ("Failed to fetch", "error sending request", "Failed to download", "dns error")
_LONGEST: Final = 600
_REMEDIES: Final = (
    (_NETWORK, "see to the network, a proxy or a mirror (HTTPS_PROXY, UV_DEFAULT_INDEX or "
     "PIP_INDEX_URL); it is tried again by itself"),
    (("No space left",), "free some space"),
    (("Failed to build", "build backend returned an error"), "install what its build needs (a "
     "compiler, headers), or ask for a version that has a wheel for this machine"),
    (("No interpreter found",), "install that Python, or change the entry's version"),
    (("Failed to parse",), "spell the requirement as pip does"),
    (("no wheels with a matching",), "ask for a version that has a wheel for this Python and "
     "machine"),
    (("not found in the package registry", "not found in the provided package locations",
      "not found in the cache"), "check its name, and where packages come from "
     "(UV_DEFAULT_INDEX, PIP_INDEX_URL, uv.toml)"),
    (("no version of", "unsatisfiable", "No solution found"), "change the versions that are asked "
     "for"),
)  # fmt: skip


def progress(line: str) -> str:
    """The line, if it tells how far uv has come; else nothing."""
    text = line.strip()
    return text if _PROGRESS.fullmatch(text) else ""


def is_network_trouble(output: str) -> bool:
    return any(sign in output for sign in _NETWORK)


def explain(output: str) -> tuple[str, str]:
    """Which package failed and why, in one sentence, and what to do about it (or nothing)."""
    lines = [_DECORATION.sub("", line) for line in output.splitlines()]
    lines = [line for line in lines if line]
    begin = next((n for n, line in enumerate(lines) if line.startswith("error: ")), None)
    if begin is None:
        begin = next((n for n, line in enumerate(lines) if not progress(line)), 0)
    said = lines[begin:]
    end = next((n for n, line in enumerate(said) if line.startswith("hint: ")), len(said))
    why = _sentence(said[:end])
    remedy = next((text for signs, text in _REMEDIES if any(s in output for s in signs)), "")
    return why, remedy


def _sentence(lines: Sequence[str]) -> str:
    """The error with its causes; of what a build printed, the last line."""
    causes = [line.removeprefix("error: ").removeprefix("cause: ") for line in lines]
    for mark in ("[stderr]", "[stdout]"):
        if mark in causes:
            causes = [*causes[: causes.index(mark)], causes[-1]]
    text = ": ".join(cause.rstrip(":.") for cause in dict.fromkeys(causes))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"

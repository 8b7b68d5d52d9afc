"""What to try next about something that went wrong, in a sentence.

Rules on the words that Kubernetes, the engine and programs use, the most telling first. Where none
fits there is no advice: a guess would send people the wrong way.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["advice"]

_RULES: Final[tuple[tuple[str, str], ...]] = (
    (
        r"OOMKilled|out of memory|MemoryError|std::bad_alloc|CUDA out of memory",
        "It ran out of memory: raise the memory limit, or take less data at once.",
    ),
    (
        r"No module named '?([\w.]+)",
        "Python does not find {0}: add its package to the component's packages_to_install, or to "
        "the image.",
    ),
    (
        r"can't open file '([^'\n]+)'",
        "There is no {0}: pods start in the workspace, the folder in which the platform was "
        "started (kubeling status names it). Move the script there, or start the platform in "
        "the script's folder.",
    ),
    (
        r"cannot import name '(\w+)'",
        "A package is there in another version than the code expects: pin its version.",
    ),
    (
        r"ErrImagePull|ImagePullBackOff|InvalidImageName|pull access denied",
        "The image cannot be had: check its name, or add an entry for it to images.yaml in the "
        "data directory.",
    ),
    (
        r"DeadlineExceeded|active longer than|\btimed? ?out",
        "It took longer than allowed: raise the time limit, or find out what it waited for.",
    ),
    (
        r"Insufficient ([\w./-]*\w)",
        "There is not enough {0}: lower what is requested, or end something that holds it; "
        "kubectl describe nodes lists what does.",
    ),
    (
        r"[Nn]o space left on device|Evicted|DiskPressure",
        "The disk is full: make room, for example by deleting old runs.",
    ),
    (
        r"(?:Connection refused|Name or service not known|Temporary failure in name resolution|"
        r"Max retries exceeded)",
        "Something it calls over the network did not answer: check the address, and that it runs.",
    ),
    (
        r"[Pp]ermission denied|403 Forbidden|AccessDenied",
        "It was not allowed to: check permissions, credentials and the service account's roles.",
    ),
    (
        r"CreateContainerConfigError|(?:secret|configmap) \"?([\w.-]+)\"? not found",
        "A Secret or ConfigMap that the step names is not there: create it in the same namespace.",
    ),
    (
        r"exit(?:ed with)? code 127|command not found|executable file not found",
        "The command is not in the image: check its spelling, and the image.",
    ),
    (
        r"exit(?:ed with)? code 126",
        "The command cannot be executed: is it a program, with permission to run?",
    ),
    (
        r"No such file or directory: '?([^'\n]+)'?",
        "{0} is not there: check the path; a step sees its own inputs and the workspace.",
    ),
    (
        r"(?:exit(?:ed with)? code |signal )(?:137|9)\b",
        "It was killed, most often for its memory: raise the limit, or see the events.",
    ),
    (
        r"exit(?:ed with)? code 139|Segmentation fault",
        "A native library crashed: try another version of it.",
    ),
    (r"exit(?:ed with)? code 143", "It was told to stop, and did."),
    (r"upstream task .* (?:failed|was skipped|was canceled)", "See the step it waited for."),
    (
        r"has no parameter|Required value|missing .* (?:input|parameter)",
        "An input is missing or misspelt: compare with the pipeline's inputs.",
    ),
    (r"terminated by the user|was deleted", "Somebody stopped it; run it again if that was wrong."),
)


def advice(*said: str) -> str:
    """The next thing to try for what was said of a failure; empty if nothing useful is known."""
    text = "\n".join(said)
    for pattern, sentence in _RULES:
        if found := re.search(pattern, text):
            return sentence.format(*(group or "" for group in found.groups()))
    return ""

"""Names of trials: the experiment's and eight characters, as upstream's."""

from __future__ import annotations

import secrets
import string
from collections.abc import Container
from typing import Final

from kubeling.kube.objects import Obj, name

__all__ = ["trial_name"]

_ALPHABET: Final = string.ascii_lowercase + string.digits
_SUFFIX: Final = 8


def trial_name(experiment: Obj, *taken: Container[str]) -> str:
    """A name that is not taken."""
    while True:
        suffix = "".join(secrets.choice(_ALPHABET) for _ in range(_SUFFIX))
        chosen = f"{name(experiment)}-{suffix}"
        if not any(chosen in names for names in taken):
            return chosen

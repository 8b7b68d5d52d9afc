"""``sprig.NAME``: the functions of Masterminds/sprig 3, as expressions call them.

All of its map but ``env`` and ``expandenv``, which Argo takes out. What would need a library of its
own (bcrypt, a certificate authority) is known by name and refused. Arguments are in sprig's order,
the value last; conversions are as forgiving as Go's ``cast``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from kubeling.workflows.expressions.errors import ExpressionError
from kubeling.workflows.expressions.sprig import (
    collections,
    dates,
    encoding,
    numbers,
    strings,
    values,
)

__all__ = ["FUNCTIONS", "REFUSED"]

REFUSED: Final = (
    "bcrypt", "buildCustomCert", "derivePassword", "genCA", "genCAWithKey", "genPrivateKey",
    "genSelfSignedCert", "genSelfSignedCertWithKey", "genSignedCert", "genSignedCertWithKey",
    "getHostByName", "htpasswd",
)  # fmt: skip
"""Functions of sprig that need more than data."""


def _refusal(name: str) -> Callable[..., Any]:
    def refuse(*_: Any) -> Any:
        raise ExpressionError(f"sprig.{name} is not supported; make it outside of the workflow")

    return refuse


FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    **strings.FUNCTIONS,
    **numbers.FUNCTIONS,
    **collections.FUNCTIONS,
    **values.FUNCTIONS,
    **dates.FUNCTIONS,
    **encoding.FUNCTIONS,
    **{name: _refusal(name) for name in REFUSED},
}

"""How an address is shown: logs and termination messages are read by more people than secrets."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["shown_address"]

_ADDRESS: Final = re.compile(r"(?:([^:/?#]*)://)?(?:[^/?#]*@)?([^?#]*)")


def shown_address(uri: str) -> str:
    """An address without its password, and without its query, where signatures are.

    Any text will do: it is also for saying that something is no address.
    """
    found = _ADDRESS.match(uri)
    assert found is not None
    scheme, rest = found.groups()
    return rest if scheme is None else f"{scheme}://{rest}"

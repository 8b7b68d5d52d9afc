"""What can be set about the gateway."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from kubeling.component import Settings

__all__ = ["GatewaySettings"]

_NAME: Final = r"^(\*|(\*\.)?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?)$"
_HostName = Annotated[str, msgspec.Meta(pattern=_NAME)]


class GatewaySettings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that begin with ``gateway.``"""

    allowed_hosts: tuple[_HostName, ...] = ()
    """More names under which it answers, as a proxy in front of it passes them on.

    ``*.lab.example`` means all below that one, ``*`` any name.
    """

    @classmethod
    def of(cls, settings: Settings) -> GatewaySettings:
        """Those of an installation."""
        return msgspec.convert(settings.rooms.get("gateway", {}), cls)

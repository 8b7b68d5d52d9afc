"""What the data plane's process is started with."""

from __future__ import annotations

import msgspec

__all__ = ["Setup"]


class Setup(msgspec.Struct, frozen=True):
    """What never changes, and what the platform opened for it, as numbers of descriptors."""

    data_dir: str
    version: str
    domain: str
    network: str
    routed: bool
    dns_address: str
    control: int
    dns: tuple[int, int] | None = None
    tether: int | None = None

    @property
    def descriptors(self) -> tuple[int, ...]:
        tether = () if self.tether is None else (self.tether,)
        return (self.control, *(self.dns or ()), *tether)

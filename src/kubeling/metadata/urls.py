"""Addresses of metadata databases: which are supported, and which driver speaks to each.

Apart from the rest, so that a start can refuse an address without loading SQLAlchemy.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final, NamedTuple

__all__ = ["UnusableUrl", "driver_url"]


class UnusableUrl(ValueError):
    """No database can be reached by this address; the message says what to write."""


class _Driver(NamedTuple):
    scheme: str
    package: str
    extra: str


_POSTGRESQL: Final = _Driver("postgresql+psycopg", "psycopg", "postgresql")
_MYSQL: Final = _Driver("mysql+pymysql", "pymysql", "mysql")
_DRIVERS: Final = {
    "sqlite": None,
    "postgresql": _POSTGRESQL,
    "postgres": _POSTGRESQL,
    "postgresql+psycopg": _POSTGRESQL,
    "mysql": _MYSQL,
    "mariadb": _MYSQL,
    "mysql+pymysql": _MYSQL,
    "mariadb+pymysql": _MYSQL,
}


def driver_url(url: str) -> str:
    """The address with the driver that is used; raises :class:`UnusableUrl`."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in _DRIVERS:
        raise UnusableUrl(
            f'metadata database: "{scheme}" is not supported; use sqlite:///FILE, '
            "postgresql://USER:PASSWORD@HOST/NAME or mysql://USER:PASSWORD@HOST/NAME"
        )
    driver = _DRIVERS[scheme]
    if driver is None:
        return url
    if find_spec(driver.package) is None:
        raise UnusableUrl(
            f"metadata database: {scheme} needs the package {driver.package}: "
            f"pip install 'kubeling[{driver.extra}]'"
        )
    return f"{driver.scheme}://{rest}"

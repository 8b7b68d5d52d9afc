"""What a template imports ahead: modules that programs like the one it is started for begin with.

Importing them too is no mistake, only a waste: a program sees none that it does not import itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["modules_ahead"]

_COMMON: Final = """
    runpy argparse ast asyncio base64 bisect calendar collections concurrent.futures contextlib
    copy csv dataclasses datetime decimal email.message enum errno fnmatch fractions functools
    getpass glob gzip hashlib heapq html http.client http.server importlib.metadata
    importlib.resources importlib.util inspect io ipaddress itertools json json.decoder locale
    logging logging.config logging.handlers math mimetypes numbers operator os pathlib pickle
    pkgutil platform pprint queue random re secrets select shlex shutil signal socket
    socketserver sqlite3 ssl statistics string struct subprocess tarfile tempfile textwrap
    threading timeit traceback types typing unicodedata urllib.error urllib.parse urllib.request
    uuid warnings weakref xml.etree.ElementTree zipfile zlib zoneinfo
"""
_PIPELINES: Final = ("kfp.dsl.executor_main",)
_PIPELINES_VARIABLE: Final = "_KFP_RUNTIME"


def modules_ahead(env: Mapping[str, str]) -> list[str]:
    """The modules, for an interpreter with these variables."""
    found = _COMMON.split()
    if env.get(_PIPELINES_VARIABLE) == "true":
        found += _PIPELINES
    return found

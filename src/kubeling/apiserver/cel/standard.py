"""The functions that Kubernetes gives to every expression."""

from __future__ import annotations

from functools import cache

from kubeling.apiserver.cel.functions.authorizer import AUTHORIZER
from kubeling.apiserver.cel.functions.containers import CONTAINERS
from kubeling.apiserver.cel.functions.conversions import CONVERSIONS
from kubeling.apiserver.cel.functions.formats import FORMATS
from kubeling.apiserver.cel.functions.networks import NETWORKS
from kubeling.apiserver.cel.functions.operators import OPERATORS
from kubeling.apiserver.cel.functions.quantities import QUANTITIES
from kubeling.apiserver.cel.functions.regex import REGEX
from kubeling.apiserver.cel.functions.strings import STRINGS
from kubeling.apiserver.cel.functions.times import TIMES
from kubeling.apiserver.cel.functions.urls import URLS
from kubeling.apiserver.cel.functions.versions import VERSIONS
from kubeling.apiserver.cel.library import Library

__all__ = ["standard_library"]


@cache
def standard_library() -> Library:
    """All of them, as one library."""
    return Library(
        OPERATORS,
        CONVERSIONS,
        STRINGS,
        TIMES,
        CONTAINERS,
        REGEX,
        URLS,
        QUANTITIES,
        NETWORKS,
        VERSIONS,
        FORMATS,
        AUTHORIZER,
    )

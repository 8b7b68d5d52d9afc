"""Names of objects that clients of the REST API make by words, not by name."""

from __future__ import annotations

import re
import secrets
from typing import Final

from kubeling.kube.client import Client
from kubeling.kube.errors import AlreadyExists
from kubeling.kube.objects import Obj, new_object
from kubeling.kube.resources import Resource

__all__ = ["create_named"]

_LETTERS: Final = "bcdfghjklmnpqrstvwxz2456789"
_ENDING: Final = 5
_TRIES: Final = 8
"""Upstream's for ``generateName``: of a thousand names that begin alike, two are soon the same."""


async def create_named(
    client: Client, resource: Resource, words: str, namespace: str, spec: Obj, *, longest: int = 63
) -> Obj:
    """Creates an object whose name begins with the words; a name that is taken is no error."""
    slug = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")
    stem = slug[: longest - _ENDING - 1].rstrip("-") or resource.singular
    for left in reversed(range(_TRIES)):
        name = f"{stem}-{''.join(secrets.choice(_LETTERS) for _ in range(_ENDING))}"
        try:
            return await client.create(resource, new_object(resource, name, namespace, spec=spec))
        except AlreadyExists:
            if not left:
                raise
    raise AssertionError("unreachable")

"""What names a service, a graph or a model may have, by upstream's webhooks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj

__all__ = ["validate_name"]

_NAME: Final = re.compile(r"^[a-z]([-a-z0-9]*[a-z0-9])?$")


def validate_name(obj: Obj) -> Iterator[FieldError]:
    """Says what is wrong with an object's name; one that is yet to be generated may be."""
    name = str(obj["metadata"].get("name") or "")
    if name and not _NAME.match(name):
        yield FieldError(
            "metadata.name",
            "Invalid value",
            "must consist of lower case letters, digits and '-', start with a letter and not end "
            "with '-'",
            name,
        )

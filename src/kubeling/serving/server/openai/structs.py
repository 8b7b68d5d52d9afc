"""The base of OpenAI's objects.

Upstream takes them from vLLM, as Pydantic models. Models written for ``kserve`` call a few methods
of those, which are here under the same names, so that neither of the two packages is needed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Self

import msgspec

__all__ = ["ApiObject"]


class ApiObject(msgspec.Struct, kw_only=True):
    """An object of the API."""

    def model_dump(
        self, *, exclude: Collection[str] = (), exclude_none: bool = False, **_: Any
    ) -> dict[str, Any]:
        """Plain values."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        kept = {key: value for key, value in found.items() if key not in exclude}
        plain: dict[str, Any] = _without_none(kept) if exclude_none else kept
        return plain

    def model_dump_json(
        self,
        *,
        indent: int | None = None,
        exclude: Collection[str] = (),
        exclude_none: bool = False,
        **_: Any,
    ) -> str:
        """JSON."""
        if not exclude and not exclude_none:
            encoded = msgspec.json.encode(self)
        else:
            encoded = msgspec.json.encode(
                self.model_dump(exclude=exclude, exclude_none=exclude_none)
            )
        if indent is not None:
            encoded = msgspec.json.format(encoded, indent=indent)
        return encoded.decode()

    def model_copy(self, *, update: Mapping[str, Any] | None = None) -> Self:
        """A copy with other values."""
        return msgspec.structs.replace(self, **(update or {}))

    @classmethod
    def model_validate(cls, value: Any) -> Self:
        """Plain values as an object; raises :class:`msgspec.ValidationError`, a ``ValueError``."""
        return msgspec.convert(value, cls)

    @classmethod
    def model_validate_json(cls, text: str | bytes) -> Self:
        """JSON as an object; raises :class:`msgspec.ValidationError`, a ``ValueError``."""
        return msgspec.json.decode(text, type=cls)


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return [_without_none(item) for item in value] if isinstance(value, list) else value

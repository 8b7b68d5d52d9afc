"""``{{tags}}``: values put into the strings of a template.

Upstream substitutes in the JSON text of a template; here it happens string by string in the decoded
value, which gives the same result and cannot break the JSON. A tag is either the name of a variable
or, after ``=``, an expression. Tags with an unknown first word (a Jinja template in a script, say)
are no business of ours and stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

__all__ = ["ROOTS", "Tag", "find_tags", "has_tags", "parse", "render", "substitute"]

ROOTS: Final = frozenset(
    {"cronworkflow", "inputs", "item", "lastRetry", "node", "outputs", "pod", "retries", "steps",
     "tasks", "workflow"}
)  # fmt: skip
"""First words of the variables Argo knows."""


@dataclass(frozen=True, slots=True)
class Tag:
    """One tag: ``body`` without the braces and, for expressions, without the ``=``."""

    body: str
    text: str
    expression: bool

    @property
    def known(self) -> bool:
        """Whether this is one of Argo's tags rather than text that looks like one."""
        return self.expression or self.body.partition(".")[0] in ROOTS


@lru_cache(maxsize=8192)
def parse(text: str) -> tuple[str | Tag, ...]:
    """The literal parts and the tags of a string, in order."""
    parts: list[str | Tag] = []
    position = 0
    while (start := text.find("{{", position)) >= 0:
        end = _end(text, start + 2)
        if end < 0:
            break
        if start > position:
            parts.append(text[position:start])
        body = text[start + 2 : end].strip()
        expression = body.startswith("=")
        parts.append(
            Tag(body[1:].strip() if expression else body, text[start : end + 2], expression)
        )
        position = end + 2
    if position < len(text):
        parts.append(text[position:])
    return tuple(parts)


def _end(text: str, start: int) -> int:
    """Where the tag's closing braces are, with tags inside it and its own braces closed by then."""
    end = text.find("}}", start)
    if text[start:].lstrip().startswith("="):
        while end >= 0 and text.count("{", start, end) > text.count("}", start, end):
            end = text.find("}}", end + 1)
        return end
    inside = text.count("{{", start, end)
    closed = 0
    while end >= 0 and closed < inside:
        closed += 1
        end = text.find("}}", end + 2)
        inside = text.count("{{", start, end) if end >= 0 else 0
    return end


def has_tags(value: Any) -> bool:
    """Whether any string in a JSON value has a tag of ours."""
    return next(find_tags(value), None) is not None


def find_tags(value: Any) -> Iterator[Tag]:
    """Every tag of ours in a JSON value, keys included."""
    if isinstance(value, str):
        if "{{" in value:
            yield from (p for p in parse(value) if isinstance(p, Tag) and p.known)
    elif isinstance(value, dict):
        for key, member in value.items():
            yield from find_tags(key)
            yield from find_tags(member)
    elif isinstance(value, list):
        for member in value:
            yield from find_tags(member)


def render(text: str, resolve: Callable[[Tag], str | None]) -> str:
    """The string with its tags replaced; ``resolve`` returns ``None`` to leave one as it is."""
    if "{{" not in text:
        return text
    shown: list[str] = []
    for part in parse(text):
        if isinstance(part, str):
            shown.append(part)
            continue
        tag = _flattened(part, resolve)
        value = resolve(tag) if tag.known else None
        shown.append(tag.text if value is None else value)
    return "".join(shown)


def _flattened(tag: Tag, resolve: Callable[[Tag], str | None]) -> Tag:
    """A tag whose name other tags are part of, with those replaced."""
    if tag.expression or "{{" not in tag.body:
        return tag
    body = render(tag.body, resolve)
    return Tag(body, f"{{{{{body}}}}}", expression=False)


def substitute(value: Any, resolve: Callable[[Tag], str | None]) -> Any:
    """A JSON value with the tags in all its strings replaced; untouched parts are shared."""
    if isinstance(value, str):
        return render(value, resolve)
    if isinstance(value, dict):
        return {render(k, resolve): substitute(v, resolve) for k, v in value.items()}
    if isinstance(value, list):
        return [substitute(member, resolve) for member in value]
    return value

"""Text from tokens: whole characters, nothing of a stop sequence, nothing lost."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeling.serving.server.generation.text import TextStream


def of_bytes(tokens: Sequence[int]) -> str:
    """A tokenizer whose tokens are the bytes of UTF-8."""
    return bytes(tokens).decode(errors="replace")


def shown(text: str, stops: Sequence[str] = (), before: str = "") -> tuple[list[str], bool]:
    """What is shown after each token, and whether a stop sequence was made."""
    stream = TextStream(of_bytes, stops, before.encode())
    found = []
    for token in text.encode():
        if stream.stopped:
            break
        found.append(stream.push(token))
    return [*found, stream.finish()], stream.stopped


def test_a_character_is_shown_once_it_is_whole() -> None:
    assert shown("a\u00e9b")[0] == ["a", "", "\u00e9", "b", ""]


def test_what_may_begin_a_stop_sequence_is_held_back() -> None:
    assert shown("one END two", ["END"]) == (["o", "n", "e", " ", "", "", "", ""], True)
    assert shown("EN!", ["END"]) == (["", "", "EN!", ""], False)
    assert shown("EN", ["END"]) == (["", "", "EN"], False)


def test_the_first_of_several_stop_sequences_counts() -> None:
    assert "".join(shown("abcd", ["cd", "bc"])[0]) == "a"


@given(st.text(max_size=40), st.text(max_size=10))
def test_nothing_is_lost_or_added(text: str, before: str) -> None:
    assert "".join(shown(text, before=before)[0]) == text


@given(
    st.text("ab\u00e9", max_size=30),
    st.lists(st.text("ab\u00e9", min_size=1, max_size=4), min_size=1, max_size=3),
)
def test_text_ends_before_the_first_stop_sequence_that_is_complete(
    text: str, stops: list[str]
) -> None:
    ends = [
        (text.find(stop) + len(stop), text.find(stop)) for stop in stops if text.find(stop) >= 0
    ]
    found, stopped = shown(text, stops)
    assert stopped == bool(ends)
    if not ends:
        assert "".join(found) == text
        return
    complete = min(end for end, _ in ends)
    assert "".join(found) == text[: min(start for end, start in ends if end == complete)]


@pytest.mark.parametrize("text", ["", "\ud7ff\ue000", "\U0001f600"])
def test_a_text_that_ends_within_a_character_is_shown_all_the_same(text: str) -> None:
    stream = TextStream(of_bytes)
    for token in (text + "\u20ac").encode()[:-1]:
        stream.push(token)
    assert stream.finish().endswith("\N{REPLACEMENT CHARACTER}")

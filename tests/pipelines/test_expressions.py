"""The conditions of compiled pipelines."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeling.pipelines.expressions import ExpressionError, evaluate, evaluate_condition


def scope(**values: Any) -> dict[str, Any]:
    return {"inputs": {"parameter_values": values}}


@pytest.mark.parametrize(
    ("condition", "values", "expected"),
    [
        ("inputs.parameter_values['a'] == 'heads'", {"a": "heads"}, True),
        ("!(inputs.parameter_values['a'] == 'heads') && true", {"a": "x"}, True),
        ("int(inputs.parameter_values['n']) >= 3", {"n": "3"}, True),
        ("double(inputs.parameter_values['n']) < 0.5", {"n": "0.25"}, True),
        ("string(inputs.parameter_values['n']) == '3'", {"n": 3}, True),
        ("inputs.parameter_values['l'][1] in [2, 3]", {"l": [1, 2]}, True),
        ("inputs.parameter_values['a'].startsWith(\"it\\'s\")", {"a": "it's"}, True),
        ("size(inputs.parameter_values['l']) == 0 ? true : false", {"l": []}, True),
        ("inputs.parameter_values['b'] == true", {"b": False}, False),
        ("inputs.parameter_values['n'] != 1 || 1 / 0 == 1", {"n": 2}, True),
    ],
)
def test_conditions(condition: str, values: dict[str, Any], expected: bool) -> None:
    assert evaluate_condition(condition, scope(**values)) is expected


def test_selectors_of_loops_over_mappings() -> None:
    assert evaluate('parseJson(string_value)["a"]', {"string_value": '{"a": 1.0}'}) == 1
    assert evaluate('parseJson(string_value)["a"]["b"]', {"string_value": '{"a":{"b":"x"}}'}) == "x"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("1 +", "unexpected"),
        ("unknown", "no variable unknown"),
        ("frob(1)", "no function frob"),
        ("1 < 'a'", "cannot compare"),
        ("1 / 0", "division by zero"),
        ("int('x')", "int"),
        ("inputs.parameter_values['z']", "there is no z"),
    ],
)
def test_what_is_wrong_is_named(source: str, message: str) -> None:
    with pytest.raises(ExpressionError, match=message):
        evaluate(source, scope())


def test_a_condition_must_be_true_or_false() -> None:
    with pytest.raises(ExpressionError, match="true or false is expected, not 3"):
        evaluate_condition("1 + 2", {})


NUMBERS = st.integers(-1000, 1000)


@given(
    NUMBERS, NUMBERS, NUMBERS, st.sampled_from(["+", "-", "*"]), st.sampled_from(["+", "-", "*"])
)
def test_arithmetic_is_that_of_integers(a: int, b: int, c: int, first: str, second: str) -> None:
    source = f"{a} {first} ({b}) {second} ({c})"
    assert evaluate(source, {}) == eval(source)


@given(st.text())
def test_any_text_survives_quoting(text: str) -> None:
    escaped = "".join(f"\\u{ord(c):04x}" if ord(c) < 0x10000 else c for c in text)
    assert evaluate(f"'{escaped}'", {}) == text


@given(st.text(alphabet="()[]{}!&|<>=+-*/%.,'\"ab1 ", max_size=30))
def test_nonsense_is_refused_and_never_crashes(source: str) -> None:
    with contextlib.suppress(ExpressionError):
        evaluate(source, {"a": 1, "b": "x"})

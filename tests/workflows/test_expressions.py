"""The four languages: what users write, and what they get."""

from __future__ import annotations

import contextlib
import json
import string
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeling.workflows.expressions import ExpressionError, conditions, depends, exprlang, tags
from kubeling.workflows.expressions.depends import And, Not, Or, TaskResult
from kubeling.workflows.expressions.tags import Tag

WORDS = st.text(string.ascii_letters + string.digits + "-_", min_size=1, max_size=12)
TEXTS = st.text(st.characters(blacklist_characters="{}"), max_size=30)


class TestTags:
    def test_names_and_expressions_are_told_apart(self) -> None:
        assert tags.parse("a {{ inputs.parameters.x }}b{{=1 + 1}}") == (
            "a ",
            Tag("inputs.parameters.x", "{{ inputs.parameters.x }}", False),
            "b",
            Tag("1 + 1", "{{=1 + 1}}", True),
        )

    def test_the_braces_of_a_map_belong_to_the_expression(self) -> None:
        (tag,) = tags.parse("{{=toJson({a: {b: 1}})}}")
        assert isinstance(tag, Tag)
        assert tag.body == "toJson({a: {b: 1}})"

    @pytest.mark.parametrize("text", ["{{ user.name }}", "{{", "}} {{", "{{ 'x' | upper }}"])
    def test_text_that_only_looks_like_a_tag_stays(self, text: str) -> None:
        assert tags.substitute(text, lambda tag: pytest.fail(tag.body)) == text

    def test_keys_and_nested_values_are_reached(self) -> None:
        value = {"{{item}}": [{"a": "x{{item}}"}, 1, None]}
        assert tags.substitute(value, lambda _: "7") == {"7": [{"a": "x7"}, 1, None]}

    @given(st.lists(st.one_of(TEXTS, WORDS.map(lambda w: f"{{{{inputs.parameters.{w}}}}}"))))
    def test_leaving_every_tag_alone_changes_nothing(self, parts: list[str]) -> None:
        text = "".join(parts)
        assert tags.render(text, lambda _: None) == text

    @given(TEXTS, WORDS, TEXTS, TEXTS)
    def test_a_value_goes_in_as_it_is(self, left: str, name: str, right: str, value: str) -> None:
        text = f"{left}{{{{inputs.parameters.{name}}}}}{right}"
        assert tags.render(text, lambda _: value) == left + value + right

    def test_a_name_may_be_made_of_other_tags(self) -> None:
        values = {"item": "a", "inputs.parameters.a": "found", "steps.x-a-b.id": "1", "item.k": "b"}

        def resolve(tag: tags.Tag) -> str | None:
            return values.get(tag.body)

        assert tags.render("<{{inputs.parameters.{{item}}}}>", resolve) == "<found>"
        text = "{{steps.x-{{item}}-{{item.k}}.id}} {{item}}"
        assert tags.render(text, resolve) == "1 a"
        assert tags.render("{{inputs.{{none}}", resolve) == "{{inputs.{{none}}"


class TestConditions:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("heads == heads", True),
            ("heads != heads", False),
            ("'two words' == \"two words\"", True),
            ("1.0 == 1", True),
            ("'1' == 1", False),
            ("2 > 10", False),
            ("b > a", True),
            ("yes in (yes, no)", True),
            ("maybe in (yes, no)", False),
            ("!(a == b) && (1 < 2 || x == y)", True),
            ("model-v2 == model-v2", True),
            ("release =~ '^rel'", True),
            ("1 + 2 * 3 == 7", True),
            ("true", True),
            ("5 > 3 ? true : false", True),
            ("'' == ''", True),
        ],
    )
    def test_what_is_true(self, text: str, expected: bool) -> None:
        assert conditions.evaluate(text) is expected

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("heads ==", "ends where a value was expected"),
            ("== heads", "quote the value"),
            ("(a == b", '")" is missing'),
            ("a == b c", 'unexpected "c"'),
            ("heads", "Expected boolean evaluation for"),
            ("1 < b", "cannot be compared"),
            ("a == ü", "quote the value"),
        ],
    )
    def test_mistakes_are_explained(self, text: str, message: str) -> None:
        with pytest.raises(ExpressionError, match=message.replace(")", r"\)").replace("(", r"\(")):
            conditions.evaluate(text)

    @given(WORDS, WORDS)
    def test_quoted_words_compare_like_strings(self, left: str, right: str) -> None:
        assert conditions.evaluate(f"'{left}' == '{right}'") is (left == right)
        assert conditions.evaluate(f"'{left}' < '{right}'") is (left < right)

    @given(st.integers(0, 10**6), st.integers(0, 10**6))
    def test_numbers_compare_like_numbers(self, left: int, right: int) -> None:
        assert conditions.evaluate(f"{left} <= {right}") is (left <= right)
        assert conditions.evaluate(f"{left} - {right} == {left - right}") is True

    @given(st.text(max_size=40))
    def test_anything_is_either_decided_or_explained(self, text: str) -> None:
        with contextlib.suppress(ExpressionError):
            conditions.evaluate(text)


def shown(tree: depends.Depends) -> str:
    match tree:
        case TaskResult(task, result):
            return f"{task}.{result}" if result else task
        case Not(operand):
            return f"!({shown(operand)})"
        case And(left, right):
            return f"({shown(left)} && {shown(right)})"
        case Or(left, right):
            return f"({shown(left)} || {shown(right)})"


TREES = st.recursive(
    st.builds(TaskResult, WORDS, st.sampled_from(["", *sorted(depends.RESULTS)])).filter(
        lambda result: not result.task.startswith("-")
    ),
    lambda inner: st.one_of(
        st.builds(Not, inner), st.builds(And, inner, inner), st.builds(Or, inner, inner)
    ),
    max_leaves=8,
)


class TestDepends:
    def test_and_binds_tighter_than_or(self) -> None:
        a, b, c = (TaskResult(name, "") for name in "abc")
        assert depends.parse("a || b && c") == Or(a, And(b, c))

    @given(TREES)
    def test_what_is_written_is_what_is_read(self, tree: depends.Depends) -> None:
        assert depends.parse(shown(tree)) == tree

    @given(TREES, st.sets(WORDS))
    def test_not_turns_the_answer_round(self, tree: depends.Depends, good: set[str]) -> None:
        def holds(wanted: TaskResult) -> bool:
            return wanted.task in good

        assert depends.evaluate(Not(tree), holds) is not depends.evaluate(tree, holds)

    @pytest.mark.parametrize("text", ["", "a &&", "a b", "(a", "a.Done", "a & b", "&& a"])
    def test_mistakes_are_refused(self, text: str) -> None:
        with pytest.raises(ExpressionError):
            depends.parse(text)


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=10,
)


class TestExprLang:
    ENVIRONMENT: ClassVar[dict[str, object]] = {
        "inputs": {"parameters": {"n": "3", "a-b": "q", "json": '{"a": [1, {"b": 5}]}'}},
        "steps": {"gen": {"outputs": {"result": "9"}}},
    }

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("asInt(inputs.parameters.n) + 1", "4"),
            ("inputs.parameters['a-b'] == 'q' ? 'yes' : 'no'", "yes"),
            ("steps.gone.outputs.result ?? 'none'", "none"),
            ("steps.gone?.outputs", None),
            ("map(1..3, {# * 2})", "[2,4,6]"),
            ("filter([1, 2, 3], # > 1) | len()", "2"),
            ("{a: 1, 'b': [1, 2]}.b[-1]", "2"),
            ("jsonpath(inputs.parameters.json, '$.a[1].b')", "5"),
            ("sprig.trim('  x ')", "x"),
            ("not ('x' in ['y']) and true", "true"),
            ("'x' not in ['x']", "false"),
            ("2 ** 3 ** 2", "512"),
            ("7 / 2", "3.5"),
            ("6 / 2", "3"),
            ("toJson({ok: true})", '{"ok":true}'),
            ("'abc'[1:]", "bc"),
            ("join(split('a,b', ','), '-') + `!`", "a-b!"),
            ("any([1, 2], {# == 2}) || false", "true"),
            ("fromJSON(inputs.parameters.json).a[0]", "1"),
            ("'abc' matches '^a' && 'abc' contains 'b'", "true"),
        ],
    )
    def test_what_workflows_compute(self, text: str, expected: str | None) -> None:
        value = exprlang.evaluate(text, self.ENVIRONMENT)
        assert (None if value is None else exprlang.text_of(value)) == expected

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("nothing.at.all", 'unknown name "nothing"'),
            ("frobnicate(1)", 'unknown function "frobnicate"'),
            ("1 +", "ends where"),
            ("inputs.parameters.n + 1", "not a number"),
            ("1 ? 2 : 3", "not true or false"),
            ("asInt('x')", r"invalid operation: int\(x\)"),
            ("1 % 0", "integer divide by zero"),
            ("[1, 2", "missing"),
        ],
    )
    def test_mistakes_are_explained(self, text: str, message: str) -> None:
        with pytest.raises(ExpressionError, match=message):
            exprlang.evaluate(text, self.ENVIRONMENT)

    def test_nil_cannot_be_put_into_a_template(self) -> None:
        with pytest.raises(ExpressionError, match=r'"\?\? value"'):
            exprlang.text_of(None)

    @given(JSON)
    def test_json_goes_round(self, value: object) -> None:
        environment = {"text": json.dumps(value)}
        assert json.loads(exprlang.evaluate("toJson(fromJSON(text))", environment)) == value

    @given(st.integers(-1000, 1000), st.integers(-1000, 1000), st.integers(-1000, 1000))
    def test_arithmetic_has_its_usual_order(self, a: int, b: int, c: int) -> None:
        assert exprlang.evaluate(f"{a} + {b} * {c}", {}) == a + b * c
        assert exprlang.evaluate(f"({a} - {b}) - {c}", {}) == a - b - c

    @given(st.text(max_size=40))
    def test_anything_is_either_computed_or_explained(self, text: str) -> None:
        with contextlib.suppress(ExpressionError):
            exprlang.evaluate(text, self.ENVIRONMENT)

"""The expression language: what expressions mean, and that none can do harm."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubeling.apiserver.cel.errors import CelError, CompileError, CostExceeded, EvalError
from kubeling.apiserver.cel.frames import Meter
from kubeling.apiserver.cel.program import compile_expression
from kubeling.apiserver.cel.types import ANY, INT, STRING, list_of, map_of
from kubeling.apiserver.cel.values import MAX_INT, MIN_INT, Optional, equal


def value(expression: str, **variables: Any) -> Any:
    """The value of an expression whose variables are all dynamic."""
    program = compile_expression(expression, dict.fromkeys(variables, ANY))
    return program.evaluate(variables)


# --- values ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("1 + 2 * 3 - 4 / 2", 5),
        ("-7 / 2", -3),
        ("-7 % 3", -1),
        ("0x1F + 010", 41),
        ("7u + 1u", 8),
        ("1.5e3 / 2.0", 750.0),
        ("'a' + \"b\" + r'\\d' + '''c'd'''", "ab\\dc'd"),
        (r"'\x41\u00e9\U0001F600\101\n'", "Aé😀A\n"),
        (r"b'\xff\000é'", b"\xff\x00\xc3\xa9"),
        ("true ? 1 : 2", 1),
        ("false ? 1 : true ? 2 : 3", 2),
        ("!!true && !false", True),
        ("1 < 2 && 2.5 > 2 && 'a' < 'b' && 1u <= 1", True),
        ("[1, 2] + [3] == [1, 2, 3]", True),
        ("dyn([1, 2]) == dyn([1.0, 2.0])", True),
        ("dyn(1) == dyn(true)", False),
        ("{'a': 1, 'b': 2}.b + {'x': 3}['x']", 5),
        ("2 in [1, 2] && 'a' in {'a': 1} && !(3 in [1])", True),
        ("[1, 2, 3][1]", 2),
        ("has({'a': 1}.a) && !has({'a': 1}.b)", True),
        ("type(1) == int && type('') == string && type([]) == list && type({}) == map", True),
        ("type(duration('1s')) == google.protobuf.Duration", True),
        ("size('héé') + size([1]) + {'a': 1}.size() + b'ab'.size()", 7),
        ("string(1) + string(true) + string(1.0) + string(2.5) + string(1e10)", "1true12.51e+10"),
        ("string(duration('90m')) + ' ' + string(timestamp('2024-02-03T04:05:06Z'))",
         "5400s 2024-02-03T04:05:06Z"),
        ("int('-42') + int(2.9) + int(7u) + int(timestamp(60))", 27),
        ("double('2.5') + double(1)", 3.5),
        ("bool('true') && !bool('0')", True),
        ("duration('1h30m') - duration('30m') == duration('3600s')", True),
        ("duration('-1.5s') < duration('0') && duration('100ms').getMilliseconds() == 100", True),
        ("timestamp('2024-01-31T23:00:00Z') + duration('2h') == timestamp('2024-02-01T01:00:00Z')",
         True),
        ("timestamp('2024-05-05T10:00:00Z').getHours('Europe/Berlin')", 12),
        ("timestamp('2024-05-05T10:00:00Z').getHours('-03:30')", 6),
        ("timestamp('2024-05-05T10:00:00Z').getDayOfWeek()", 0),
        ("[3, 1, 2].map(x, x * 2)", [6, 2, 4]),
        ("[1, 2, 3].map(x, x > 1, x * 2)", [4, 6]),
        ("[1, 2, 3].filter(x, x % 2 == 1)", [1, 3]),
        ("{'a': 1, 'b': 2}.filter(k, k != 'a')", ["b"]),
        ("{'a': 1}.all(k, v, k == 'a' && v == 1)", True),
        ("[5, 6].transformList(i, v, i * 10 + v)", [5, 16]),
        ("[5, 6].transformList(i, v, i > 0, v)", [6]),
        ("{'a': 1, 'b': 2}.transformMap(k, v, v > 1, v * 2)", {"b": 4}),
        ("[1, 2, 1].exists_one(x, x == 2) && [1, 2].existsOne(i, v, v == 2)", True),
        ("[[1, 2], [3]].all(row, row.all(x, x > 0))", True),
        ("{'a': {'b': 1}}.?a.?b.orValue(7) + {'a': {}}.?a.?b.orValue(7)", 8),
        ("[1][?3].hasValue() || {'a': 1}[?'a'].hasValue()", True),
        ("optional.of(2).optMap(x, x + 1).value()", 3),
        ("optional.none().optFlatMap(x, optional.of(x)).hasValue()", False),
        ("optional.none().or(optional.of(1)).value()", 1),
        ("[1, ?optional.none(), ?optional.of(2)]", [1, 2]),
        ("{'a': 1, ?'b': optional.none()}", {"a": 1}),
    ],
)  # fmt: skip
def test_expressions_mean_what_the_language_says(expression: str, expected: Any) -> None:
    found = value(expression)
    assert found == expected
    assert type(found) is type(expected) or isinstance(found, int)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("'Hello'.lowerAscii() + 'é'.upperAscii() + 'ab'.charAt(1)", "helloéb"),
        ("'abcabc'.indexOf('c') * 100 + 'abcabc'.lastIndexOf('c') * 10 + 'abc'.indexOf('x')", 249),
        ("'abcabc'.indexOf('c', 3) + 'abcabc'.lastIndexOf('c', 4)", 7),
        ("'a,b,c'.split(',', 2)", ["a", "b,c"]),
        ("['x', 'y'].join('-') + ['x', 'y'].join()", "x-yxy"),
        ("'aXbX'.replace('X', '-') + 'aXbX'.replace('X', '-', 1)", "a-b-a-bX"),
        ("'hello'.substring(1, 3) + 'hello'.substring(3) + ' x '.trim() + 'ab'.reverse()",
         "ellox" + "ba"),
        ("'%s has %d of %.2f, %x' .format(['a', 2, 1.5, 255])", "a has 2 of 1.50, ff"),
        ("'%s'.format([[1, 'a', true, {'k': null}]])", "[1, a, true, {k: null}]"),
        ("'a1b22'.find('[0-9]+') + 'a1b22'.findAll('[0-9]+').join('/')", "11/22"),
        ("'a1b22c3'.findAll('[0-9]+', 2)", ["1", "22"]),
        ("matches('abc', '^a.c$') && 'xxabcxx'.matches('b')", True),
        ("[1, 2, 2].isSorted() && ![2, 1].isSorted()", True),
        ("[1, 2].sum() + [4, 3].min() * 10 + [4, 3].max() * 100", 433),
        ("[1, 2, 1].indexOf(1) + [1, 2, 1].lastIndexOf(1)", 2),
        ("[3, 1, 3].distinct() + [3, 1].sort() + [1, 2, 3].slice(1, 3)", [3, 1, 1, 3, 2, 3]),
        ("sets.contains([1, 2], [2]) && sets.intersects([1], [1, 2]) && "
         "sets.equivalent([1, 1], [1])", True),
        ("url('https://user@host:80/a%20b?q=1&q=2').getHost()", "host:80"),
        ("url('https://[::1]:80/').getHostname() + url('https://h/a b'.replace(' ', '%20'))"
         ".getEscapedPath()", "::1/a%20b"),
        ("url('https://h/?q=1&q=2').getQuery()", {"q": ["1", "2"]}),
        ("isURL('https://a') && isURL('/a') && !isURL('a b') && !isURL('x')", True),
        ("quantity('1.5Gi').add(quantity('512Mi')).compareTo(quantity('2Gi'))", 0),
        ("quantity('50k').asInteger() + quantity('50k').sub(20000).asInteger()", 80000),
        ("quantity('1000m') == quantity('1') && isQuantity('1e3') && !isQuantity('x')", True),
        ("quantity('100m').asApproximateFloat() * 10.0", 1.0),
        ("ip('::1').isLoopback() && ip('10.0.0.1').isGlobalUnicast() && isIP('1.2.3.4')", True),
        ("cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16') && cidr('10.1.2.3/8').prefixLength() == 8",
         True),
        ("string(cidr('10.1.2.3/8').masked())", "10.0.0.0/8"),
        ("ip.isCanonical('::1') && !ip.isCanonical('0::1')", True),
        ("semver('1.2.3-rc.1').isLessThan(semver('1.2.3')) && isSemver('v1', true)", True),
        ("format.dns1123Label().validate('a-b').hasValue()", False),
        ("format.named('uuid').value().validate('x').hasValue()", True),
    ],
)  # fmt: skip
def test_kubernetes_functions(expression: str, expected: Any) -> None:
    assert value(expression) == expected


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("1 / 0", "division by zero"),
        ("1 % 0", "modulus by zero"),
        ("9223372036854775807 + 1", "integer overflow"),
        ("-(-9223372036854775807 - 1)", "integer overflow"),
        ("1u - 2u", "unsigned integer overflow"),
        ("[1][5]", "index out of bounds: 5"),
        ("{'a': 1}['b']", "no such key: b"),
        ("dyn({'a': 1}).b.c", "no such key: b"),
        ("dyn(1) + dyn('a')", "no such overload"),
        ("dyn(1).all(x, true)", "no such overload"),
        ("dyn([1, 'a']).max()", "no such overload"),
        ("int('x')", "invalid syntax"),
        ("timestamp('yesterday')", 'parsing time "yesterday"'),
        ("duration('long')", 'time: invalid duration "long"'),
        ("'a'.matches('(')", "error parsing regexp"),
        ("quantity('much')", "quantities must match the regular expression"),
        ("[].min()", "min called on empty list"),
        ("'abc'.substring(2, 1)", "invalid substring range"),
        ("optional.none().value()", "optional.none() dereference"),
        ("{'a': 1, 'a': 2}", "repeated key"),
    ],
)
def test_what_has_no_value_says_why(expression: str, message: str) -> None:
    with pytest.raises(EvalError) as caught:
        value(expression)
    assert message in str(caught.value)


def test_logic_does_without_a_side_that_fails() -> None:
    assert value("false && 1 / 0 > 0") is False
    assert value("1 / 0 > 0 && false") is False
    assert value("1 / 0 > 0 || true") is True
    assert value("[1, 0, 5].exists(x, 10 / x == 2)") is True
    assert value("[1, 0, 5].all(x, 10 / x == 10)") is False
    with pytest.raises(EvalError):
        value("[1, 0].all(x, 10 / x > 0)")


# --- types -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("n + 'a'", "found no matching overload for '_+_' applied to '(int, string)'"),
        ("n == 1.0", "found no matching overload for '_==_' applied to '(int, double)'"),
        ("n.foo", "type 'int' does not support field selection"),
        ("n.foo()", "undeclared reference to 'foo'"),
        ("names.startsWith('a')", "applied to 'list(string).(string)'"),
        ("names.all(n, n > 1)", "applied to '(string, int)'"),
        ("n.all(x, true)", "expression of type 'int' cannot be range of a comprehension"),
        ("names.filter(x, 1)", "found no matching overload"),
        ("n ? 1 : 2", "found no matching overload for '_?_:_' applied to '(int, int, int)'"),
        ("n == null", "applied to '(int, null)'"),
        ("names[0] + counts.x", "applied to '(string, int)'"),
        ("has(n)", "invalid argument to has() macro"),
        ("names.all(x.y, true)", "argument must be a simple name"),
        ("for", "reserved identifier: for"),
        ("'open", "token recognition error"),
        ("n +", "mismatched input '<EOF>'"),
        ("[1, 2", "expecting ']'"),
        ("99999999999999999999", "invalid int literal"),
        ("(" * 100 + "1" + ")" * 100, "nests deeper"),
        ("+".join("1" * 300), "nests deeper"),
    ],
)
def test_what_cannot_be_right_is_found_before_it_runs(expression: str, message: str) -> None:
    variables = {"n": INT, "names": list_of(STRING), "counts": map_of(STRING, INT)}
    with pytest.raises(CompileError) as caught:
        compile_expression(expression, variables)
    assert message in str(caught.value)


def test_an_error_points_to_its_place() -> None:
    with pytest.raises(CompileError) as caught:
        compile_expression("n > 1\n  && nope > 2", {"n": INT})
    assert str(caught.value) == (
        "compilation failed: ERROR: <input>:2:6: undeclared reference to 'nope' "
        "(in container '')\n |   && nope > 2\n | .....^"
    )


def test_a_long_chain_of_conditions_is_no_deep_tree() -> None:
    assert value(" && ".join(["true"] * 2000)) is True


# --- harm --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "expression",
    [
        "big.all(a, big.all(b, big.all(c, true)))",
        "big.map(a, big.map(b, big))",
        "big.exists(x, text.contains(text + 'y'))",
        "optional.of(text)" + ".optMap(s, s + s)" * 30 + ".hasValue()",
        "text.replace('x', text).replace('x', text).size() > 0",
    ],
)
def test_work_is_limited(expression: str) -> None:
    with pytest.raises(CelError):
        value(expression, big=list(range(2000)), text="x" * 20_000)


def test_a_meter_tells_what_is_left() -> None:
    meter = Meter(100)
    compile_expression("l.all(x, x > 0)", {"l": list_of(INT)}).evaluate({"l": [1] * 10}, meter)
    assert 0 < meter.left < 100
    with pytest.raises(CostExceeded):
        compile_expression("l.all(x, x > 0)", {"l": list_of(INT)}).evaluate({"l": [1] * 99}, meter)


_WORDS = st.sampled_from(
    [*"+-*/%<>!?:.,()[]{}'\"", "==", "&&", "||", "in", "x", "y.a", "1", "2.5", "'s'", "true",
     "null", "has", ".all(", ".map(", "size(", "[1, 2]", "{'a': 1}", ".?a", "[?0]", "r'", "\\"]
)  # fmt: skip


@given(st.lists(_WORDS, max_size=12))
@settings(max_examples=400, deadline=None)
def test_any_text_is_compiled_or_refused_and_never_crashes(words: list[str]) -> None:
    try:
        program = compile_expression(" ".join(words), {"x": ANY, "y": ANY})
        program.evaluate({"x": [1, {"a": "b"}], "y": {"a": 3}})
    except (CompileError, CelError):
        pass


_INTS = st.integers(MIN_INT, MAX_INT)


@given(_INTS, _INTS)
def test_arithmetic_is_exact_or_an_overflow(left: int, right: int) -> None:
    for operator, exact in (("+", left + right), ("-", left - right), ("*", left * right)):
        if MIN_INT <= exact <= MAX_INT:
            assert value(f"l {operator} r", l=left, r=right) == exact
        else:
            with pytest.raises(EvalError, match="overflow"):
                value(f"l {operator} r", l=left, r=right)
    if right and (left, right) != (MIN_INT, -1):
        quotient, remainder = value("[l / r, l % r]", l=left, r=right)
        assert quotient * right + remainder == left
        assert abs(remainder) < abs(right)


_JSON = st.recursive(
    st.none() | st.booleans() | _INTS | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(_JSON, _JSON)
def test_equality_is_that_of_values(left: Any, right: Any) -> None:
    assert value("l == l && l in [l] && {'k': l} == {'k': l}", l=left) is True
    assert value("l == r", l=left, r=right) is equal(right, left)
    assert equal(Optional(left), Optional(left))


@given(st.lists(_INTS, max_size=20), _INTS)
def test_macros_are_their_python_counterparts(items: list[int], limit: int) -> None:
    variables = {"l": list_of(INT), "n": INT}
    values = {"l": items, "n": limit}

    def run(expression: str) -> Any:
        return compile_expression(expression, variables).evaluate(values)

    assert run("l.all(x, x < n)") is all(x < limit for x in items)
    assert run("l.exists(x, x < n)") is any(x < limit for x in items)
    assert run("l.filter(x, x < n)") == [x for x in items if x < limit]
    assert run("l.map(x, x == n)") == [x == limit for x in items]
    assert run("l.exists_one(x, x < n)") is (sum(x < limit for x in items) == 1)


@given(st.text(), st.text())
def test_text_functions_agree_with_each_other(text: str, part: str) -> None:
    assert value("t.contains(p) == (t.indexOf(p) >= 0)", t=text, p=part) is True
    assert value("p == '' || t.split(p).join(p) == t", t=text, p=part) is True
    assert value("(t + p).startsWith(t) && (t + p).endsWith(p)", t=text, p=part) is True
    assert value("t.size()", t=text) == len(text)


@given(st.datetimes(dt.datetime(1, 1, 2), dt.datetime(9999, 12, 30)))
def test_times_survive_being_written(moment: dt.datetime) -> None:
    assert value("timestamp(string(t)) == t", t=moment.replace(tzinfo=dt.UTC)) is True

"""The expression language: facts of expr-lang 1.17 and sprig 3, and laws for all values."""

from __future__ import annotations

import datetime as dt
import json
import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kubeling.workflows.expressions import ExpressionError, exprlang
from kubeling.workflows.expressions.gotext import go_json, go_text, parse_json
from kubeling.workflows.expressions.gotime import format_moment, parse_moment
from kubeling.workflows.expressions.sprig import FUNCTIONS, REFUSED

ENVIRONMENT: dict[str, Any] = {
    "n": 3,
    "name": "Ada",
    "list": [3, 1, 2],
    "people": [{"name": "a", "age": 30}, {"name": "b", "age": 20}, {"name": "c", "age": 30}],
    "deep": {"a-b": {"c": "x"}},
    "text": '{"a": [{"k": 1}, {"k": 2}], "b": {"c": "d"}}',
}


def value_of(expression: str) -> Any:
    return exprlang.evaluate(expression, ENVIRONMENT)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        # literals and operators
        ("1_000 + 0x10 + 0b11 + 0o17", 1034),
        (".5 + 1e3", 1000.5),
        (r'"\u0041\x42\n"', "AB\n"),
        (r"`raw\n`", r"raw\n"),
        ("7 / 2", 3.5),
        ("-7 % 3", -1),
        ("2 ** 3 ** 2", 512.0),
        ("-2 ** 2", -4.0),
        ("1 < n && n <= 3", True),
        ("1 < n < 3", False),
        ("3 > n or not (n == 3)", False),
        ("1..3", [1, 2, 3]),
        ("'a' + 'b' == 'ab'", True),
        ("1 == 1.0", True),
        ("1 == true", False),
        ("2 in list and 9 not in list", True),
        ('"a-b" in deep', True),
        ("name contains 'da' and name startsWith 'A' and name endsWith 'a'", True),
        ("name matches '^A.*'", True),
        ("name not matches 'x'", True),
        ("n > 2 ? 'big' : 'small'", "big"),
        ("nil ?: 'other'", "other"),
        ("deep.none?.c ?? 'gone'", "gone"),
        ("deep?.['a-b']?.c", "x"),
        ("list[-1]", 2),
        ("list[1:]", [1, 2]),
        ("name[:2]", "Ad"),
        ("$env.n", 3),
        # statements
        ("let x = 2; let y = x * n; y + 1", 7),
        ("if n > 5 { 'a' } else if n > 2 { 'b' } else { 'c' }", "b"),
        ("n // comment\n + /* and */ 1", 4),
        # predicates
        ("filter(people, .age > 25) | map(.name)", ["a", "c"]),
        ("map(list, {# * #index})", [0, 1, 4]),
        ("all(list, # > 0) and any(list, # == 2)", True),
        ("one(list, # == 3) and none(list, # > 3)", True),
        ("count(people, .age == 30)", 2),
        ("find(people, .age < 25).name", "b"),
        ("findIndex(list, # == 2)", 2),
        ("findLast(people, .age == 30).name", "c"),
        ("findLastIndex(people, .age == 30)", 2),
        ("groupBy(people, string(.age))['30'] | map(.name)", ["a", "c"]),
        ("sortBy(people, .age) | map(.name)", ["b", "a", "c"]),
        ("sortBy(people, .age, 'desc') | map(.name)", ["a", "c", "b"]),
        ("reduce(list, #acc * 10 + #)", 312),
        ("reduce(list, #acc + #, 100)", 106),
        ("sum(people, .age)", 80),
        # functions
        ("asInt('12') + int(3.9) + int('4')", 19),
        ("float('1.5') + asFloat(1)", 2.5),
        ("string(1.0) + string(nil) + string([1, 'a'])", "1<nil>[1 a]"),
        ("string({'k': true})", "map[k:true]"),
        ("toJson({'b': 1, 'a': '<&>'})", r'{"a":"\u003c\u0026\u003e","b":1}'),
        ("toJSON({'a': [1]})", '{\n  "a": [\n    1\n  ]\n}'),
        ("fromJSON('{\"a\": [1]}').a[0]", 1.0),
        ("fromBase64(toBase64('héllo'))", "héllo"),
        ("len('abc') + len(list) + len(deep)", 7),
        ("type(1) + type(1.5) + type('') + type(nil)", "intfloatstringnil"),
        ("type([]) + type({})", "arraymap"),
        ("abs(-2) + ceil(1.2) + floor(1.8) + round(2.5)", 8.0),
        ("trim('  a ') + trim('__a_', '_')", "aa"),
        ("trimPrefix('ab', 'a') + trimSuffix('ab', 'b')", "ba"),
        ("upper('a') + lower('B')", "Ab"),
        ("split('a,b,c', ',', 2)", ["a", "b,c"]),
        ("splitAfter('a,b', ',')", ["a,", "b"]),
        ("replace('aaa', 'a', 'b', 2) + repeat('x', 2)", "bbaxx"),
        ("join(['a', 'b'], '-') + join(['c', 'd'])", "a-bcd"),
        ("indexOf('banana', 'na') + lastIndexOf('banana', 'na')", 6),
        ("hasPrefix('ab', 'a') and hasSuffix('ab', 'b')", True),
        ("max(1, [5, 2]) + min([4, 3])", 8),
        ("mean([1, 2, 3]) + median([1, 3, 2, 10])", 4.5),
        ("first(list) + last(list) + get(list, 9) ?? 0", 5),
        ("get({'a': 1}, 'a')", 1),
        ("take(list, 2)", [3, 1]),
        ("keys({'b': 1, 'a': 2}) == ['a', 'b'] and values({'b': 1, 'a': 2}) == [2, 1]", True),
        ("fromPairs(toPairs({'a': 1}))", {"a": 1}),
        ("reverse(list)", [2, 1, 3]),
        ("uniq([1, 1.0, 'a', 'a'])", [1, "a"]),
        ("concat([1], [2])", [1, 2]),
        ("flatten([1, [2, [3]]])", [1, 2, 3]),
        ("sort(list, 'desc')", [3, 2, 1]),
        ("bitand(6, 3) + bitor(4, 1) + bitxor(7, 2) + bitshl(1, 3) + bitshr(8, 2)", 22),
        ("bitushr(-1, 60)", 15),
        ("duration('90m').Hours()", 1.5),
        ("(date('2026-01-02') - date('2026-01-01')).Hours()", 24.0),
        ("date('02.01.2026', '02.01.2006').Year()", 2026),
        ("date('2026-03-01 00:00:00') > date('2026-02-01 00:00:00')", True),
        # jsonpath
        ("jsonpath(text, '$.b.c')", "d"),
        ("jsonpath(text, '$.a[1].k')", 2.0),
        ("jsonpath(text, '$.a[*].k')", [1.0, 2.0]),
        ("jsonpath(text, '$..k')", [1.0, 2.0]),
        ("jsonpath(text, '$.a[?(@.k > 1)].k')", [2.0]),
        ("jsonpath(text, \"$['b']['c']\")", "d"),
    ],
)  # fmt: skip
def test_expressions_mean_what_they_mean_upstream(expression: str, expected: Any) -> None:
    found = value_of(expression)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("trim('  a ')", "a"), ("trimAll('$', '$5$')", "5"), ("abbrev(5, 'hello world')", "he..."),
        ("abbrevboth(5, 10, '1234 5678 9123')", "...5678..."), ("trunc(3, 'hello')", "hel"),
        ("trunc(-2, 'hello')", "lo"), ("title('hello world')", "Hello World"),
        ("untitle('Hello World')", "hello world"), ("substr(1, 3, 'hello')", "el"),
        ("nospace(' a b ')", "ab"), ("initials('First Try')", "FT"), ("repeat(2, 'ab')", "abab"),
        ("swapcase('aB')", "Ab"), ("snakecase('FirstName')", "first_name"),
        ("camelcase('http_server')", "HttpServer"), ("kebabcase('FirstName')", "first-name"),
        ("wrap(5, 'Hello World')", "Hello\nWorld"),
        ("wrapWith(5, '-', 'Hello World')", "Hello-World"), ("contains('a', 'cat')", True),
        ("quote('a', 'b\"')", r'"a" "b\""'), ("squote('a')", "'a'"),
        ("cat('a', 'b')", "a b"), ("indent(2, 'a\nb')", "  a\n  b"),
        ("nindent(1, 'a')", "\n a"), ("replace('a', 'b', 'banana')", "bbnbnb"),
        ("plural('one', 'many', 2)", "many"), ("splitList('$', 'a$b')", ["a", "b"]),
        ("split('$', 'a$b')._1", "b"), ("splitn('$', 2, 'a$b$c')._1", "b$c"),
        ("join('_', [1, 'a'])", "1_a"), ("sortAlpha(['b', 'a'])", ["a", "b"]),
        ("toString(1.5)", "1.5"), ("toStrings([1, 2])", ["1", "2"]),
        ("regexMatch('^a.c$', 'abc')", True), ("regexFind('[0-9]+', 'a12b3')", "12"),
        ("regexFindAll('[0-9]', '1a2b3', 2)", ["1", "2"]),
        ("regexReplaceAll('a(x*)b', '-ab-axxb-', '${1}W')", "-W-xxW-"),
        ("regexReplaceAllLiteral('a', 'banana', '$1')", "b$1n$1n$1"),
        ("regexSplit('z+', 'pizza', -1)", ["pi", "a"]), ("regexQuoteMeta('1.2')", r"1\.2"),
        ("int('12')", 12), ("int64('x')", 0), ("float64('1.5')", 1.5), ("atoi('7')", 7),
        ("toDecimal('0777')", 511), ("add(1, '2', 3)", 6), ("add1(1)", 2), ("sub(5, 2)", 3),
        ("div(-7, 2)", -3), ("mod(-7, 2)", -1), ("mul(2, 3, 4)", 24), ("max(1, 3, 2)", 3),
        ("min(3, 1)", 1), ("maxf(1, 2.5)", 2.5), ("addf(1.5, 2)", 3.5), ("subf(7.5, 2, 3)", 2.5),
        ("divf(10, 4)", 2.5), ("mulf(1.5, 2)", 3.0), ("ceil(1.1)", 2.0), ("floor(1.9)", 1.0),
        ("round(123.5555, 3)", 123.556), ("round(123.4998, 3, 0.9)", 123.499),
        ("until(3)", [0, 1, 2]), ("untilStep(3, 7, 2)", [3, 5]), ("seq(5)", "1 2 3 4 5"),
        ("seq(0, 2, 6)", "0 2 4 6"), ("seq(2, -1)", "2 1 0 -1"),
        ("default('x', '')", "x"), ("default('x', 'y')", "y"), ("empty([])", True),
        ("coalesce(0, '', 'c')", "c"), ("ternary('a', 'b', false)", "b"),
        ("fromJson('[1]')", [1.0]), ("toJson({'a': '<'})", r'{"a":"\u003c"}'),
        ("toRawJson({'a': '<'})", '{"a":"<"}'), ("toPrettyJson([1])", "[\n  1\n]"),
        ("dict('a', 1, 'b').b", ""), ("get(sprig.dict('a', 1), 'b')", ""),
        ("hasKey(sprig.dict('a', 1), 'a')", True), ("keys(sprig.dict('b', 1, 'a', 2))", ["a", "b"]),
        ("pluck('a', sprig.dict('a', 1), sprig.dict('a', 2))", [1, 2]),
        ("pick(sprig.dict('a', 1, 'b', 2), 'a')", {"a": 1}),
        ("omit(sprig.dict('a', 1, 'b', 2), 'a')", {"b": 2}),
        ("merge(sprig.dict('a', 1), sprig.dict('a', 2, 'b', 3))", {"a": 1, "b": 3}),
        ("mergeOverwrite(sprig.dict('a', 1), sprig.dict('a', 2))", {"a": 2}),
        ("dig('a', 'b', 'none', sprig.dict('a', sprig.dict('b', 7)))", 7),
        ("append([1], 2)", [1, 2]), ("prepend([1], 0)", [0, 1]), ("first([1, 2])", 1),
        ("rest([1, 2])", [2]), ("last([1, 2])", 2), ("initial([1, 2])", [1]),
        ("reverse([1, 2])", [2, 1]), ("uniq([1, 1])", [1]), ("without([1, 2], 2)", [1]),
        ("has(2, [1, 2])", True),
        ("slice([1, 2, 3], 1, 2)", [2]), ("chunk(2, [1, 2, 3])", [[1, 2], [3]]),
        ("compact([0, 1, ''])", [1]), ("concat([1], [2])", [1, 2]), ("list(1, 'a')", [1, "a"]),
        ("b64enc('a')", "YQ=="), ("b64dec('YQ==')", "a"), ("b32enc('a')", "ME======"),
        ("sha256sum('')", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ("sha1sum('')", "da39a3ee5e6b4b0d3255bfef95601890afd80709"), ("adler32sum('a')", "6422626"),
        ("decryptAES('k', sprig.encryptAES('k', 'secret'))", "secret"),
        ("typeOf('a')", "string"), ("kindOf([])", "slice"), ("kindIs('int', 1)", True),
        ("deepEqual([1], [1])", True), ("base('/a/b.c')", "b.c"), ("dir('/a/b')", "/a"),
        ("ext('a.tar.gz')", ".gz"), ("clean('/a/../b')", "/b"), ("isAbs('/a')", True),
        ("urlParse('http://u:p@h:80/p?q=1#f').host", "h:80"),
        (
            "urlJoin(sprig.dict('scheme', 'http', 'host', 'h', 'path', '/p', 'query', 'q=1'))",
            "http://h/p?q=1",
        ),
        ("semver('1.2.3-beta.1').Minor", 2), ("semverCompare('^1.2.0', '1.9.1')", True),
        ("semverCompare('~1.2', '1.3.0')", False),
        ("semverCompare('>=1.2 <2 || >3', '4.1.0')", True),
        ("semverCompare('1.2.x', '1.2.9')", True), ("duration(95)", "1m35s"),
        ("durationRound('2h10m5s')", "2h"),
        ("dateInZone('2006-01-02 15:04', 0, 'UTC')", "1970-01-01 00:00"),
        ("date('2006', sprig.toDate('2006-01-02', '2017-12-31'))", "2017"),
        ("unixEpoch(sprig.toDate('2006-01-02', '1970-01-02'))", "86400"),
        (
            "htmlDate(sprig.dateModify('48h', sprig.toDate('2006-01-02', '2020-02-27')))",
            "2020-02-29",
        ),
    ],
)  # fmt: skip
def test_sprig_functions_give_what_they_give_upstream(expression: str, expected: Any) -> None:
    found = value_of(f"sprig.{expression}")
    assert found == expected
    assert type(found) is type(expected)


def test_sprig_is_complete() -> None:
    assert len(FUNCTIONS) == 209
    assert not {"env", "expandenv"} & FUNCTIONS.keys()
    for name in REFUSED:
        with pytest.raises(ExpressionError, match=f"sprig.{name} is not supported"):
            value_of(f"sprig.{name}()")


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("let x = 1", 'a ";" is missing'),
        ("let len = 1; len", "cannot redeclare builtin len"),
        ("#", "only known inside a predicate"),
        ("list[7]", "index out of range: 7"),
        ("1 < 'a'", "compare two numbers or two strings"),
        ("sprig.nothing()", 'unknown function "sprig.nothing"'),
        ("sprig.fail('why')", "why"),
        ("fromJSON('{')", "not JSON"),
        ("name matches '('", "not a regular expression"),
        ("reduce([], #acc)", "reduce of empty array"),
        ("jsonpath(text, '$.none')", "nothing is at"),
        ("now().Nothing()", "has no method Nothing"),
        ("0..100000000", "memory budget exceeded"),
        ("len(upper)", 'unknown name "upper"'),
        ("upper('a', 'b', 'c', 'd')", "argument"),
    ],
)
def test_what_cannot_be_computed_says_why(expression: str, message: str) -> None:
    with pytest.raises(ExpressionError, match=message):
        value_of(expression)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(VALUES)
@example(3.0678534648130306e-05)
def test_json_comes_back_as_it_was(value: Any) -> None:
    assert parse_json(go_json(value)) == value
    assert parse_json(go_json(value, "  ")) == value
    assert json.loads(go_json(value, html=False)) == value


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_are_written_so_that_they_can_be_read(value: float) -> None:
    assert float(go_text(value)) == value


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_any_text_can_be_written_as_a_literal(text: str) -> None:
    assert value_of(json.dumps(text, ensure_ascii=False)) == text


NUMBERS = st.integers(-50, 50).map(str)
ARITHMETIC = st.recursive(
    NUMBERS,
    lambda inner: st.tuples(inner, st.sampled_from(["+", "-", "*"]), inner).map(
        lambda parts: f"({parts[0]} {parts[1]} {parts[2]})"
    ),
)


@given(ARITHMETIC, st.sampled_from(["+", "-", "*"]), ARITHMETIC)
def test_arithmetic_is_arithmetic(left: str, sign: str, right: str) -> None:
    text = f"{left} {sign} {right}"
    assert value_of(text) == eval(text)


@given(st.lists(st.integers(-9, 9)), st.integers(-9, 9))
def test_predicates_agree_with_each_other(numbers: list[int], limit: int) -> None:
    environment = {"v": numbers, "limit": limit}

    def run(text: str) -> Any:
        return exprlang.evaluate(text, environment)

    assert run("count(v, # > limit) == len(filter(v, # > limit))")
    assert run("all(v, # > limit) == none(v, # <= limit)")
    assert run("any(v, # > limit) == (findIndex(v, # > limit) >= 0)")
    assert run("sum(v) == reduce(v, #acc + #, 0)")
    assert run("sort(v) == sortBy(v, #)")
    assert run("reverse(sort(v)) == sort(v, 'desc')")


@given(st.datetimes(dt.datetime(1000, 1, 1), timezones=st.just(dt.UTC)))
def test_moments_come_back_by_their_layout(moment: dt.datetime) -> None:
    layout = "2006-01-02T15:04:05.000000Z07:00"
    assert parse_moment(format_moment(moment, layout), layout) == moment


def test_infinity_has_no_text() -> None:
    assert math.isinf(value_of("1 / 0"))
    with pytest.raises(ExpressionError, match="unsupported value"):
        exprlang.text_of(value_of("1 / 0"))

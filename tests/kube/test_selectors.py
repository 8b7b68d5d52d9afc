"""Label selectors mean what they mean in Kubernetes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeling.kube.errors import BadRequest
from kubeling.kube.selectors import LabelSelector, Requirement, from_object, parse

KEYS = st.from_regex(r"[a-z]([-a-z0-9]{0,8}[a-z0-9])?", fullmatch=True).filter(
    lambda key: key not in ("in", "notin")
)
VALUES = st.from_regex(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,8}[A-Za-z0-9])?)?", fullmatch=True)
REQUIREMENTS = st.one_of(
    st.builds(
        Requirement,
        KEYS,
        st.sampled_from(["In", "NotIn"]),
        st.frozensets(VALUES, min_size=1, max_size=3),
    ),
    st.builds(Requirement, KEYS, st.sampled_from(["Exists", "DoesNotExist"])),
)
LABELS = st.dictionaries(KEYS, VALUES, max_size=4)


@pytest.mark.parametrize(
    ("selector", "matching", "other"),
    [
        ("app=web", {"app": "web"}, {"app": "db"}),
        ("app==web", {"app": "web"}, {}),
        ("app!=web", {}, {"app": "web"}),
        ("tier in (a, b)", {"tier": "b"}, {"tier": "c"}),
        ("tier notin (a,b)", {"x": "y"}, {"tier": "a"}),
        ("canary", {"canary": ""}, {}),
        ("!canary", {}, {"canary": "yes"}),
        ("app=web,!canary", {"app": "web"}, {"app": "web", "canary": "1"}),
        ("example.com/name=x", {"example.com/name": "x"}, {"name": "x"}),
    ],
)
def test_a_selector_picks_what_it_says(
    selector: str, matching: dict[str, str], other: dict[str, str]
) -> None:
    assert parse(selector).matches(matching)
    assert not parse(selector).matches(other)


@pytest.mark.parametrize(
    "text", ["a=b c", "=b", "a in b", "a,,b", "a=b,", "-a=b", "a in (x", "a=é"]
)
def test_what_is_no_selector_is_refused_with_its_text(text: str) -> None:
    with pytest.raises(BadRequest, match="unable to parse requirement"):
        parse(text)


@given(st.lists(REQUIREMENTS, max_size=4), LABELS)
def test_a_selector_survives_being_written_and_read(
    requirements: list[Requirement], labels: dict[str, str]
) -> None:
    selector = LabelSelector(tuple(requirements))
    assert parse(str(selector)).matches(labels) == selector.matches(labels)


def test_an_empty_object_selects_everything_and_none_selects_nothing() -> None:
    assert from_object({}).matches({"any": "thing"})
    assert not from_object(None).matches({"any": "thing"})


def test_match_labels_and_expressions_must_all_hold() -> None:
    selector = from_object(
        {
            "matchLabels": {"app": "web"},
            "matchExpressions": [{"key": "tier", "operator": "In", "values": ["a"]}],
        }
    )
    assert selector.matches({"app": "web", "tier": "a"})
    assert not selector.matches({"app": "web", "tier": "b"})

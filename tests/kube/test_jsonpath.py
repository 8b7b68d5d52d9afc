"""The JSONPath dialect of printer columns."""

import pytest

from kubeling.kube.jsonpath import JsonPathError, compile_path, set_path

OBJ = {
    "metadata": {"annotations": {"example.com/x": "1"}},
    "status": {
        "conditions": [
            {"type": "Ready", "status": "True"},
            {"type": "Failed", "status": "False"},
        ]
    },
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (".status.conditions[0].type", "Ready"),
        (".status.conditions[-1].type", "Failed"),
        (".status.conditions[-1:].type", "Failed"),
        (".status.conditions[:1].type", "Ready"),
        ("{.status.conditions[0].status}", "True"),
        ('.status.conditions[?(@.type=="Failed")].status', "False"),
        (".status.conditions[?(@.type=='Ready')].status", "True"),
        (".status.conditions[*].type", "Ready"),
        (".metadata.annotations.example\\.com/x", "1"),
        (".metadata.annotations['example.com/x']", "1"),
        (".status.nothing.here", None),
        (".status.conditions[7].type", None),
    ],
)
def test_a_path_finds_its_value(path: str, value: str | None) -> None:
    assert compile_path(path)(OBJ) == value


def test_a_path_can_be_set() -> None:
    obj: dict[str, object] = {}
    set_path(obj, ".spec.replicas", 3)
    assert obj == {"spec": {"replicas": 3}}


def test_what_is_not_in_the_dialect_is_refused() -> None:
    with pytest.raises(JsonPathError):
        compile_path(".a[")

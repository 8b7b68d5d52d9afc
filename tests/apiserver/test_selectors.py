"""Field selectors: each kind can be selected by the fields it can on any cluster."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeling.apiserver.selectors import field_selector
from kubeling.apiserver.served import FreeShape, Served
from kubeling.apiserver.strategy import Strategy
from kubeling.kube.errors import BadRequest
from kubeling.kube.resources import EVENTS, JOBS, NODES, PODS, SECRETS, Resource

Obj = dict[str, Any]


def served(resource: Resource, *selectable: str) -> Served:
    return Served(resource, resource, Strategy(), FreeShape(), selectable_fields=selectable)


def matches(selector: str, obj: Obj, resource: Resource = PODS, *selectable: str) -> bool:
    terms = field_selector(selector, served(resource, *selectable))
    return all(term.matches(obj) for term in terms)


POD = {
    "metadata": {"name": "a", "namespace": "ns"},
    "spec": {"nodeName": "laptop", "restartPolicy": "Never"},
    "status": {"phase": "Running"},
}


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        ("", True),
        ("metadata.name=a", True),
        ("metadata.name==a", True),
        ("metadata.name!=a", False),
        ("metadata.name=a,status.phase=Running", True),
        ("metadata.name=a,status.phase=Failed", False),
        ("metadata.namespace=ns,spec.nodeName=laptop", True),
        ("status.podIP=", True),
        ("status.podIP!=", False),
        ("spec.hostNetwork=false", True),
    ],
)
def test_terms_all_hold(selector: str, found: bool) -> None:
    assert matches(selector, POD) == found


def test_a_field_without_index_is_refused_with_those_that_have_one() -> None:
    with pytest.raises(BadRequest, match=r'not supported: "spec\.containers"') as raised:
        matches("spec.containers=x", POD)
    assert "status.phase" in raised.value.message


@pytest.mark.parametrize("text", ["metadata.name", "=a", "a>b"])
def test_what_is_no_selector_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="invalid selector"):
        matches(text, POD)


@pytest.mark.parametrize(
    ("resource", "obj", "selector"),
    [
        (EVENTS, {"involvedObject": {"uid": "u"}}, "involvedObject.uid=u"),
        (EVENTS, {"involvedObject": {"name": "p"}}, "regarding.name=p"),
        (EVENTS, {"source": {"component": "kubelet"}}, "source=kubelet"),
        (EVENTS, {"reportingComponent": "kubelet"}, "source=kubelet"),
        (SECRETS, {"type": "Opaque"}, "type=Opaque"),
        (NODES, {"spec": {}}, "spec.unschedulable=false"),
        (NODES, {"spec": {"unschedulable": True}}, "spec.unschedulable=true"),
        (JOBS, {"status": {"succeeded": 2}}, "status.successful=2"),
    ],
)
def test_fields_of_particular_kinds(resource: Resource, obj: Obj, selector: str) -> None:
    assert matches(selector, {"metadata": {}, **obj}, resource)


def test_a_definition_can_name_its_own_fields() -> None:
    widgets = Resource("example.com", "v1", "Widget", "widgets", True, (), ())
    obj = {"metadata": {"name": "a"}, "spec": {"color": "blue"}}
    assert matches("spec.color=blue", obj, widgets, "spec.color")
    assert not matches("spec.color=red", obj, widgets, "spec.color")
    with pytest.raises(BadRequest):
        matches("spec.color=blue", obj, widgets)


VALUES = st.text(st.characters(exclude_categories=["Z", "C"]), max_size=8)


def escaped(value: str) -> str:
    for special in "\\,=":
        value = value.replace(special, f"\\{special}")
    return value


@given(VALUES, VALUES)
def test_any_value_can_be_asked_for_and_not_being_it_is_the_opposite(
    name: str, wanted: str
) -> None:
    obj = {"metadata": {"name": name}}
    same = matches(f"metadata.name={escaped(wanted)}", obj)
    assert same == (name == wanted)
    assert matches(f"metadata.name!={escaped(wanted)}", obj) != same

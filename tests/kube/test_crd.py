"""Definitions generated from typed structs."""

from typing import Annotated, Literal

import msgspec

from kubeling.kube.crd import (
    Column,
    Condition,
    IntOrString,
    PodTemplateSpec,
    Scale,
    crd,
    portable,
    schema_of,
)
from kubeling.kube.resources import Resource

WIDGETS = Resource("example.com", "v1", "Widget", "widgets", True, ("wd",), ("all",))


class Part(msgspec.Struct, rename="camel"):
    """A piece of a widget."""

    part_name: str
    count: Annotated[int, msgspec.Meta(ge=0, le=9)] = 1


class Spec(msgspec.Struct, rename="camel", kw_only=True):
    """What a widget is made of."""

    template: PodTemplateSpec
    parts: list[Part] = []
    colour: Literal["red", "blue"] = "red"
    port: IntOrString | None = None
    labels: dict[str, str] = {}


class Status(msgspec.Struct):
    conditions: list[Condition] = []


def test_names_defaults_bounds_and_requirements_come_from_the_struct() -> None:
    schema = schema_of(Spec)
    assert schema["required"] == ["template"]
    assert schema["description"] == "What a widget is made of."
    assert schema["properties"]["colour"] == {
        "type": "string",
        "enum": ["red", "blue"],
        "default": "red",
    }
    assert schema["properties"]["labels"]["additionalProperties"] == {"type": "string"}
    assert schema["properties"]["port"] == {"x-kubernetes-int-or-string": True}
    part = schema["properties"]["parts"]["items"]
    assert part["required"] == ["partName"]
    assert part["properties"]["count"] == {
        "type": "integer",
        "format": "int64",
        "minimum": 0,
        "maximum": 9,
        "default": 1,
    }


def test_a_pod_template_preserves_its_fields_and_says_what_it_is() -> None:
    node = schema_of(Spec)["properties"]["template"]
    assert node["x-kubernetes-preserve-unknown-fields"] is True
    assert node["x-kubeling-ref"] == "io.k8s.api.core.v1.PodTemplateSpec"
    assert "io.k8s.api.core.v1.PodTemplateSpec" in node["description"]
    assert "x-kubeling-ref" not in portable(node)


def test_the_definition_carries_names_subresources_and_columns() -> None:
    definition = crd(
        WIDGETS,
        Spec,
        Status,
        columns=[Column("Colour", ".spec.colour")],
        scale=Scale(label_selector=".status.selector"),
    )
    assert definition["metadata"]["name"] == "widgets.example.com"
    assert definition["spec"]["names"]["shortNames"] == ["wd"]
    (version,) = definition["spec"]["versions"]
    assert version["subresources"]["status"] == {}
    assert version["subresources"]["scale"]["labelSelectorPath"] == ".status.selector"
    assert [c["name"] for c in version["additionalPrinterColumns"]] == ["Colour", "Age"]

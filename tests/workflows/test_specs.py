"""A workflow's spec over its template's, and over what all workflows are given."""

from __future__ import annotations

from kubeling.workflows.specs import defaults_patch, merged_spec


def test_objects_are_joined_field_by_field_and_named_lists_by_name() -> None:
    template = {
        "entrypoint": "main",
        "podMetadata": {"labels": {"a": "1", "b": "1"}},
        "templates": [{"name": "main", "suspend": {}}, {"name": "other", "suspend": {}}],
        "synchronization": {"mutexes": [{"name": "m"}]},
    }
    own = {
        "entrypoint": "",
        "podMetadata": {"labels": {"b": "2"}},
        "templates": [{"name": "other", "dag": {}}],
        "synchronization": {"mutexes": [{"name": "n"}]},
    }
    assert merged_spec(own, template) == {
        "entrypoint": "main",
        "podMetadata": {"labels": {"a": "1", "b": "2"}},
        "templates": [{"name": "main", "suspend": {}}, {"name": "other", "dag": {}}],
        "synchronization": {"mutexes": [{"name": "n"}]},
    }


def test_an_argument_that_is_only_named_has_the_templates_value() -> None:
    template = [
        {"name": "a", "value": "1", "enum": ["1", "2"]},
        {"name": "b", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}},
        {"name": "c", "value": "3"},
    ]
    own = [{"name": "a"}, {"name": "b", "value": "2"}]
    merged = merged_spec(
        {"arguments": {"parameters": own}}, {"arguments": {"parameters": template}}
    )
    assert merged["arguments"]["parameters"] == [
        {"name": "a", "value": "1", "enum": ["1", "2"]},
        {"name": "b", "value": "2"},
        {"name": "c", "value": "3"},
    ]


def test_defaults_are_written_once() -> None:
    defaults = {"spec": {"podGC": {"strategy": "OnPodSuccess"}}, "metadata": {"labels": {"a": "1"}}}
    workflow = {"metadata": {"name": "wf"}, "spec": {"entrypoint": "main"}}
    patch = defaults_patch(workflow, None, defaults)
    assert patch == defaults
    after = {
        "metadata": {"name": "wf", **patch["metadata"]},
        "spec": {**workflow["spec"], **patch["spec"]},
    }
    assert defaults_patch(after, None, defaults) == {}

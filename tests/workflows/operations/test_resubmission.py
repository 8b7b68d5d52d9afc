"""A Workflow once more under a new name."""

from __future__ import annotations

import pytest
from tests.workflows.operations.test_retrying import DAG, STEPS, ended, ran
from tests.workflows.simulation import START, World

from kubeling.kube.objects import Obj
from kubeling.workflows.operations.errors import OperationRefused
from kubeling.workflows.operations.resubmission import LABEL_PREVIOUS, resubmitted


def again(workflow: Obj, *, memoized: bool, parameters: tuple[str, ...] = ()) -> Obj:
    return resubmitted(workflow, memoized=memoized, parameters=parameters, now=START)


def test_labels_and_annotations_go_along_but_not_what_speaks_of_the_end() -> None:
    it = ended(DAG)
    it.workflow["metadata"]["labels"] = {
        "team": "a",
        "workflows.argoproj.io/phase": "Succeeded",
        "workflows.argoproj.io/completed": "true",
    }
    it.workflow["metadata"]["annotations"] = {"note": "b"}
    new = again(it.workflow, memoized=False, parameters=("text=2",))
    assert new["metadata"] == {
        "generateName": "wf-",
        "namespace": "ns",
        "labels": {"team": "a", LABEL_PREVIOUS: "wf"},
        "annotations": {"note": "b"},
    }
    assert new["spec"]["arguments"] == {"parameters": [{"name": "text", "value": "2"}]}
    assert "status" not in new


@pytest.mark.parametrize(
    ("text", "words", "left"),
    [(DAG, "b ", ["b 1", "d 1"]), (STEPS, "each(1:2)", ["each(1:2)", "last", "bye"])],
)
def test_memoized_what_succeeded_is_not_run_again(text: str, words: str, left: list[str]) -> None:
    new = again(ended(text, words).workflow, memoized=True)
    name = new["metadata"]["name"]
    assert name.startswith("wf-")
    new["metadata"].update(uid="u2", creationTimestamp="2026-01-01T00:00:00Z")
    it = World(new)
    it.run()
    assert it.execution.phase == "Succeeded"
    assert len(ran(it)) == len(left)
    assert all(any(word in words for words in ran(it)) for word in left)
    assert all(node.name.startswith(name) for node in it.execution.nodes.values())
    skipped = [n for n in it.execution.nodes.values() if n.message.startswith("original pod: wf-")]
    assert skipped
    assert {node.phase for node in skipped} == {"Skipped"}


def test_memoized_attempts_are_counted_anew() -> None:
    text = DAG.replace("  - name: say\n", "  - name: say\n    retryStrategy: {limit: 1}\n")
    new = again(ended(text, "b ").workflow, memoized=True)
    shown = {node["displayName"] for node in new["status"]["nodes"].values()}
    assert "b" in shown
    assert not {"b(0)", "b(1)"} & shown
    new["metadata"].update(uid="u2", creationTimestamp="2026-01-01T00:00:00Z")
    it = World(new)
    it.run()
    assert it.execution.phase == "Succeeded"
    assert ran(it) == ["b 1", "d 1"]


def test_only_what_failed_can_be_memoized() -> None:
    with pytest.raises(OperationRefused, match="must be Failed/Error"):
        again(ended(DAG).workflow, memoized=True)

"""What kubectl shows of training jobs, and what it can scale."""

from __future__ import annotations

from typing import Any

from kubeling.training.resources import crds


def versions() -> dict[str, dict[str, Any]]:
    """The served version of every kind."""
    return {d["spec"]["names"]["kind"]: d["spec"]["versions"][0] for d in crds()}


def test_the_workers_of_three_kinds_can_be_scaled() -> None:
    scaled = {
        kind: version["subresources"]["scale"]["specReplicasPath"]
        for kind, version in versions().items()
        if "scale" in version["subresources"]
    }
    assert scaled == {
        "PyTorchJob": ".spec.pytorchReplicaSpecs.Worker.replicas",
        "PaddleJob": ".spec.paddleReplicaSpecs.Worker.replicas",
        "JAXJob": ".spec.jaxReplicaSpecs.Worker.replicas",
    }


def test_all_show_their_state_and_age() -> None:
    for version in versions().values():
        columns = [column["name"] for column in version["additionalPrinterColumns"]]
        assert columns == ["State", "Age"]

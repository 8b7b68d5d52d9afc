"""Which volume a claim is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kubeling.engine.storage.binding import find_volume, mismatch, standard_class
from kubeling.engine.storage.provisioning import (
    ProvisionError,
    data_source,
    folder_of_volume,
    provision,
)
from kubeling.kube.objects import Obj, name

ROOT = Path("/data/volumes")


def claim(size: str = "1Gi", **spec: Any) -> Obj:
    return {
        "metadata": {"name": "data", "namespace": "team", "uid": "0123456789"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": size}},
            "storageClassName": "standard",
            **spec,
        },
    }


def volume(title: str, size: str = "1Gi", *, labels: Obj | None = None, **spec: Any) -> Obj:
    return {
        "metadata": {"name": title, "labels": labels or {}},
        "spec": {
            "capacity": {"storage": size},
            "accessModes": ["ReadWriteOnce", "ReadWriteMany"],
            "storageClassName": "standard",
            **spec,
        },
    }


def chosen(claim_: Obj, *volumes: Obj) -> str:
    found = find_volume(claim_, volumes)
    return name(found) if found else ""


def test_the_smallest_volume_that_does() -> None:
    assert chosen(claim("2Gi"), volume("a", "1Gi"), volume("b", "9Gi"), volume("c", "3Gi")) == "c"
    assert chosen(claim(accessModes=["ReadOnlyMany"]), volume("a")) == ""
    assert chosen(claim(volumeMode="Block"), volume("a")) == ""
    assert chosen(claim(storageClassName="fast"), volume("a")) == ""


def test_a_selector_says_which() -> None:
    wanted = claim(selector={"matchLabels": {"disk": "ssd"}})
    assert chosen(wanted, volume("a"), volume("b", labels={"disk": "ssd"})) == "b"


def test_a_volume_may_be_kept_for_a_claim() -> None:
    reserved = {"namespace": "team", "name": "data"}
    kept = volume("kept", "5Gi", claimRef=reserved)
    assert chosen(claim(), volume("small"), kept) == "kept"
    assert chosen(claim(), volume("kept", claimRef={**reserved, "name": "other"})) == ""
    assert chosen(claim(), volume("kept", claimRef={**reserved, "uid": "another"})) == ""


def test_a_claim_may_name_its_volume() -> None:
    assert chosen(claim(volumeName="b"), volume("a"), volume("b", "9Gi")) == "b"
    assert chosen(claim("2Gi", volumeName="b"), volume("b", "1Gi")) == ""
    assert mismatch(volume("b", "1Gi"), claim("2Gi")) == "requested PV is too small"


def test_what_is_to_be_filled_gets_a_volume_of_its_own() -> None:
    source = {"kind": "PersistentVolumeClaim", "name": "other"}
    assert chosen(claim(dataSource=source, dataSourceRef=source), volume("a")) == ""


def test_a_class_may_say_where_its_folders_are() -> None:
    fast = {**standard_class(), "parameters": {"path": "/fast"}}
    made = provision(claim(), fast, ROOT)
    assert str(made.folder) == "/fast/team/data-01234567"
    assert folder_of_volume(made.volume) == made.folder


def test_only_folders_that_were_made_here_go_with_their_volume() -> None:
    made = provision(claim(), standard_class(), ROOT).volume
    elsewhere = {**made, "spec": {**made["spec"], "hostPath": {"path": "/home"}}}
    assert folder_of_volume(elsewhere) is None
    by_hand = {**made, "metadata": {"name": "mine"}}
    assert folder_of_volume(by_hand) is None


@pytest.mark.parametrize(
    ("spec", "fields", "message"),
    [
        ({"volumeMode": "Block"}, {}, "volumeMode Block"),
        ({"volumeAttributesClassName": "gold"}, {}, "volumeAttributesClassName"),
        ({}, {"mountOptions": ["ro"]}, "mountOptions"),
        ({}, {"parameters": {"type": "pd"}}, 'invalid parameter "type"'),
        ({}, {"parameters": {"path": "fast"}}, "absolute path"),
    ],
)
def test_what_a_folder_cannot_be_is_refused(spec: Obj, fields: Obj, message: str) -> None:
    with pytest.raises(ProvisionError, match=message):
        provision(claim(**spec), {**standard_class(), **fields}, ROOT)


@pytest.mark.parametrize(
    "source",
    [
        {"kind": "Database", "apiGroup": "example.com", "name": "x"},
        {"kind": "PersistentVolumeClaim", "name": "x", "namespace": "other"},
    ],
)
def test_other_sources_are_refused(source: Obj) -> None:
    with pytest.raises(ProvisionError):
        data_source(claim(dataSourceRef=source))

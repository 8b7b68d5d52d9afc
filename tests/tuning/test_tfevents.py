"""Event files: what TensorFlow and PyTorch write is read, whole or not."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from kubeling.tuning.collector import EventFolder
from kubeling.tuning.tfevents import EventFileError, Scalar, metric_of, records, scalars

SIMPLE = b"\x0a\x04loss" + b"\x15" + struct.pack("<f", 0.5)
"""A summary's value with tag and ``simple_value``, as PyTorch writes it."""
TENSOR = b"\x08\x01" + b"\x22\x04" + struct.pack("<f", 0.25)
NEW = b"\x0a\x08accuracy" + b"\x42" + bytes([len(TENSOR)]) + TENSOR
"""The same as a tensor, as TensorFlow 2 writes it."""


def event(*values: bytes, time: float = 1.7e9) -> bytes:
    summary = b"".join(b"\x0a" + bytes([len(value)]) + value for value in values)
    return (
        b"\x09" + struct.pack("<d", time) + b"\x10\x07" + b"\x2a" + bytes([len(summary)]) + summary
    )


def record(data: bytes) -> bytes:
    return struct.pack("<Q4x", len(data)) + data + b"\0" * 4


def test_scalars_of_both_forms_are_read() -> None:
    assert scalars(event(SIMPLE, NEW)) == [
        Scalar("loss", 0.5, 1.7e9),
        Scalar("accuracy", 0.25, 1.7e9),
    ]


def test_what_holds_no_scalar_is_passed_over() -> None:
    assert scalars(b"\x09" + struct.pack("<d", 1.0) + b"\x1a\x0dbrain.Event:2") == []


def test_a_record_is_read_when_all_of_it_is_there() -> None:
    data = record(event(SIMPLE)) + record(event(NEW))
    assert records(data[:-1]) == ([event(SIMPLE)], len(record(event(SIMPLE))))
    assert records(data) == ([event(SIMPLE), event(NEW)], len(data))


def test_other_files_are_told_apart() -> None:
    with pytest.raises(EventFileError):
        records(b"this is certainly not an event file")


@pytest.mark.parametrize(
    ("tag", "folder", "name", "is_it"),
    [
        ("loss", "/logs", "loss", True),
        ("loss_1", "/logs", "loss", True),
        ("loss", "/logs/train", "train/loss", True),
        ("loss", "/logs/test", "train/loss", False),
        ("train/loss", "/logs", "train/loss", True),
        ("accuracy", "/logs", "loss", False),
    ],
)
def test_a_metric_may_name_the_folder_of_its_file(
    tag: str, folder: str, name: str, is_it: bool
) -> None:
    assert (metric_of(tag, folder, [name]) == name) is is_it


def test_files_are_read_on_from_where_they_were_left(tmp_path: Path) -> None:
    folder = EventFolder(tmp_path, ["loss"])
    assert folder.lines() == []
    (tmp_path / "run").mkdir()
    file = tmp_path / "run" / "events.out.tfevents.1"
    file.write_bytes(record(event(SIMPLE)))
    (tmp_path / "notes.txt").write_text("this is certainly not an event file")
    (line,) = folder.lines()
    assert json.loads(line) == {"timestamp": 1.7e9, "loss": "0.5"}
    with file.open("ab") as opened:
        opened.write(record(event(NEW)) + record(event(SIMPLE))[:9])
    assert folder.lines() == []
    with file.open("ab") as opened:
        opened.write(record(event(SIMPLE))[9:])
    assert len(folder.lines()) == 1


@pytest.mark.parametrize(
    "data",
    [
        b"this is certainly not an event file",
        record(b"\x2a\x05\x0a\x03\x12\x01\x00"),
        record(b"\x09"),
    ],
)
def test_a_file_of_another_kind_is_named_once_and_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], data: bytes
) -> None:
    folder = EventFolder(tmp_path, ["loss"])
    (tmp_path / "checkpoint").write_bytes(data)
    (tmp_path / "events.out.tfevents.1").write_bytes(record(event(SIMPLE)))
    assert len(folder.lines()) == 1
    assert folder.lines() == []
    assert capsys.readouterr().err.count("checkpoint is no event file") == 1

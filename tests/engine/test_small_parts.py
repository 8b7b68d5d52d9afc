"""Quantities, subnets, records and log lines: small pure parts that others rely on."""

import json
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeling.engine.envvars import expand
from kubeling.engine.net.subnet import choose_subnet
from kubeling.engine.rootfs import machine_disks
from kubeling.engine.sandbox.records import write
from kubeling.kube.quantities import format_quantity, parse_quantity


@pytest.mark.parametrize(
    ("text", "value"),
    [("100m", "0.1"), ("1.5", "1.5"), ("2Gi", str(2 * 1024**3)), ("1e3", "1000"), ("5k", "5000")],
)
def test_quantities(text: str, value: str) -> None:
    assert parse_quantity(text) == Decimal(value)


@pytest.mark.parametrize("text", ["", "lots", "1 Gi", "1KiB", "--1"])
def test_what_is_not_a_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity"):
        parse_quantity(text)


@given(st.integers(0, 10**15), st.booleans())
def test_a_quantity_survives_being_written(thousandths: int, binary: bool) -> None:
    value = Decimal(thousandths) / 1000
    assert parse_quantity(format_quantity(value, binary=binary)) == value


@given(st.text(max_size=40))
def test_records_are_json_whatever_the_message(text: str) -> None:
    import os
    import tempfile

    message = text.encode(errors="replace").decode()
    with tempfile.TemporaryDirectory() as folder:
        handle = os.open(folder, os.O_RDONLY)
        write(handle, "exit.json", {"message": message, "exit_code": 1})
        os.close(handle)
        found = json.loads(Path(folder, "exit.json").read_text())
    assert found == {"message": message, "exit_code": 1}


def test_a_subnet_avoids_what_the_machine_knows(tmp_path: Path) -> None:
    first = choose_subnet(tmp_path, "10.244.0.0/16", [("0.0.0.0", 0)])
    taken = [(str(first.network.network_address), 24)]
    second = choose_subnet(tmp_path, "10.244.0.0/16", taken)
    assert not first.network.overlaps(second.network)
    assert choose_subnet(tmp_path, "10.244.0.0/16", taken, str(first.network)) == first


def test_a_range_that_is_used_up_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"pod_cidr: every /24 of 10\.1\.0\.0/16 is in use"):
        choose_subnet(tmp_path, "10.1.0.0/16", [("10.0.0.0", 8)])


def test_the_machine_s_further_disks_are_found(tmp_path: Path) -> None:
    mounts = (
        "1 0 8:1 / / rw - ext4 /dev/sda rw\n"
        f"2 1 8:2 / {tmp_path} rw,relatime shared:1 - xfs /dev/sdb rw\n"
        "3 1 0:5 / /proc rw - proc proc rw\n"
    )
    assert machine_disks(mounts, ()) == (str(tmp_path),)
    assert machine_disks(mounts, (tmp_path,)) == ()


@pytest.mark.parametrize("kind", ["xfs", "squashfs", "erofs", "virtiofs"])
def test_disks_and_images_of_the_machine_are_seen_by_containers(tmp_path: Path, kind: str) -> None:
    line = "29 27 254:16 / {} ro,nosuid,nodev,relatime - {} /dev/vdb ro,errors=continue"
    assert machine_disks(line.format(tmp_path, kind), ()) == (str(tmp_path),)
    assert machine_disks(line.format("/snap/core/1", kind), ()) == ()


def test_what_the_kernel_shows_as_files_is_no_disk(tmp_path: Path) -> None:
    assert machine_disks(f"22 27 0:21 / {tmp_path} rw,relatime - cgroup2 cgroup2 rw", ()) == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [("$(A)", "1"), ("$$(A)", "$(A)"), ("$(B)", "$(B)"), ("$A $$ $", "$A $ $"), ("$(A", "$(A")],
)
def test_references_to_variables(text: str, expected: str) -> None:
    assert expand(text, {"A": "1"}) == expected

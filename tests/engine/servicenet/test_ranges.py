"""Instances on one machine do not share addresses."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubeling.engine.servicenet.ranges import choose_range


def test_the_same_folder_gets_the_same_range() -> None:
    assert choose_range(Path("/a"), [], routed=True) == choose_range(Path("/a"), [], routed=True)
    assert choose_range(Path("/a"), [], routed=True) != choose_range(Path("/b"), [], routed=True)


def test_a_range_in_use_is_left_alone() -> None:
    first = choose_range(Path("/a"), [], routed=True)
    taken = [(str(first.network.network_address), 20), ("0.0.0.0", 0)]
    assert not choose_range(Path("/a"), taken, routed=True).network.overlaps(first.network)


def test_a_range_once_chosen_stays() -> None:
    kept = choose_range(Path("/a"), [("10.96.0.0", 12)], "10.96.16.0/20", routed=True)
    assert kept.cidr == "10.96.16.0/20"


def test_without_root_services_are_on_the_loopback_network() -> None:
    chosen = choose_range(Path("/a"), [], "10.96.16.0/20", routed=False)
    assert chosen.network.is_loopback
    assert chosen.dns_address.startswith("127.")


def test_a_full_machine_is_an_error() -> None:
    with pytest.raises(ValueError, match="in use"):
        choose_range(Path("/a"), [("10.96.0.0", 12)], routed=True)

"""Conditions and references as every Kubernetes kind has them."""

import datetime as dt

from kubeling.kube.objects import (
    condition,
    is_owned_by,
    new_object,
    parse_time,
    remove_condition,
    set_condition,
)
from kubeling.kube.resources import CONFIG_MAPS, PODS

NOON = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
LATER = NOON + dt.timedelta(minutes=5)


def test_the_transition_time_moves_only_with_the_status() -> None:
    status: dict[str, object] = {}
    assert set_condition(status, "Ready", False, reason="Starting", now=NOON)
    assert set_condition(status, "Ready", False, reason="Waiting", now=LATER)
    (entry,) = status["conditions"]  # type: ignore[misc]
    assert (entry["reason"], entry["lastTransitionTime"]) == ("Waiting", "2026-01-01T12:00:00Z")
    assert set_condition(status, "Ready", True, reason="Started", now=LATER)
    (entry,) = status["conditions"]  # type: ignore[misc]
    assert entry["lastTransitionTime"] == "2026-01-01T12:05:00Z"


def test_setting_what_is_set_changes_nothing() -> None:
    status: dict[str, object] = {}
    set_condition(status, "Ready", True, reason="Up", now=NOON)
    assert not set_condition(status, "Ready", True, reason="Up", now=LATER)


def test_a_changed_condition_may_move_to_the_end() -> None:
    status: dict[str, object] = {}
    set_condition(status, "Created", True, now=NOON)
    set_condition(status, "Running", False, now=NOON)
    set_condition(status, "Created", False, now=NOON, to_end=True)
    types = [entry["type"] for entry in status["conditions"]]  # type: ignore[attr-defined]
    assert types == ["Running", "Created"]


def test_conditions_can_be_dropped_by_type() -> None:
    status: dict[str, object] = {}
    set_condition(status, "Succeeded", True, now=NOON)
    remove_condition(status, ["Succeeded"])
    assert condition({"status": status}, "Succeeded") is None


def test_an_owner_is_known_by_its_uid_not_its_name() -> None:
    owner = new_object(CONFIG_MAPS, "a", "default")
    owner["metadata"]["uid"] = "1"
    pod = new_object(PODS, "p", "default", owner=owner)
    namesake = new_object(CONFIG_MAPS, "a", "default")
    namesake["metadata"]["uid"] = "2"
    assert is_owned_by(pod, owner)
    assert not is_owned_by(pod, namesake)


def test_times_with_an_offset_are_read_in_utc() -> None:
    assert parse_time("2026-01-01T14:00:00+02:00") == NOON

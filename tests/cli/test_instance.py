"""A data directory belongs to one platform, and to no older release."""

import os
from pathlib import Path

import pytest

from kubeling.cli.errors import CliError
from kubeling.cli.instance import LAYOUT, Endpoints, Instance
from kubeling.cli.lifecycle import exports


def endpoints() -> Endpoints:
    return Endpoints(
        pid=1,
        version="0",
        dashboard="http://127.0.0.1:1",
        api_server="https://127.0.0.1:2",
        kubeconfig="k",
        workspace="w",
        started_at="",
        gateway_port=1,
        api_port=2,
    )


def test_a_second_platform_is_refused_and_told_who_holds_the_directory(tmp_path: Path) -> None:
    first, second = Instance(tmp_path), Instance(tmp_path)
    with first.claim():
        first.write_endpoints(endpoints())
        with pytest.raises(CliError, match=r"in use by another platform \(process 1"):
            second.claim().__enter__()
        assert second.running() == endpoints()
    assert second.running() is None, "the lock ends with its holder"


def test_a_platform_that_is_starting_can_be_stopped(tmp_path: Path) -> None:
    first, second = Instance(tmp_path), Instance(tmp_path)
    first.write_endpoints(endpoints())  # of an earlier run
    assert second.holder() is None
    with first.claim():
        assert second.holder() == os.getpid()
    assert second.holder() is None


def test_a_newer_releases_data_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "layout").write_text(str(LAYOUT + 1))
    with pytest.raises(CliError, match="newer kubeling") as raised:
        Instance(tmp_path).claim().__enter__()
    assert "--data-dir" in raised.value.hint


def test_a_directory_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(CliError, match="cannot use"):
        Instance(blocked / "data").claim().__enter__()


def test_nothing_runs_says_how_to_start(tmp_path: Path) -> None:
    with pytest.raises(CliError) as raised:
        Instance(tmp_path).require_running()
    assert "kubeling up" in raised.value.hint


def test_commands_are_named_with_the_directory_they_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBELING_DATA_DIR", str(tmp_path / "usual"))
    assert Instance(tmp_path / "usual").option == ""
    assert Instance(tmp_path / "my data").option == f" --data-dir '{tmp_path}/my data'"
    with pytest.raises(CliError) as raised:
        Instance(tmp_path / "other").require_running()
    assert raised.value.hint.endswith(f"--data-dir {tmp_path}/other")


def test_what_is_exported_holds_for_the_commands_too() -> None:
    assert exports(endpoints())["KUBELING_DATA_DIR"] == str(Path(endpoints().kubeconfig).parent)

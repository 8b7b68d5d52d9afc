"""The programs by which ``mpirun`` reaches the pods of its hosts: they wait for what is to come."""

from __future__ import annotations

import sys
import urllib.error
from collections.abc import Callable

import pytest

from kubeling.training import podexec
from kubeling.training.trainer import podof


class Answers(podexec.Api):
    """An API that answers so when it is asked for the pod's phase, one answer after the other."""

    def __init__(self, *answers: Callable[[], str]) -> None:
        self._answers = iter(answers)

    def phase(self, pod: str) -> str:
        return next(self._answers)()


def denied() -> str:
    raise podexec.Denied("pods is forbidden")


def away() -> str:
    raise ConnectionRefusedError("nobody listens")


def ended() -> str:
    return "Failed"


def test_what_is_not_allowed_yet_is_asked_for_again() -> None:
    with pytest.raises(SystemExit, match="pod node-0 has ended"):
        podexec.run(Answers(denied, away, denied, ended), "node-0", "node", "true")


def test_what_is_never_allowed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(podexec, "DENIED_SECONDS", 0.0)
    with pytest.raises(SystemExit, match="the API refused: pods is forbidden"):
        podexec.run(Answers(denied, denied, denied), "node-0", "node", "true")


def test_a_host_is_looked_for_while_the_api_is_away(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    troubles = iter([urllib.error.URLError("refused"), ValueError("cut off")])

    def pods() -> dict[str, str]:
        if trouble := next(troubles, None):
            raise trouble
        return {"node-0": "pod-a"}

    monkeypatch.setattr(podof, "pods", pods)
    monkeypatch.setattr(sys, "argv", ["podof.py", "node-0.job"])
    assert podof.main() == 0
    assert capsys.readouterr().out == "pod-a\n"

"""Interpreters that could not be kept are tried again when that may end otherwise."""

from pathlib import Path

from kubeling.engine.launcher import LaunchError
from kubeling.engine.templatechecks import look
from kubeling.engine.templatefailures import Failures, Unfit
from kubeling.engine.templatekeys import TemplateKey

ONE = TemplateKey("/usr/bin/python3", "python", (), (), ())
OTHER = TemplateKey("/usr/bin/python3", "python", (), (), ("sklearn",))


class Clock:
    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


def test_what_the_moment_stood_in_the_way_of_is_tried_again_less_and_less_often() -> None:
    clock = Clock()
    failures = Failures(clock)
    pauses = []
    for _ in range(12):
        failures.note(ONE, LaunchError("it is not ready in time"))
        assert not failures.may_try(ONE)
        assert failures.reason(ONE) == "it is not ready in time"
        pause = failures.pause([ONE, OTHER])
        assert pause is not None
        pauses.append(pause)
        clock.time += pause
        assert failures.may_try(ONE)
    assert pauses[:4] == [4, 8, 16, 32]
    assert pauses[-1] == 300
    failures.forget(ONE)
    assert failures.may_try(ONE)
    assert not failures.reason(ONE)
    failures.note(ONE, LaunchError("again"))
    assert failures.pause([ONE]) == 4


def test_what_packages_do_not_bear_is_tried_again_when_they_change(tmp_path: Path) -> None:
    clock = Clock()
    failures = Failures(clock)
    failures.note(OTHER, Unfit("importing ahead changes threads", look([str(tmp_path)])))
    clock.time += 1e6
    assert not failures.may_try(OTHER)
    assert failures.pause([OTHER]) is None
    assert failures.may_try(ONE)
    (tmp_path / "sklearn-2.0.dist-info").mkdir()
    assert failures.may_try(OTHER)

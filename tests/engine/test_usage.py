"""CPU use as ``kubectl top`` and autoscalers read it: rates over windows that mean something."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kubeling.engine.usage import CpuRates, ProcessUse


def use(cpu_seconds: float, age: float) -> ProcessUse:
    return ProcessUse(cpu_seconds, 0, age)


def test_the_first_answer_is_the_average_since_the_process_began() -> None:
    assert CpuRates().of(1, use(5.0, 10.0), 1000.0) == (0.5, 10.0)


def test_later_answers_are_about_the_time_since_the_last_reading() -> None:
    rates = CpuRates()
    rates.of(1, use(5.0, 10.0), 1000.0)
    assert rates.of(1, use(8.0, 25.0), 1015.0) == (0.2, 15.0)


def test_asking_twice_in_a_row_does_not_make_the_window_short() -> None:
    rates = CpuRates()
    rates.of(1, use(0.0, 100.0), 1000.0)
    rates.of(1, use(15.0, 115.0), 1015.0)
    assert rates.of(1, use(16.0, 116.0), 1016.0) == (1.0, 16.0)


def test_a_process_that_took_the_number_of_another_begins_anew() -> None:
    rates = CpuRates()
    rates.of(1, use(500.0, 1000.0), 1000.0)
    assert rates.of(1, use(1.0, 10.0), 1020.0) == (0.1, 10.0)


@given(st.lists(st.tuples(st.floats(0.01, 60), st.floats(0, 4)), max_size=20))
def test_no_answer_is_more_than_was_ever_used(steps: list[tuple[float, float]]) -> None:
    rates, now, cpu, most = CpuRates(), 0.0, 0.0, 0.0
    for seconds, cores in steps:
        now, cpu, most = now + seconds, cpu + seconds * cores, max(most, cores)
        found, window = rates.of(1, use(cpu, now), now)
        assert found <= most + 1e-6
        assert window <= now

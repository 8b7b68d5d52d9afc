"""What to try next."""

from __future__ import annotations

import pytest

from kubeling.kube.advice import advice


@pytest.mark.parametrize(
    ("said", "tries"),
    [
        ("python: can't open file '/w/train.py': [Errno 2] No such file", "no /w/train.py: pods"),
        ("OOMKilled: ", "memory limit"),
        ("Error (exit code 127)", "not in the image"),
        ("exited with code 1: ModuleNotFoundError: No module named 'pandas'", "pandas"),
        ("FileNotFoundError: [Errno 2] No such file or directory: 'data.csv'", "data.csv"),
        ("0/1 nodes are available: 1 Insufficient nvidia.com/gpu.", "enough nvidia.com/gpu: "),
        ("exited with code 1: ValueError: bad", ""),
        ("HTTP error: error sending request, retry_timeout: 60s", ""),
        ("the model server timed out", "raise the time limit"),
        ("all is well", ""),
    ],
)
def test_a_failure_comes_with_the_next_thing_to_try(said: str, tries: str) -> None:
    assert tries in advice(said)
    assert bool(advice(said)) == bool(tries)

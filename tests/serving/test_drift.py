"""The drift check."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubeling.serving.drift.__main__ import main
from kubeling.serving.drift.keeping import keep
from kubeling.serving.drift.profile import PROFILE_FILE, Profile, profile_of
from kubeling.serving.drift.records import table_of
from kubeling.serving.drift.report import compare
from kubeling.serving.drift.statistics import ks_p_value, ks_statistic, psi, psi_p_value


def normal(seed: int, rows: int, shift: float = 0.0) -> Any:
    return np.random.default_rng(seed).normal(shift, 1.0, (rows, 2))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([20, 40, 200, 2000]))
def test_the_same_distribution_is_rarely_called_drift(seed: int, rows: int) -> None:
    reference = profile_of(normal(seed, 500))
    drifted = [compare(reference, normal(seed + 1 + i, rows))["drift"] for i in range(20)]
    assert sum(drifted) <= 4


def test_a_moved_feature_is_found_and_named() -> None:
    rows = normal(1, 200)
    rows[:, 1] += 1.5
    report = compare(profile_of(normal(0, 500), ["length", "width"]), rows)
    assert report["drifted"] == ["width"]
    assert report["share_drifted"] == 0.5
    assert report["features"]["width"]["ks_p_value"] < 0.001


def test_new_categories_are_drift() -> None:
    reference = profile_of(np.array([["red"], ["blue"]] * 50), ["colour"])
    report = compare(reference, np.array([["green"], ["blue"]] * 50))
    assert report["drifted"] == ["colour"]
    assert report["features"]["colour"]["new_values"] == 50


def test_predictions_that_move_are_drift() -> None:
    reference = profile_of(normal(0, 200), predictions=np.array([0, 1] * 100))
    report = compare(reference, normal(1, 100), np.zeros(100))
    assert not report["drifted"]
    assert report["predictions"]["drift"]
    assert report["drift"]


def test_a_question_asked_many_times_is_no_evidence_of_drift() -> None:
    reference = profile_of(normal(0, 500))
    few = np.tile(normal(1, 20), (50, 1))
    assert not compare(reference, few)["drift"]


def test_too_few_rows_are_no_verdict() -> None:
    report = compare(profile_of(normal(0, 200)), normal(1, 5, 9.0))
    assert not report["drift"]
    assert "too few" in report["message"]


def test_the_statistics_agree_with_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    a, b = normal(0, 300)[:, 0], normal(1, 200, 0.2)[:, 0]
    expected = stats.ks_2samp(a, b)
    assert ks_statistic(a, b) == pytest.approx(expected.statistic)
    assert ks_p_value(expected.statistic, 300, 200) == pytest.approx(expected.pvalue, rel=0.1)
    value = psi(np.array([10, 20, 30]), np.array([30, 20, 10]))
    assert psi_p_value(value, 3, 60, 60) == pytest.approx(stats.chi2.sf(value * 30, 2), abs=1e-3)


def test_rows_are_read_from_both_protocols_and_failures_are_left_out() -> None:
    tensor = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [5, 6]}
    records = [
        {"status": 200, "request": {"instances": [[1, 2]]}, "response": {"predictions": [0]}},
        {"status": 200, "request": {"instances": [{"a": 3, "b": 4}]}, "response": {}},
        {"status": 200, "request": {"inputs": [tensor]}, "response": {"outputs": [{"data": [1]}]}},
        {"status": 400, "request": {"instances": [[9]]}, "response": {"error": "x"}},
    ]
    rows, predictions = table_of(msgspec.json.encode(record) for record in records)
    assert rows.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert predictions.tolist() == [0, 1]


def _log(path: Path, rows: Any) -> None:
    lines = [
        json.dumps({"status": 200, "request": {"instances": [row]}, "response": {}})
        for row in rows.tolist()
    ]
    path.write_text("\n".join(lines))


def test_the_command_ends_as_diff_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, reference = tmp_path / "train.csv", tmp_path / "ref.json"
    lines = ["a,b,y", *(f"{a},{b},{int(a > 0)}" for a, b in normal(0, 300))]
    data.write_text("\n".join(lines))
    assert main(["--reference", str(reference), "--profile", str(data), "--target", "y"]) == 0
    _log(tmp_path / "same.jsonl", normal(1, 200))
    _log(tmp_path / "moved.jsonl", normal(1, 200, 2.0))
    check = ["--reference", str(reference), "--output", str(tmp_path / "report.json"), "--log"]
    assert main([*check, str(tmp_path / "same.jsonl")]) == 0
    assert main([*check, str(tmp_path / "moved.jsonl")]) == 1
    assert json.loads((tmp_path / "report.json").read_text())["drifted"] == ["a", "b"]
    assert main([*check, str(tmp_path / "moved.jsonl"), "--exit-zero"]) == 0
    capsys.readouterr()
    assert main([*check, str(tmp_path / "missing.jsonl")]) == 2
    assert "missing.jsonl" in capsys.readouterr().err


def test_missing_values_and_values_out_of_range_are_told() -> None:
    rows = normal(1, 200).astype(object)
    rows[:100, 0] = None
    rows[:20, 1] = 50.0
    report = compare(profile_of(normal(0, 500), ["length", "width"]), rows)
    assert report["features"]["length"]["missing"] == 0.5
    assert report["features"]["width"]["out_of_range"] >= 0.1
    assert "length" in report["drifted"]


def test_of_many_categories_the_rare_ones_count_together() -> None:
    words = [f"w{i % 400}" for i in range(2000)]
    profile = profile_of(np.array([["common"]] * 500 + [[word] for word in words]), ["word"])
    assert len(profile.features["word"].categories) == 100
    assert profile.features["word"].size == 2500
    again = np.array([["common"]] * 50 + [[word] for word in words[::10]])
    assert not compare(profile, again)["drift"]


def test_predictions_alone_can_be_compared() -> None:
    reference = profile_of(normal(0, 200), predictions=np.array(["cat", "dog"] * 100))
    report = compare(reference, np.empty(0), np.array(["cat"] * 100))
    assert report["features"] == {}
    assert report["drift"]
    assert report["predictions"]["chi2_p_value"] < 0.001


def test_a_profile_is_kept_beside_the_model(tmp_path: Path) -> None:
    made = keep(normal(0, 100), tmp_path, names=["a", "b"], predictions=[0, 1] * 50)
    kept = msgspec.json.decode((tmp_path / PROFILE_FILE).read_bytes(), type=Profile)
    assert kept == made
    assert list(kept.features) == ["a", "b"]

"""What each library needs: a model as ONNX, and the values where it changes its mind."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from kubeling.serving.server.formats import library

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

__all__ = ["known_values", "to_onnx"]

_NOWHERE: Final = -2


def to_onnx(format_name: str, model: Any, width: int) -> bytes:
    """The model's file in ONNX; whatever the converters raise is why there is none."""
    if format_name == "sklearn":
        skl2onnx = library("skl2onnx")
        kind = skl2onnx.common.data_types.FloatTensorType([None, width])
        # Plain arrays instead of a dict for each row; only classifiers know the option.
        options = {id(model): {"zipmap": False}} if hasattr(model, "classes_") else None
        made = skl2onnx.convert_sklearn(model, initial_types=[("input", kind)], options=options)
    else:
        onnxmltools = library("onnxmltools")
        types = library("onnxmltools.convert.common.data_types")
        initial = [("input", types.FloatTensorType([None, width]))]
        if format_name == "xgboost":
            # The converter knows features by their numbers only.
            model.feature_names = None
            made = onnxmltools.convert_xgboost(model, initial_types=initial)
        else:
            made = onnxmltools.convert_lightgbm(model, initial_types=initial, zipmap=False)
    found: bytes = made.SerializeToString()
    return found


def known_values(format_name: str, model: Any) -> dict[int, Array]:
    """Values of each feature between which the model's answer may change."""
    found: dict[int, list[float]] = defaultdict(list)
    pairs = {"sklearn": _of_sklearn, "xgboost": _of_xgboost, "lightgbm": _of_lightgbm}
    for feature, value in pairs[format_name](model):
        found[feature].append(value)
    return {feature: np.asarray(values) for feature, values in found.items()}


def _of_sklearn(model: Any) -> Iterator[tuple[int, float]]:
    """From trees, scalers and the rows that some estimators keep, where the input meets them."""
    if steps := getattr(model, "steps", None):
        yield from _of_sklearn(steps[0][1])
    elif (best := getattr(model, "best_estimator_", None)) is not None:
        yield from _of_sklearn(best)
    elif (tree := getattr(model, "tree_", None)) is not None:
        for feature, value in zip(tree.feature, tree.threshold, strict=True):
            if feature != _NOWHERE:
                yield int(feature), float(value)
    elif (inner := getattr(model, "estimators_", None)) is not None:
        for one in np.ravel(np.asarray(inner, dtype=object)):
            yield from _of_sklearn(one)
    else:
        yield from _of_rows(_rows_kept(model))


def _rows_kept(model: Any) -> Array:
    """Rows that tell where the data lay."""
    for name in ("support_vectors_", "_fit_X"):
        if isinstance(rows := getattr(model, name, None), np.ndarray):
            return rows
    if (least := getattr(model, "data_min_", None)) is not None:
        return np.linspace(least, model.data_max_, 21)
    middle = getattr(model, "mean_", getattr(model, "theta_", None))
    spread = getattr(model, "scale_", getattr(model, "var_", None))
    if isinstance(middle, np.ndarray) and isinstance(spread, np.ndarray):
        if hasattr(model, "theta_"):
            spread = np.sqrt(spread)
        return np.concatenate([np.atleast_2d(middle + k * spread) for k in np.linspace(-3, 3, 21)])
    return np.empty((0, 0))


def _of_rows(rows: Array) -> Iterator[tuple[int, float]]:
    for row in rows:
        yield from ((feature, float(value)) for feature, value in enumerate(row))


def _of_xgboost(model: Any) -> Iterator[tuple[int, float]]:
    names = {name: number for number, name in enumerate(model.feature_names or ())}

    def visit(node: Any) -> Iterator[tuple[int, float]]:
        if "split_condition" in node and isinstance(node["split_condition"], int | float):
            split = node["split"]
            yield names[split] if split in names else int(split[1:]), float(node["split_condition"])
        for child in node.get("children", ()):
            yield from visit(child)

    for tree in model.get_dump(dump_format="json"):
        yield from visit(msgspec.json.decode(tree))


def _of_lightgbm(model: Any) -> Iterator[tuple[int, float]]:
    def visit(node: Any) -> Iterator[tuple[int, float]]:
        if node.get("decision_type") == "<=":
            yield int(node["split_feature"]), float(node["threshold"])
        for side in ("left_child", "right_child"):
            if side in node:
                yield from visit(node[side])

    for tree in model.dump_model()["tree_info"]:
        yield from visit(tree["tree_structure"])

"""The example's training, on data whose bins are exact however the rows are shared out."""

from __future__ import annotations

import xgboost
import xgboost_distributed as job
from sklearn.datasets import load_digits
from xgboost import collective


def train() -> None:
    digits = load_digits()
    mine = slice(job.RANK, None, job.WORLD_SIZE)
    parameters = {"objective": "multi:softprob", "num_class": 10, "max_depth": 4, "nthread": 1}
    model = xgboost.train(
        parameters, xgboost.DMatrix(digits.data[mine], digits.target[mine]), num_boost_round=5
    )
    found = model.eval(xgboost.DMatrix(digits.data, digits.target), name="all")
    if collective.get_rank() == 0:
        print(f"processes={collective.get_world_size()} {found.split(':')[-1]}", flush=True)


job.train = train  # type: ignore[assignment]

if __name__ == "__main__":
    job.main()

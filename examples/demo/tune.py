"""One trial: trains on train.csv, prints the accuracy on validation.csv."""

import argparse

import numpy as np
import xgboost as xgb


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="data")
    parser.add_argument("--max-depth", type=int, default=4)
    parser.add_argument("--learning-rate", type=float, default=0.2)
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    train, validation = (
        np.loadtxt(f"{options.data}/{part}.csv", delimiter=",", skiprows=1)
        for part in ("train", "validation")
    )
    booster = xgb.train(
        {
            "objective": "binary:logistic",
            "max_depth": options.max_depth,
            "learning_rate": options.learning_rate,
            "nthread": 1,
            "seed": 7,
        },
        xgb.DMatrix(train[:, 1:], train[:, 0]),
        num_boost_round=options.rounds,
    )
    scores = booster.predict(xgb.DMatrix(validation[:, 1:]))
    labels = validation[:, 0]
    loss = -np.mean(np.log(np.where(labels == 1, scores, 1 - scores)))
    print(f"accuracy={np.mean((scores > 0.5) == labels):.6f}")
    print(f"loss={loss:.6f}")


if __name__ == "__main__":
    main()

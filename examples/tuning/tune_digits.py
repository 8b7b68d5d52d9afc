"""One trial: a logistic regression on scikit-learn's handwritten digits."""

import argparse

from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--c", type=float, default=1.0)
    options.add_argument("--solver", default="lbfgs")
    chosen = options.parse_args()
    data, target = load_digits(return_X_y=True)
    model = make_pipeline(
        StandardScaler(), LogisticRegression(C=chosen.c, solver=chosen.solver, max_iter=50)
    )
    scores = cross_val_score(model, data[:600], target[:600], cv=3)
    print(f"accuracy={scores.mean():.4f}")


if __name__ == "__main__":
    main()

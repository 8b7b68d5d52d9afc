"""A pipeline of Python components: data, a model, its metrics, a condition on them.

python train_digits.py            compiles it to train_digits.yaml
python train_digits.py --run      runs it on the platform that KF_PIPELINES_ENDPOINT names
"""

import sys

from kfp import Client, compiler, dsl
from kfp.dsl import Dataset, Input, Metrics, Model, Output


@dsl.component(base_image="python:3.11", packages_to_install=["scikit-learn"])
def load_digits(held_out: float, train: Output[Dataset], test: Output[Dataset]) -> int:
    """Splits scikit-learn's handwritten digits; returns the number of rows to train on."""
    import pickle

    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    x, y = load_digits(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=held_out, random_state=0)
    for output, part in ((train, (x_train, y_train)), (test, (x_test, y_test))):
        with open(output.path, "wb") as file:
            pickle.dump(part, file)
    return len(x_train)


@dsl.component(base_image="python:3.11", packages_to_install=["scikit-learn"])
def fit(data: Input[Dataset], depth: int, model: Output[Model]):
    """Fits a tree."""
    import pickle

    from sklearn.tree import DecisionTreeClassifier

    with open(data.path, "rb") as file:
        x, y = pickle.load(file)
    with open(model.path, "wb") as file:
        pickle.dump(DecisionTreeClassifier(max_depth=depth, random_state=0).fit(x, y), file)
    model.metadata["depth"] = depth


@dsl.component(base_image="python:3.11", packages_to_install=["scikit-learn"])
def evaluate(model: Input[Model], data: Input[Dataset], metrics: Output[Metrics]) -> float:
    """Measures the model's accuracy on held-out rows."""
    import pickle

    with open(model.path, "rb") as file:
        fitted = pickle.load(file)
    with open(data.path, "rb") as file:
        x, y = pickle.load(file)
    accuracy = float(fitted.score(x, y))
    metrics.log_metric("accuracy", accuracy)
    return accuracy


@dsl.component(base_image="python:3.11")
def approve(accuracy: float) -> str:
    """Says that the model is good enough."""
    return f"approved with {accuracy:.3f}"


@dsl.pipeline(name="train-digits", description="Trains a tree on handwritten digits.")
def train_digits(depth: int = 10, held_out: float = 0.25, threshold: float = 0.8) -> float:
    loaded = load_digits(held_out=held_out)
    fitted = fit(data=loaded.outputs["train"], depth=depth)
    measured = evaluate(model=fitted.outputs["model"], data=loaded.outputs["test"])
    with dsl.If(measured.outputs["Output"] >= threshold, name="good-enough"):
        approve(accuracy=measured.outputs["Output"])
    return measured.outputs["Output"]


if __name__ == "__main__":
    compiler.Compiler().compile(train_digits, "train_digits.yaml")
    if "--run" in sys.argv:
        client = Client()
        run = client.create_run_from_pipeline_func(train_digits, arguments={"depth": 12})
        print(client.wait_for_run_completion(run.run_id, timeout=600).state)

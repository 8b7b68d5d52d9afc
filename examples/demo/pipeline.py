"""The pipeline that prepares the data, written with the kfp SDK.

Compile it with: python pipeline.py, which writes pipeline.yaml.
"""

from kfp import compiler, dsl


@dsl.container_component
def prepare_data(
    dataset: dsl.Output[dsl.Dataset], rows: dsl.OutputPath(dict), folder: str = "data"
):
    """Splits the data into the workspace's folder, and keeps a copy as an artifact."""
    return dsl.ContainerSpec(
        image="python:3.11",
        command=["sh", "-ec"],
        args=[
            'python prepare.py "$0" "$1" && mkdir -p "$2" && cp "$0"/*.csv "$2"',
            folder,
            rows,
            dataset.path,
        ],
    )


@dsl.container_component
def check_data(rows: dict, dataset: dsl.Input[dsl.Dataset], metrics: dsl.OutputPath(float)):
    """Fails unless every part has rows of both classes."""
    return dsl.ContainerSpec(
        image="python:3.11",
        command=["python", "check.py"],
        args=[dataset.path, rows, metrics],
    )


@dsl.pipeline(name="prepare-breast-cancer", description="Splits and checks the data.")
def prepare(folder: str = "data") -> float:
    prepared = prepare_data(folder=folder)
    checked = check_data(rows=prepared.outputs["rows"], dataset=prepared.outputs["dataset"])
    return checked.outputs["metrics"]


if __name__ == "__main__":
    compiler.Compiler().compile(prepare, "pipeline.yaml")

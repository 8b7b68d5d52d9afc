"""Architecture searches in the dashboard: the network of the best trial, and of each."""

from __future__ import annotations

from pathlib import Path

from tests.support.dashboard import dashboard, reloaded

from kubeling.gateway.kinds import EXPERIMENTS, TRIALS
from kubeling.kube.objects import Obj, new_object
from kubeling.tuning.component import COMPONENT as TUNING_ROOM

PAGE = "/objects/kubeflow.org/v1beta1"
OBJECTIVE: Obj = {"type": "maximize", "objectiveMetricName": "accuracy"}
OPERATIONS: list[Obj] = [
    {
        "operationType": "convolution",
        "parameters": [
            {
                "name": "filter_size",
                "parameterType": "categorical",
                "feasibleSpace": {"list": ["3", "5"]},
            }
        ],
    }
]
JOB: Obj = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "spec": {
        "template": {
            "spec": {
                "restartPolicy": "Never",
                "containers": [
                    {
                        "name": "main",
                        "image": "busybox",
                        "args": ["${trialParameters.a}", "${trialParameters.net}"],
                    }
                ],
            }
        }
    },
}
EXPERIMENT: Obj = {
    "objective": OBJECTIVE,
    "algorithm": {"algorithmName": "enas"},
    "maxTrialCount": 1,
    "parallelTrialCount": 1,
    "nasConfig": {
        "graphConfig": {"numLayers": 2, "inputSizes": [32, 32, 3], "outputSizes": [10]},
        "operations": OPERATIONS,
    },
    "trialTemplate": {
        "primaryContainerName": "main",
        "trialParameters": [
            {"name": "a", "reference": "architecture"},
            {"name": "net", "reference": "nn_config"},
        ],
        "trialSpec": JOB,
    },
}
CONFIG = {
    "num_layers": 2,
    "input_sizes": [32, 32, 3],
    "output_sizes": [10],
    "embedding": {"1": {"opt_type": "convolution", "opt_params": {"filter_size": "5"}}},
}
ASSIGNMENTS = [
    {"name": "architecture", "value": "[[1], [1, 1]]"},
    {"name": "nn_config", "value": str(CONFIG)},
]


async def test_the_best_network_of_a_search_is_drawn_and_each_trials_own(tmp_path: Path) -> None:
    async with dashboard(tmp_path, TUNING_ROOM) as (client, context):
        api = context.client
        made = await api.create(
            EXPERIMENTS, new_object(EXPERIMENTS, "nas", "default", spec=EXPERIMENT)
        )
        trial = new_object(
            TRIALS,
            "nas-1",
            "default",
            labels={"katib.kubeflow.org/experiment": "nas"},
            owner=made,
            spec={
                "objective": OBJECTIVE,
                "parameterAssignments": ASSIGNMENTS,
                "primaryContainerName": "main",
                "runSpec": JOB,
            },
        )
        await api.create(TRIALS, trial)
        metrics = [{"name": "accuracy", "latest": "0.9", "min": "0.9", "max": "0.9"}]
        done: Obj = {
            "conditions": [{"type": "Succeeded", "status": "True"}],
            "observation": {"metrics": metrics},
        }
        await api.patch(TRIALS, "nas-1", {"status": done}, "default", subresource="status")
        best = {"status": {"currentOptimalTrial": {"bestTrialName": "nas-1"}}}
        await api.patch(EXPERIMENTS, "nas", best, "default", subresource="status")
        page = await reloaded(client, f"{PAGE}/Experiment/default/nas", says="The best network")
        assert "Network of 4 layers" in page
        assert "filter size 5" in page
        assert "takes input, 1  convolution" in page
        # A trial's own page has no curves while the store of readings is away, but all else.
        page = await reloaded(client, f"{PAGE}/Trial/default/nas-1", says="Network of 4 layers")
        assert "there are no curves now" in page

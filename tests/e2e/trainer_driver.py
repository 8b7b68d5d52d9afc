"""What a user of the kubeflow SDK does; prints its findings as JSON.

Runs in the SDK's environment, which has neither pytest nor the platform. The functions that train
are shipped to the nodes by their source, so they import what they need themselves.
"""

import contextlib
import json
import traceback
from concurrent.futures import ThreadPoolExecutor

from kubeflow.optimizer import (
    GridSearch,
    Objective,
    OptimizerClient,
    Search,
    TrainJobTemplate,
    TrialConfig,
)
from kubeflow.optimizer.types.optimization_types import Direction, OptimizationJob
from kubeflow.trainer import BuiltinTrainer, CustomTrainer, TorchTuneConfig, TrainerClient
from kubeflow.trainer.options import (
    ActiveDeadlineSeconds,
    Annotations,
    Labels,
    Name,
    RuntimePatch,
    TrainerArgs,
    TrainerCommand,
)
from kubeflow.trainer.options.kubernetes import (
    JobSetSpecPatch,
    JobSetTemplatePatch,
    JobSpecPatch,
    JobTemplatePatch,
    PodTemplatePatch,
    ReplicatedJobPatch,
    TrainingRuntimeSpecPatch,
)
from kubeflow.trainer.types import types

PYTHON = "python:3.11"


def train(word: str = "nothing") -> None:
    import os

    print(f"{word} on node {os.environ['PROCESS']} of {os.environ['NODES']}", flush=True)


def report() -> None:
    from kubeflow.trainer.backends.kubernetes.utils import update_trainjob_status

    print(f"sent={update_trainjob_status(42, 120, {'loss': 0.123})}", flush=True)


def objective(lr: str, units: str) -> None:
    print(f"score={float(lr) * int(units):.3f}", flush=True)


def runtimes() -> dict:
    client = TrainerClient()
    found = {runtime.name: runtime for runtime in client.list_runtimes()}
    torch = client.get_runtime("torch-distributed")
    client.get_runtime_packages(client.get_runtime("plain"))
    return {
        "names": sorted(found),
        "trainers": {name: r.trainer.trainer_type.value for name, r in found.items()},
        "commands": {name: list(r.trainer.command) for name, r in found.items()},
        "torch": [torch.kind.value, torch.trainer.framework],
    }


def functions() -> dict:
    client = TrainerClient()
    plain = client.get_runtime("plain")
    name = client.train(
        runtime=plain,
        trainer=CustomTrainer(
            func=train,
            func_args={"word": "trained"},
            image=PYTHON,
            num_nodes=2,
            resources_per_node={"cpu": 1},
            env={"PROCESS": "x", "NODES": "2"},
        ),
        options=[Labels({"team": "vision"}), Annotations({"why": "test"}), Name("named")],
    )
    seen = set()
    job = client.wait_for_job_status(
        name, timeout=120, polling_interval=1, callbacks=[lambda job: seen.add(job.status)]
    )
    return {
        "name": name,
        "status": job.status,
        "seen": sorted(seen),
        "steps": [[step.name, step.status, step.device, step.device_count] for step in job.steps],
        "nodes": job.num_nodes,
        "followed": list(client.get_job_logs(name, step="node-0", follow=True)),
        "logs": list(client.get_job_logs(name, step="node-1")),
        "events": sorted(
            {f"{e.involved_object_kind} {e.reason}" for e in client.get_job_events(name)}
        ),
        "listed": name in [job.name for job in client.list_jobs(runtime=plain)],
        "deleted": _deleted(client, name),
    }


def _deleted(client: TrainerClient, name: str) -> bool:
    client.delete_job(name)
    return name not in [job.name for job in client.list_jobs()]


def options() -> dict:
    client = TrainerClient()
    pod = PodTemplatePatch(metadata={"labels": {"zone": "b"}})
    node = ReplicatedJobPatch(
        name="node", template=JobTemplatePatch(spec=JobSpecPatch(template=pod))
    )
    template = JobSetTemplatePatch(spec=JobSetSpecPatch(replicated_jobs=[node]))
    name = client.train(
        runtime="plain",
        options=[
            TrainerCommand(["sh", "-c"]),
            TrainerArgs(["echo said; sleep 600"]),
            ActiveDeadlineSeconds(600),
            RuntimePatch(training_runtime_spec=TrainingRuntimeSpecPatch(template=template)),
        ],
    )
    job = client.wait_for_job_status(name, status={"Running"}, timeout=120, polling_interval=1)
    log = client.get_job_logs(name, follow=True)
    return {"status": job.status, "first": next(iter(log)), "name": name}


def containers() -> dict:
    client = TrainerClient()
    name = client.train(
        runtime="plain", trainer=types.CustomTrainerContainer(image="busybox", num_nodes=2)
    )
    job = client.wait_for_job_status(name, timeout=120, polling_interval=1)
    return {"status": job.status, "nodes": len(job.steps)}


def builtin() -> dict:
    client = TrainerClient()
    name = client.train(
        runtime=client.get_runtime("torchtune-llama3.2-1b"),
        trainer=BuiltinTrainer(
            config=TorchTuneConfig(epochs=1, resources_per_node={"gpu": 1}, num_nodes=1)
        ),
        initializer=types.Initializer(
            dataset=types.HuggingFaceDatasetInitializer(storage_uri="hf://team/rows"),
            model=types.HuggingFaceModelInitializer(storage_uri="hf://team/net"),
        ),
    )
    return {"name": name, "status": client.get_job(name).status}


def progress() -> dict:
    client = TrainerClient()
    trainer = CustomTrainer(func=report, image="with-sdk")
    name = client.train(runtime="plain", trainer=trainer)
    client.wait_for_job_status(name, timeout=300, polling_interval=1)
    return {"name": name, "logs": list(client.get_job_logs(name))}


def optimizing() -> dict:
    client = OptimizerClient()
    template = TrainJobTemplate(
        runtime="plain", trainer=CustomTrainer(func=objective, image=PYTHON)
    )
    name = client.optimize(
        template,
        search_space={"lr": Search.choice([0.1, 0.5]), "units": Search.choice([1, 2])},
        objectives=[Objective(metric="score", direction=Direction.MAXIMIZE)],
        algorithm=GridSearch(),
        trial_config=TrialConfig(num_trials=4, parallel_trials=2),
    )
    job = _end_of_search(client, name)
    best = client.get_best_results(name)
    return {
        "status": job.status,
        "trials": len(job.trials),
        "best": best.parameters,
        "metrics": [[m.name, m.max] for m in best.metrics],
        "logs": list(client.get_job_logs(name)),
        "events": sorted({f"{e.involved_object_kind}" for e in client.get_job_events(name)}),
        "listed": [job.name for job in client.list_jobs()] == [name],
        "deleted": _gone(client, name),
    }


def _end_of_search(client: OptimizerClient, name: str) -> OptimizationJob:
    """The SDK gives up where it sees a Trial a moment before its TrainJob, here as at upstream."""
    for _ in range(10):
        with contextlib.suppress(RuntimeError):
            return client.wait_for_job_status(name, timeout=300, polling_interval=1)
    return client.wait_for_job_status(name, timeout=300, polling_interval=1)


def _gone(client: OptimizerClient, name: str) -> bool:
    client.delete_job(name)
    return client.list_jobs() == []


CASES = (runtimes, functions, options, containers, builtin, progress, optimizing)


def main() -> None:
    """All cases side by side: each waits most of the time."""
    with ThreadPoolExecutor(len(CASES)) as pool:
        running = {case.__name__: pool.submit(case) for case in CASES}
    found = {}
    for name, case in running.items():
        error = case.exception()
        found[name] = case.result() if error is None else {"error": repr(error)}
        if error is not None:
            traceback.print_exception(error)
    print(json.dumps(found))


if __name__ == "__main__":
    main()

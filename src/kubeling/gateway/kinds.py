"""The kinds the dashboard shows, in the order of its menu."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from kubeling.kube.resources import BUILTIN, JOBS, NAMESPACES, PODS, Resource

__all__ = [
    "BY_KIND",
    "CLUSTER_WORKFLOW_TEMPLATES",
    "CRON_WORKFLOWS",
    "EXPERIMENTS",
    "INFERENCE_GRAPHS",
    "INFERENCE_SERVICES",
    "LLM_SERVICES",
    "MODEL_CACHES",
    "NOTEBOOKS",
    "OPTIMIZATION_JOBS",
    "PROFILES",
    "RECURRING_RUNS",
    "RUNS",
    "SECTIONS",
    "SERVING_RUNTIMES",
    "TRAINED_MODELS",
    "TRAINING_JOBS",
    "TRAINING_RUNTIMES",
    "TRAIN_JOBS",
    "TRIALS",
    "WORKFLOWS",
    "WORKFLOW_TEMPLATES",
    "Section",
    "link_to",
]  # fmt: skip

WORKFLOWS: Final = Resource("argoproj.io", "v1alpha1", "Workflow", "workflows")
RUNS: Final = Resource("pipelines.kubeflow.org", "v2beta1", "Run", "runs")
WORKFLOW_TEMPLATES: Final = Resource(
    "argoproj.io", "v1alpha1", "WorkflowTemplate", "workflowtemplates"
)
CLUSTER_WORKFLOW_TEMPLATES: Final = Resource(
    "argoproj.io",
    "v1alpha1",
    "ClusterWorkflowTemplate",
    "clusterworkflowtemplates",
    namespaced=False,
)
CRON_WORKFLOWS: Final = Resource("argoproj.io", "v1alpha1", "CronWorkflow", "cronworkflows")
RECURRING_RUNS: Final = Resource(
    "pipelines.kubeflow.org", "v2beta1", "RecurringRun", "recurringruns"
)
EXPERIMENTS: Final = Resource("kubeflow.org", "v1beta1", "Experiment", "experiments")
TRIALS: Final = Resource("kubeflow.org", "v1beta1", "Trial", "trials")
OPTIMIZATION_JOBS: Final = Resource(
    "trainer.kubeflow.org", "v1alpha1", "OptimizationJob", "optimizationjobs"
)
INFERENCE_SERVICES: Final = Resource(
    "serving.kserve.io", "v1beta1", "InferenceService", "inferenceservices"
)
INFERENCE_GRAPHS: Final = Resource(
    "serving.kserve.io", "v1alpha1", "InferenceGraph", "inferencegraphs"
)
TRAINED_MODELS: Final = Resource("serving.kserve.io", "v1alpha1", "TrainedModel", "trainedmodels")
LLM_SERVICES: Final = Resource(
    "serving.kserve.io", "v1alpha2", "LLMInferenceService", "llminferenceservices"
)
MODEL_CACHES: Final = (
    Resource(
        "serving.kserve.io", "v1alpha1", "LocalModelCache", "localmodelcaches", namespaced=False
    ),
    Resource(
        "serving.kserve.io", "v1alpha1", "LocalModelNamespaceCache", "localmodelnamespacecaches"
    ),
)
SERVING_RUNTIMES: Final = (
    Resource(
        "serving.kserve.io",
        "v1alpha1",
        "ClusterServingRuntime",
        "clusterservingruntimes",
        namespaced=False,
    ),
    Resource("serving.kserve.io", "v1alpha1", "ServingRuntime", "servingruntimes"),
)
NOTEBOOKS: Final = Resource("kubeflow.org", "v1", "Notebook", "notebooks")
PROFILES: Final = Resource("kubeflow.org", "v1", "Profile", "profiles", namespaced=False)
TRAIN_JOBS: Final = Resource("trainer.kubeflow.org", "v1alpha1", "TrainJob", "trainjobs")
TRAINING_JOBS: Final = (
    TRAIN_JOBS,
    Resource("kubeflow.org", "v1", "PyTorchJob", "pytorchjobs"),
    Resource("kubeflow.org", "v1", "TFJob", "tfjobs"),
    Resource("kubeflow.org", "v1", "XGBoostJob", "xgboostjobs"),
    Resource("kubeflow.org", "v1", "MPIJob", "mpijobs"),
    Resource("kubeflow.org", "v1", "PaddleJob", "paddlejobs"),
    Resource("kubeflow.org", "v1", "JAXJob", "jaxjobs"),
)
TRAINING_RUNTIMES: Final = (
    Resource(
        "trainer.kubeflow.org",
        "v1alpha1",
        "ClusterTrainingRuntime",
        "clustertrainingruntimes",
        namespaced=False,
    ),
    Resource("trainer.kubeflow.org", "v1alpha1", "TrainingRuntime", "trainingruntimes"),
)
JOB_SETS: Final = Resource("jobset.x-k8s.io", "v1alpha2", "JobSet", "jobsets")
BY_KIND: Final = {
    (resource.api_version, resource.kind): resource
    for resource in (
        *BUILTIN, WORKFLOWS, RUNS, EXPERIMENTS, TRIALS, INFERENCE_SERVICES, NOTEBOOKS, PROFILES,
        *TRAINING_JOBS, WORKFLOW_TEMPLATES, CLUSTER_WORKFLOW_TEMPLATES, CRON_WORKFLOWS,
        RECURRING_RUNS, JOB_SETS, OPTIMIZATION_JOBS, *TRAINING_RUNTIMES, INFERENCE_GRAPHS,
        TRAINED_MODELS, *SERVING_RUNTIMES, LLM_SERVICES, *MODEL_CACHES,
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Section:
    """An entry of the menu; ``kinds`` are counted and watched for it, ``others`` only shown."""

    path: str
    title: str
    kinds: tuple[Resource, ...] = ()
    others: tuple[Resource, ...] = ()


SECTIONS: Final = (
    Section("/", "Home"),
    Section(
        "/pipelines",
        "Pipelines",
        (RUNS, WORKFLOWS),
        (WORKFLOW_TEMPLATES, CLUSTER_WORKFLOW_TEMPLATES, CRON_WORKFLOWS, RECURRING_RUNS),
    ),
    Section("/experiments", "Experiments", (EXPERIMENTS, OPTIMIZATION_JOBS), (TRIALS,)),
    Section("/training", "Training", TRAINING_JOBS, (*TRAINING_RUNTIMES, JOB_SETS)),
    Section(
        "/models",
        "Models",
        (INFERENCE_SERVICES,),
        (INFERENCE_GRAPHS, TRAINED_MODELS, *SERVING_RUNTIMES, LLM_SERVICES, *MODEL_CACHES),
    ),
    Section("/notebooks", "Notebooks", (NOTEBOOKS,)),
    Section("/registry", "Registry"),
    Section("/namespaces", "Namespaces", (NAMESPACES,), (PROFILES,)),
)
PRIMARY: Final = (*(kind for section in SECTIONS for kind in section.kinds), JOBS, PODS)


def link_to(api_version: str, kind: str, namespace: str, name: str) -> str:
    """The page of an object."""
    group, _, version = api_version.rpartition("/")
    return f"/objects/{group or 'core'}/{version}/{kind}/{namespace or '-'}/{name}"

"""The REST face of Kubeflow Pipelines, version v2beta1, as its unmodified SDK speaks to it."""

"""Kubeflow Pipelines v2: its REST API, the execution of compiled pipelines, caching, lineage."""

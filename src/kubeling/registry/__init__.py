"""The Model Registry: models, versions, artifacts, experiments and where they serve.

State is relational and lives in the metadata database; the REST face is upstream's
``/api/model_registry/v1alpha3``.
"""

"""The package of :mod:`.infer_type`."""

"""The model server: one process that answers for a model over the V1 and V2 REST protocols.

Started by the built-in runtimes as ``python -m kubeling.serving.server``; a model of one's own
subclasses :class:`~kubeling.serving.server.model.Model` and calls
:func:`~kubeling.serving.server.run.serve`. The framework around the prediction is kept thin on
purpose: for a small model it, not the model, is where the time goes.
"""

"""The Open Inference Protocol over gRPC: ``inference.GRPCInferenceService``.

:mod:`.messages` has its messages, :mod:`.methods` its methods, :mod:`.conversion` makes of them
what REST makes of JSON, :mod:`.service` answers and :mod:`.client` calls.
"""

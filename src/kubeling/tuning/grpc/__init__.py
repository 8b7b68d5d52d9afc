"""Katib's gRPC APIs: DBManager, Suggestion and EarlyStopping, version ``api.v1.beta1``.

:mod:`.messages` has the messages of all three, :mod:`.services` the paths of their methods,
:mod:`.client` calls them and :mod:`.server` answers. They need no more than ``h2``, which the
platform has for gRPC probes; ``grpcio`` and ``protobuf`` would be some twenty megabytes for
eight unary calls.
"""

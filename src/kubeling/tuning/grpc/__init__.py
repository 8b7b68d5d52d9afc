"""Katib's gRPC APIs: DBManager, Suggestion and EarlyStopping, version ``api.v1.beta1``.

:mod:`.messages` has the messages of all three, :mod:`.services` their methods; :mod:`kubeling.rpc`
calls and answers them.
"""

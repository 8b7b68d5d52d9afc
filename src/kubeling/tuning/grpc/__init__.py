"""Katib's gRPC APIs: DBManager, Suggestion and EarlyStopping, version ``api.v1.beta1``.

:mod:`.messages` has the messages of all three, :mod:`.services` the paths of their methods,
:mod:`.client` calls them and :mod:`.server` answers, both by grpclib. Protobuf's generated code
works with the one or two major versions of its library that it was made for, and other packages in
a user's environment have their own; so the messages are written out, in :mod:`.wire`'s form.
"""

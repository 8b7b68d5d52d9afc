"""gRPC with messages of our own: calls by grpclib, answers on :mod:`kubeling.proxying`.

:mod:`.wire` has the form messages are written in, :mod:`.calls` what a method is and how a call
fails, :mod:`.client` calls and :mod:`.server` answers. Protobuf's generated code works with the one
or two major versions of its library that it was made for, and other packages in a user's
environment have their own; so a component writes its messages out.
"""

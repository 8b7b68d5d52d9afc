"""The storage initializer: brings a model from where it is kept to where a server reads it.

Runs as an init container before every model server (``python -m kubeling.serving.storage URI
DIR``), so it must start fast: every store is spoken to over its plain HTTP API, and the library for
buckets is imported where there is one. One module per kind of store: :mod:`.uris` reads addresses,
:mod:`.download` picks the store.
"""

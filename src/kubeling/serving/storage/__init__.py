"""The storage initializer: brings a model from where it is kept to where a server reads it.

Runs as an init container before every model server (``python -m kubeling.serving.storage URI
DIR``), so it must start fast: only the standard library, and every store spoken to over its plain
HTTP API. One folder per concern: :mod:`.uris` reads addresses, :mod:`.download` picks the store.
"""

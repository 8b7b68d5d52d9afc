"""The agent: stands in front of a container of one's own and does what its service asks for.

Runs as ``python -m kubeling.serving.agent`` beside the container, as upstream's agent does: it
records requests (``logger``), merges them (``batcher``) and samples them for monitoring. Everything
it has no part in is passed on as it comes, streams and WebSockets included.
"""

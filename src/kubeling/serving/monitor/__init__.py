"""The monitoring transformer: stands in front of a predictor and watches what it is asked.

Runs as ``python -m kubeling.serving.monitor`` (the image ``model-monitor``). It passes requests on
as they are, so it suits any model and both protocols, and never fails a request for its own sake.
"""

"""Model monitoring: fetches samples of what models are asked, judges them, and says so.

Servers only sample (:mod:`kubeling.serving.server.sampling`); everything that costs time is done
here, off their path, over all replicas of a revision together. The verdict is a condition of the
InferenceService, so that whatever acts on it (an alert, a retraining run) reads the API.
"""

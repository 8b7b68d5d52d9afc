"""Who did what, when, and how it ended: ``audit.k8s.io/v1`` events as lines of JSON."""

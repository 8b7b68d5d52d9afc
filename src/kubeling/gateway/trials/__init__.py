"""Experiments as the dashboard and the command line look at them: what was tried, what came out."""

"""Webhooks: what users' own servers, called over HTTPS, have to say about objects.

Three kinds share one client: mutating and validating admission webhooks, and the conversion of
custom resources between versions. What is matched, sent and understood is pure; only
:mod:`client` does I/O. Without any configuration nothing here is run, or even asked.
"""

"""custom.metrics.k8s.io, read from pods' own Prometheus endpoints.

A cluster needs Prometheus and an adapter for this; here a pod that says ``prometheus.io/scrape`` is
asked itself, and only when somebody asks for it: nothing is collected for its own sake. Names are
those of prometheus-adapter's default rules: a counter ``x_total`` (or ``x_seconds_total``) is
served as ``x``, its increase a second; everything else as it is. An APIService of the group takes
its place.
"""

"""The controllers behind the built-in workloads, as upstream's controller manager has them.

They know the API only through :mod:`kubeling.kube`. In each module the decision is a pure function
of the observed objects; the class around it reads caches and carries the decision out. Nothing is
imported here: start with :mod:`kubeling.engine.workloads.all`.
"""

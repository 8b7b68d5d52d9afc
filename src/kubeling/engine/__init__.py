"""The node: what runs pods on this machine, and the controllers behind the built-in workloads.

Nothing is imported here: the sandbox processes import from this package and must stay tiny.
"""

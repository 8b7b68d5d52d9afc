"""The contract: the Kubernetes API as every room of the platform sees it.

Controllers, the dashboard and the command line import this package and nothing below it. What
answers — the embedded API server in this process, or any Kubernetes API server over HTTPS — is
chosen once, by the :class:`~kubeling.kube.transport.Transport` given to the client.
"""

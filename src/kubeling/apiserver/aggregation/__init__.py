"""APIServices: group versions that somebody else than this server's registry answers for.

A Service's backend (a metrics adapter, any extension API server) or a part of this server that is
no store of objects (custom metrics) is a *delegate*: requests below its group version go to it
whole, discovery lists what it says it has. As upstream's ``kube-aggregator``.
"""

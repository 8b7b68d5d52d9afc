"""Services as pods see them: addresses that lead to the pods behind them, and names for both.

:mod:`~kubeling.engine.servicenet.network` puts it together: a range of addresses of this
instance's own, and a process (:mod:`~kubeling.engine.servicenet.process`) that keeps a forwarder
for each port of each Service, and a name server.
"""

"""NetworkPolicy: who may talk to whom, and the walls that hold it.

What the policies say is worked out from plain data (:mod:`.members`, :mod:`.compiling`,
:mod:`.verdicts`), in the semantics of ``networking.k8s.io/v1``. It is held in two places: as
nftables in each pod's own network (:mod:`.ruleset`), which stay there while the platform is away,
and in the forwarders of Services, where the platform stands between the two pods.
"""

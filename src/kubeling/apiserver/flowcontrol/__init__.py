"""flowcontrol.apiserver.k8s.io: the objects every cluster has, and a bound on what runs at once."""

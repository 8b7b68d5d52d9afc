"""``jobset.x-k8s.io``: groups of Jobs that start, end and are found as one."""

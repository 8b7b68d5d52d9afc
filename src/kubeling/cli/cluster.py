"""What the commands that serve a cluster of one's own ask for alike."""

from __future__ import annotations

from pathlib import Path

import click

from kubeling.kube.clusterdomain import cluster_domain

__all__ = ["cluster_domain_option", "ingress_domain_option", "kubeconfig_option"]

kubeconfig_option = click.option(
    "--kubeconfig",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The cluster; else $KUBECONFIG, the pod's own account, or ~/.kube/config.",
)
cluster_domain_option = click.option(
    "--cluster-domain",
    default=cluster_domain,
    help="The domain of Services' names.  [default: (the pod's own, else cluster.local)]",
)
ingress_domain_option = click.option(
    "--ingress-domain",
    default="example.com",
    show_default=True,
    help="The domain under which models have host names, as NAME-NAMESPACE.DOMAIN.",
)

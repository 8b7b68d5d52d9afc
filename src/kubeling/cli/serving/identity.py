"""Who asks a model, where an installation has its requests checked (``serving.authentication``).

The command line's own credentials are the administrator's, and a token goes to whoever reads the
request. So it asks as the account of the service's namespace that may see the service, with a token
that is made for the moment.
"""

from __future__ import annotations

import shlex
from typing import Final

from kubeling.cli.errors import CliError
from kubeling.kube.client import Client
from kubeling.kube.errors import ApiError
from kubeling.kube.objects import Obj, name
from kubeling.kube.resources import SERVICE_ACCOUNTS

__all__ = ["account_in", "grant_of", "header_of", "token_of"]

_OF_PROFILES: Final = ("default-editor", "default-viewer")
_SECONDS: Final = 600
"""The shortest life that an API server gives a token."""


async def account_in(client: Client, namespace: str) -> str:
    """The account to ask as: one of a profile's, else the namespace's own."""
    found = {name(a) for a in (await client.list(SERVICE_ACCOUNTS, namespace)).items}
    return next((account for account in _OF_PROFILES if account in found), "default")


async def token_of(client: Client, namespace: str, account: str) -> str:
    """A token of an account, for a short while."""
    request: Obj = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": _SECONDS},
    }
    try:
        answer = await client.create_subresource(
            SERVICE_ACCOUNTS, account, namespace, "token", request
        )
    except ApiError as error:
        raise CliError(f"there is no token to ask with: {error.message}") from None
    return str(answer["status"]["token"])


def header_of(account: str, namespace: str, kubeconfig: str) -> str:
    """The header for a shell, which has the token made: so none is printed."""
    words = ["kubectl", "--kubeconfig", kubeconfig, "create", "token", account, "-n", namespace]
    return f'"Authorization: Bearer $({shlex.join(words)})"'


def grant_of(account: str, namespace: str) -> str:
    """The command that lets an account ask; profiles' own may already."""
    binding = f"kubectl create rolebinding {account}-asks-models -n {namespace}"
    return f"{binding} --clusterrole=kubeflow-view --serviceaccount={namespace}:{account}"

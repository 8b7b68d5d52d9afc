"""What can be set about the API server: kube-apiserver's flags, as far as they make sense here.

Names, meanings and defaults are those of kube-apiserver, so that what is written about it holds.
``kubeling config`` prints them as ``api.…``; a flag of ``kubeling up`` has the name alone.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

__all__ = ["ApiSettings", "SettingsError"]

Algorithm = Literal["RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512"]


class SettingsError(Exception):
    """A setting, or the file that it names, cannot be used; the message says which and why."""


class ApiSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The embedded API server's settings."""

    anonymous_auth: Annotated[
        bool, Meta(description="Let requests without credentials in, as system:anonymous.")
    ] = True

    token_auth_file: Annotated[
        str, Meta(description='Static tokens: a file of token,user,uid,"group1,group2" lines.')
    ] = ""

    authentication_config: Annotated[
        str,
        Meta(description="Issuers of tokens: a file with Kubernetes' AuthenticationConfiguration."),
    ] = ""

    oidc_issuer_url: Annotated[
        str, Meta(description="An OpenID issuer whose tokens are accepted; https only.")
    ] = ""

    oidc_client_id: Annotated[
        str, Meta(description="The client its tokens have to be meant for.")
    ] = ""

    oidc_ca_file: Annotated[
        str, Meta(description="Who vouches for the issuer's certificate; else the machine's list.")
    ] = ""

    oidc_username_claim: Annotated[str, Meta(description="The claim that is the user's name.")] = (
        "sub"
    )

    oidc_username_prefix: Annotated[
        str,
        Meta(description="Put before names: by default the issuer's URL and #, for email nothing."),
    ] = ""

    oidc_groups_claim: Annotated[str, Meta(description="The claim that lists groups.")] = ""

    oidc_groups_prefix: Annotated[str, Meta(description="Put before the names of groups.")] = ""

    oidc_required_claim: Annotated[
        dict[str, str], Meta(description="A claim and the value it has to have.")
    ] = {}

    oidc_signing_algs: Annotated[
        tuple[Algorithm, ...], Meta(description="Algorithms that tokens may be signed with.")
    ] = ("RS256",)

    audit_level: Annotated[
        Literal["off", "metadata", "request", "request-response"],
        Meta(description="What of each request is recorded in the audit log."),
    ] = "off"

    audit_policy_file: Annotated[
        str,
        Meta(description="Instead of one level: a file with Kubernetes' audit Policy."),
    ] = ""

    audit_log_path: Annotated[
        str,
        Meta(
            description="The audit log; - is the standard output. By default audit.log beside "
            "the data."
        ),
    ] = ""

    audit_log_maxsize: Annotated[
        int, Meta(ge=1, description="Megabytes after which the audit log begins anew.")
    ] = 100

    audit_log_maxbackup: Annotated[
        int, Meta(ge=0, description="How many of its old files are kept.")
    ] = 5

    max_requests_inflight: Annotated[
        int, Meta(ge=0, description="Reading requests served at once; 0 is no limit.")
    ] = 400

    max_mutating_requests_inflight: Annotated[
        int, Meta(ge=0, description="Writing requests served at once; 0 is no limit.")
    ] = 200

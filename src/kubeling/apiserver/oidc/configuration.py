"""``AuthenticationConfiguration`` (apiserver.config.k8s.io/v1): read, and checked as upstream does.

A file that kube-apiserver takes is taken here, and one that it refuses is refused. What cannot be
had here, an egress selector, is refused as well.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import msgspec

from kubeling.apiserver.settings import ApiSettings, SettingsError
from kubeling.kube import yaml

__all__ = [
    "AuthenticationConfiguration",
    "ClaimMappings",
    "ClaimOrExpression",
    "Issuer",
    "JwtAuthenticator",
    "ValidationRule",
    "configured",
]

ALGORITHMS: Final = (
    "RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512",
)  # fmt: skip
_VERSIONS: Final = tuple(f"apiserver.config.k8s.io/{v}" for v in ("v1", "v1beta1", "v1alpha1"))


class _Struct(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    pass


class Issuer(_Struct):
    """Who signs, and for whom."""

    url: str
    audiences: list[str]
    discovery_url: str = msgspec.field(default="", name="discoveryURL")
    certificate_authority: str = ""
    audience_match_policy: Literal["", "MatchAny"] = ""


class ClaimOrExpression(_Struct):
    """Where a value comes from; ``prefix`` only with a claim."""

    claim: str = ""
    prefix: str | None = None
    expression: str = ""


class ExtraMapping(_Struct):
    """One key of a user's ``extra``."""

    key: str
    value_expression: str


class ClaimMappings(_Struct):
    """What claims make of a user."""

    username: ClaimOrExpression
    groups: ClaimOrExpression = msgspec.field(default_factory=ClaimOrExpression)
    uid: ClaimOrExpression = msgspec.field(default_factory=ClaimOrExpression)
    extra: list[ExtraMapping] = []


class ValidationRule(_Struct):
    """What has to hold of a token's claims, or of the user they make."""

    claim: str = ""
    required_value: str = ""
    expression: str = ""
    message: str = ""


class JwtAuthenticator(_Struct):
    """One issuer and what is made of its tokens."""

    issuer: Issuer
    claim_mappings: ClaimMappings
    claim_validation_rules: list[ValidationRule] = []
    user_validation_rules: list[ValidationRule] = []


class AnonymousCondition(_Struct):
    """A path that anyone may ask for."""

    path: str


class AnonymousConfig(_Struct):
    """Whether requests need no credentials, and where."""

    enabled: bool
    conditions: list[AnonymousCondition] = []


class AuthenticationConfiguration(_Struct):
    """The whole file."""

    api_version: str
    kind: Literal["AuthenticationConfiguration"]
    jwt: list[JwtAuthenticator] = []
    anonymous: AnonymousConfig | None = None


def configured(
    settings: ApiSettings,
) -> tuple[AuthenticationConfiguration, tuple[str, ...]]:
    """What the settings say, in the form of a file, and the signing algorithms allowed.

    Raises :class:`SettingsError`.
    """
    algorithms: tuple[str, ...] = ALGORITHMS
    found = AuthenticationConfiguration(
        api_version=_VERSIONS[0], kind="AuthenticationConfiguration"
    )
    where = "api.authentication_config"
    if settings.authentication_config:
        found = _read(Path(settings.authentication_config))
        where = settings.authentication_config
    if settings.oidc_issuer_url:
        if found.jwt:
            raise SettingsError("api.authentication_config and api.oidc_… exclude each other")
        issuer = _from_settings(settings)
        found = msgspec.structs.replace(found, jwt=[issuer])
        where, algorithms = "api.oidc_…", settings.oidc_signing_algs
    from kubeling.apiserver.oidc.checks import configuration_errors

    if errors := list(configuration_errors(found)):
        raise SettingsError(f"{where}: " + "; ".join(map(str, errors)))
    return found, algorithms


def _read(path: Path) -> AuthenticationConfiguration:
    try:
        content = yaml.load(path.read_text())
        found = msgspec.convert(content, AuthenticationConfiguration)
    except OSError as error:
        raise SettingsError(f"api.authentication_config: {path}: {error.strerror}") from None
    except (ValueError, msgspec.ValidationError) as error:
        raise SettingsError(f"{path}: {error}") from None
    if found.api_version not in _VERSIONS:
        raise SettingsError(
            f"{path}: apiVersion is {found.api_version}: it should be {_VERSIONS[0]}"
        )
    return found


def _from_settings(settings: ApiSettings) -> JwtAuthenticator:
    if not settings.oidc_client_id:
        raise SettingsError("api.oidc_client_id must be set if api.oidc_issuer_url is set")
    authority = ""
    if settings.oidc_ca_file:
        try:
            authority = Path(settings.oidc_ca_file).read_text()
        except OSError as error:
            said = f"{settings.oidc_ca_file}: {error.strerror}"
            raise SettingsError(f"api.oidc_ca_file: {said}") from None
    claim, prefix = settings.oidc_username_claim, settings.oidc_username_prefix
    if not prefix and claim != "email":
        prefix = f"{settings.oidc_issuer_url}#"
    groups = ClaimOrExpression()
    if settings.oidc_groups_claim:
        groups = ClaimOrExpression(
            claim=settings.oidc_groups_claim, prefix=settings.oidc_groups_prefix
        )
    return JwtAuthenticator(
        issuer=Issuer(
            url=settings.oidc_issuer_url,
            audiences=[settings.oidc_client_id],
            certificate_authority=authority,
        ),
        claim_mappings=ClaimMappings(
            username=ClaimOrExpression(claim=claim, prefix="" if prefix == "-" else prefix),
            groups=groups,
        ),
        claim_validation_rules=[
            ValidationRule(claim=name, required_value=value)
            for name, value in settings.oidc_required_claim.items()
        ],
    )

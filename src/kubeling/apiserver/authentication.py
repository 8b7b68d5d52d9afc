"""Who is believed: what the settings say about tokens, issuers and strangers, put together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kubeling.apiserver.auth import Anonymous, Authenticator
from kubeling.apiserver.settings import ApiSettings
from kubeling.apiserver.tokenfile import load_tokens
from kubeling.apiserver.tokens import Tokens
from kubeling.kube.clock import Clock

if TYPE_CHECKING:
    from kubeling.apiserver.oidc.issuers import Issuers

__all__ = ["authentication"]


def authentication(
    settings: ApiSettings, tokens: Tokens, clock: Clock
) -> tuple[Authenticator, Issuers | None]:
    """The authenticator, and the issuers to run beside it; raises ``SettingsError``."""
    static = load_tokens(Path(settings.token_auth_file)) if settings.token_auth_file else {}
    anonymous, issuers = Anonymous(enabled=settings.anonymous_auth), None
    if settings.authentication_config or settings.oidc_issuer_url:
        from kubeling.apiserver.oidc.configuration import configured
        from kubeling.apiserver.oidc.issuers import Issuers

        found, algorithms = configured(settings)
        issuers = Issuers(found.jwt, algorithms, clock)
        if found.anonymous is not None:
            paths = frozenset(condition.path for condition in found.anonymous.conditions)
            anonymous = Anonymous(enabled=found.anonymous.enabled, paths=paths)
    return Authenticator(tokens, static, issuers, anonymous), issuers

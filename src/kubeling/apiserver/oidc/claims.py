"""From a token's claims to a user, and whether they are good enough: pure.

Upstream: ``plugin/pkg/authenticator/token/oidc``. Expressions (CEL) see ``claims``, and rules about
users see ``user``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from kubeling.apiserver.oidc.configuration import (
    ClaimOrExpression,
    JwtAuthenticator,
    ValidationRule,
)
from kubeling.apiserver.settings import SettingsError
from kubeling.apiserver.tokens import TokenError
from kubeling.apiserver.user import AUTHENTICATED, User

__all__ = ["ClaimMapper"]

_EMAIL: Final = re.compile(r"\bclaims\.\??email\b")
_VERIFIED: Final = re.compile(r"\bclaims\.\??email_verified\b")
_CREDENTIAL: Final = "authentication.kubernetes.io/credential-id"


class ClaimMapper:
    """What one issuer's configuration makes of claims.

    Raises :class:`SettingsError` where an expression cannot be right.
    """

    def __init__(self, entry: JwtAuthenticator) -> None:
        mappings = entry.claim_mappings
        self._username, self._groups, self._uid = mappings.username, mappings.groups, mappings.uid
        self._rules = entry.claim_validation_rules
        self._user_rules = entry.user_validation_rules
        self._extra = {extra.key: extra.value_expression for extra in mappings.extra}
        values = [mappings.username.expression, mappings.groups.expression]
        values += [mappings.uid.expression, *self._extra.values()]
        rules = [rule.expression for rule in self._rules]
        self._programs = {text: _compiled(text, "claims") for text in values if text}
        self._programs |= {text: _compiled(text, "claims", rule=True) for text in rules if text}
        self._programs |= {
            rule.expression: _compiled(rule.expression, "user", rule=True)
            for rule in self._user_rules
        }
        if _EMAIL.search(mappings.username.expression):
            others = [mappings.username.expression, *self._extra.values()]
            others += [rule.expression for rule in self._rules]
            if not any(map(_VERIFIED.search, others)):
                raise SettingsError(
                    "claims.email_verified must be used in claimMappings.username.expression or "
                    "claimMappings.extra[*].valueExpression or claimValidationRules[*].expression "
                    "when claims.email is used in claimMappings.username.expression"
                )

    def user(self, claims: Mapping[str, Any]) -> User:
        """Whom the claims name; raises :class:`TokenError`."""
        user = User(
            self._name(claims),
            (*self._group_names(claims), AUTHENTICATED),
            self._uid_of(claims),
            self._extra_of(claims),
        )
        for rule in self._rules:
            self._require(rule, claims)
        if self._user_rules:
            shown = {"uid": "", "groups": [], "extra": {}, **user.to_object()}
            for rule in self._user_rules:
                if self._evaluated(rule.expression, user=shown) is not True:
                    raise TokenError(_failed(rule))
        return user

    def _name(self, claims: Mapping[str, Any]) -> str:
        name = self._value(self._username, claims)
        if not isinstance(name, str):
            shown = self._username.claim or "expression"
            raise TokenError(f'oidc: parse username claims "{shown}": it is not a string')
        if self._username.expression and not name:
            raise TokenError("oidc: empty username via CEL expression is not allowed")
        if self._username.claim == "email" and claims.get("email_verified", True) is not True:
            raise TokenError("oidc: email not verified")
        return (self._username.prefix or "") + name

    def _group_names(self, claims: Mapping[str, Any]) -> list[str]:
        if not self._groups.claim and not self._groups.expression:
            return []
        if self._groups.claim and self._groups.claim not in claims:
            return []
        prefix = self._groups.prefix or ""
        value = self._value(self._groups, claims)
        return [prefix + group for group in _strings(value, "groups")]

    def _uid_of(self, claims: Mapping[str, Any]) -> str:
        if not self._uid.claim and not self._uid.expression:
            return ""
        uid = self._value(self._uid, claims)
        if not isinstance(uid, str):
            raise TokenError("oidc: the uid is not a string")
        return uid

    def _extra_of(self, claims: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
        extra: dict[str, tuple[str, ...]] = {}
        if isinstance(jti := claims.get("jti"), str) and jti:
            extra[_CREDENTIAL] = (f"JTI={jti}",)
        for key, expression in self._extra.items():
            values = _strings(self._evaluated(expression, claims=claims), key)
            if values:
                extra[key] = tuple(values)
        return extra

    def _value(self, source: ClaimOrExpression, claims: Mapping[str, Any]) -> Any:
        if source.expression:
            return self._evaluated(source.expression, claims=claims)
        if source.claim not in claims:
            raise TokenError(f'oidc: parse claims: claim "{source.claim}" not present in ID token')
        return claims[source.claim]

    def _require(self, rule: ValidationRule, claims: Mapping[str, Any]) -> None:
        if rule.expression:
            if self._evaluated(rule.expression, claims=claims) is not True:
                raise TokenError(_failed(rule))
            return
        if rule.claim not in claims:
            raise TokenError(f"oidc: required claim {rule.claim} not present in ID token")
        found = claims[rule.claim]
        if found != rule.required_value:
            raise TokenError(
                f"oidc: required claim {rule.claim} value does not match. Got = {found}, want = "
                f"{rule.required_value}"
            )

    def _evaluated(self, expression: str, **variables: Any) -> Any:
        from kubeling.apiserver.cel.errors import CelError

        try:
            return self._programs[expression].evaluate(variables)
        except CelError as error:
            raise TokenError(f"oidc: error evaluating expression '{expression}': {error}") from None


def _compiled(expression: str, variable: str, *, rule: bool = False) -> Any:
    from kubeling.apiserver.cel.errors import CompileError
    from kubeling.apiserver.cel.program import compile_expression
    from kubeling.apiserver.cel.types import ANY, BOOL, STRING, map_of
    from kubeling.apiserver.policies.environment import USER_INFO

    types = {"claims": map_of(STRING, ANY), "user": USER_INFO}
    try:
        wanted = BOOL if rule else None
        return compile_expression(expression, {variable: types[variable]}, result=wanted)
    except CompileError as error:
        raise SettingsError(f"expression '{expression}': {error}") from None


def _strings(value: Any, what: str) -> list[str]:
    """A string or a list of strings, without the empty ones."""
    given = [value] if isinstance(value, str) else value
    if given is None:
        return []
    if not isinstance(given, list | tuple) or not all(isinstance(one, str) for one in given):
        raise TokenError(f"oidc: {what} must be a string or a list of strings")
    return [one for one in given if one]


def _failed(rule: ValidationRule) -> str:
    said = rule.message or "expression evaluated to false"
    return f"oidc: validation expression '{rule.expression}' failed: {said}"

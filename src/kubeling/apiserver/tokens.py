"""Service account tokens: JSON Web Tokens signed with the server's own key.

A token names its account, and the object it is bound to where there is one; it is worth something
only while both exist with the same uid. Tokens of Secrets, which know no end, have claims of their
own. Checked tokens are remembered for a while, because clients send the same one with every
request. Upstream: ``pkg/serviceaccount``.
"""

from __future__ import annotations

import base64
import datetime as dt
import hmac
from collections.abc import Sequence
from typing import Final

import msgspec

from kubeling.apiserver.jws import SignatureError, Signer, unverified_claims
from kubeling.apiserver.records import StoreKey
from kubeling.apiserver.storage import Store
from kubeling.apiserver.tls import Authority
from kubeling.apiserver.uids import new_uid
from kubeling.apiserver.user import AUTHENTICATED, User, account_groups
from kubeling.kube.clock import Clock
from kubeling.kube.objects import Obj, deletion_requested, parse_time

__all__ = ["ISSUER", "TokenError", "Tokens"]

ISSUER: Final = "https://kubernetes.default.svc.cluster.local"
_LEGACY_ISSUER: Final = "kubernetes/serviceaccount"
_LEGACY: Final = "kubernetes.io/serviceaccount/"
_REMEMBERED: Final = 1024
_LEEWAY: Final = dt.timedelta(minutes=1)
_EXTRA: Final = "authentication.kubernetes.io/"


class TokenError(Exception):
    """The token proves nothing; the message says why."""


class Bound(msgspec.Struct):
    """An object that a token, or its validity, depends on."""

    name: str
    uid: str


class _Kubernetes(msgspec.Struct, rename="lower", omit_defaults=True):
    namespace: str
    serviceaccount: Bound
    pod: Bound | None = None
    secret: Bound | None = None
    node: Bound | None = None


class Claims(msgspec.Struct):
    """What a token says."""

    iss: str
    sub: str
    aud: list[str]
    exp: int
    iat: int
    nbf: int
    jti: str
    kubernetes: _Kubernetes = msgspec.field(name="kubernetes.io")


class LegacyClaims(msgspec.Struct):
    """What the token of a Secret says."""

    iss: str
    sub: str
    namespace: str = msgspec.field(name=f"{_LEGACY}namespace")
    secret: str = msgspec.field(name=f"{_LEGACY}secret.name")
    account: str = msgspec.field(name=f"{_LEGACY}service-account.name")
    uid: str = msgspec.field(name=f"{_LEGACY}service-account.uid")


class Tokens:
    """Issues and checks the tokens of service accounts."""

    def __init__(self, authority: Authority, store: Store, clock: Clock) -> None:
        self._signer = Signer(authority)
        self._store = store
        self._clock = clock
        self._checked: dict[str, Claims | LegacyClaims] = {}
        self.jwks = self._signer.jwks

    def issue(
        self,
        account: Obj,
        *,
        seconds: int,
        audiences: Sequence[str] = (),
        pod: Obj | None = None,
        secret: Obj | None = None,
        node: Obj | None = None,
    ) -> tuple[str, int]:
        """A token for an account, and when it expires (seconds since the epoch)."""
        metadata = account["metadata"]
        now = int(self._clock.now().timestamp())
        claims = Claims(
            iss=ISSUER,
            sub=f"system:serviceaccount:{metadata['namespace']}:{metadata['name']}",
            aud=list(audiences) or [ISSUER],
            exp=now + seconds,
            iat=now,
            nbf=now,
            jti=new_uid(),
            kubernetes=_Kubernetes(
                metadata["namespace"],
                Bound(metadata["name"], metadata["uid"]),
                _bound(pod),
                _bound(secret),
                _bound(node),
            ),
        )
        return self._signer.sign(claims), claims.exp

    def issue_legacy(self, account: Obj, secret: str) -> str:
        """A token that is good for as long as a Secret holds it."""
        metadata = account["metadata"]
        namespace, name = metadata["namespace"], metadata["name"]
        subject = f"system:serviceaccount:{namespace}:{name}"
        return self._signer.sign(
            LegacyClaims(_LEGACY_ISSUER, subject, namespace, secret, name, metadata["uid"])
        )

    def check(self, token: str, audiences: Sequence[str] = (ISSUER,)) -> tuple[User, list[str]]:
        """Whom the token stands for, and for which audiences; raises :class:`TokenError`."""
        claims = self._checked.get(token) or self._verified(token)
        if isinstance(claims, LegacyClaims):
            return self._check_legacy(claims, token, audiences)
        now = self._clock.now()
        if claims.exp <= now.timestamp():
            raise TokenError("service account token has expired")
        if claims.nbf > (now + _LEEWAY).timestamp():
            raise TokenError("service account token is not valid yet")
        fitting = _fitting(audiences, claims.aud)
        named = claims.kubernetes
        self._require("/serviceaccounts", named.namespace, named.serviceaccount)
        self._require("/pods", named.namespace, named.pod)
        self._require("/secrets", named.namespace, named.secret)
        if named.pod is None:
            # The node of a pod is only told; a token bound to a node is worth what the node is.
            self._require("/nodes", "", named.node)
        return _user(claims), fitting

    def _check_legacy(
        self, claims: LegacyClaims, token: str, audiences: Sequence[str]
    ) -> tuple[User, list[str]]:
        self._require("/serviceaccounts", claims.namespace, Bound(claims.account, claims.uid))
        record = self._store.get(StoreKey("/secrets", claims.namespace, claims.secret))
        if record is None or not _holds(record.obj, token):
            raise TokenError("Token has been invalidated")
        groups = (*account_groups(claims.namespace), AUTHENTICATED)
        return User(claims.sub, groups, claims.uid), _fitting(audiences, [ISSUER])

    def _verified(self, token: str) -> Claims | LegacyClaims:
        issuer = unverified_claims(token).get("iss")
        if issuer not in (ISSUER, _LEGACY_ISSUER):
            raise TokenError("not a service account token")
        kind: type[Claims | LegacyClaims] = Claims if issuer == ISSUER else LegacyClaims
        try:
            claims = msgspec.json.decode(self._signer.verified(token), type=kind)
        except SignatureError:
            raise TokenError("the token is not signed with this server's key") from None
        except msgspec.MsgspecError:
            raise TokenError("not a service account token") from None
        if len(self._checked) >= _REMEMBERED:
            self._checked.clear()
        self._checked[token] = claims
        return claims

    def _require(self, storage: str, namespace: str, bound: Bound | None) -> None:
        """Raises where an object the token depends on is gone, or is going for a while."""
        if bound is None:
            return
        record = self._store.get(StoreKey(storage, namespace, bound.name))
        plural, shown = storage.removeprefix("/"), bound.name
        if record is None:
            why = f'{plural} "{shown}" not found'
            raise TokenError(f"service account token has been invalidated: {why}")
        metadata = record.obj["metadata"]
        if metadata["uid"] != bound.uid:
            raise TokenError(f"{plural} UID ({metadata['uid']}) does not match claim ({bound.uid})")
        deleted = metadata.get("deletionTimestamp")
        if deleted and parse_time(deleted) < self._clock.now() - _LEEWAY:
            why = f'{plural} "{shown}" has been deleted'
            raise TokenError(f"service account token has been invalidated: {why}")


def _fitting(audiences: Sequence[str], meant: Sequence[str]) -> list[str]:
    fitting = [audience for audience in audiences if audience in meant]
    if not fitting:
        shown = " ".join(f'"{audience}"' for audience in meant)
        raise TokenError(f"token audiences [{shown}] is invalid for the target audiences")
    return fitting


def _holds(secret: Obj, token: str) -> bool:
    """Whether a Secret still says what the token is."""
    kept = (secret.get("data") or {}).get("token") or ""
    given = base64.b64encode(token.encode()).decode()
    return not deletion_requested(secret) and hmac.compare_digest(kept, given)


def _bound(obj: Obj | None) -> Bound | None:
    return None if obj is None else Bound(obj["metadata"]["name"], obj["metadata"]["uid"])


def _user(claims: Claims) -> User:
    named = claims.kubernetes
    extra: dict[str, tuple[str, ...]] = {f"{_EXTRA}credential-id": (f"JTI={claims.jti}",)}
    for kind, bound in (("pod", named.pod), ("node", named.node)):
        if bound is not None:
            extra[f"{_EXTRA}{kind}-name"] = (bound.name,)
            extra[f"{_EXTRA}{kind}-uid"] = (bound.uid,)
    groups = (*account_groups(named.namespace), AUTHENTICATED)
    return User(claims.sub, groups, named.serviceaccount.uid, extra)

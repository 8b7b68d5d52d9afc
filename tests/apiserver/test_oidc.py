"""Tokens of OpenID issuers: who their holders are, and which are refused."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from tests.support.apiserver import RunningServer, running_server
from tests.support.callers import calling
from tests.support.issuer import Issuer, running_issuer

from kubeling.apiserver.oidc.claims import ClaimMapper
from kubeling.apiserver.oidc.configuration import (
    ClaimMappings,
    ClaimOrExpression,
    JwtAuthenticator,
    configured,
)
from kubeling.apiserver.oidc.configuration import Issuer as IssuerConfiguration
from kubeling.apiserver.settings import ApiSettings, SettingsError
from kubeling.apiserver.tokens import TokenError
from kubeling.kube import yaml
from kubeling.kube.clock import FakeClock
from kubeling.kube.objects import Obj
from kubeling.kube.resources import TOKEN_REVIEWS


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with running_issuer() as issuer:
        yield issuer


def trusting(issuer: Issuer, folder: Path, **more: Any) -> ApiSettings:
    """Settings as kube-apiserver's flags for one issuer."""
    authority = folder / "ca.pem"
    authority.write_text(issuer.authority)
    common = {"oidc_issuer_url": issuer.url, "oidc_ca_file": str(authority)}
    return ApiSettings(**{**common, "oidc_client_id": "kubeling", **more})


def structured(folder: Path, *entries: Obj, **more: Any) -> ApiSettings:
    """Settings with a file that holds Kubernetes' AuthenticationConfiguration."""
    file = folder / "authentication.yaml"
    header = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration"}
    file.write_text(yaml.dump({**header, "jwt": list(entries), **more}))
    return ApiSettings(authentication_config=str(file))


def entry(issuer: Issuer, **more: Any) -> Obj:
    about = {"url": issuer.url, "audiences": ["kubeling"]}
    about["certificateAuthority"] = issuer.authority
    names = {"username": {"claim": "sub", "prefix": ""}}
    return {"issuer": about, "claimMappings": names, **more}


@contextlib.asynccontextmanager
async def knowing(
    settings: ApiSettings, clock: FakeClock | None = None
) -> AsyncIterator[RunningServer]:
    """A server that knows the issuers' keys."""
    async with running_server(settings=settings, clock=clock) as running:
        assert running.server.issuers is not None
        await running.server.issuers.ready()
        yield running


async def review(running: RunningServer, token: str) -> Obj:
    body: Obj = {"metadata": {}, "spec": {"token": token}}
    status: Obj = (await running.client.create(TOKEN_REVIEWS, body))["status"]
    return status


async def user(running: RunningServer, token: str) -> Obj:
    status = await review(running, token)
    assert status.get("authenticated"), status
    found: Obj = status["user"]
    return found


async def refusal(running: RunningServer, token: str) -> str:
    return str((await review(running, token))["error"])


# --- the flags of one issuer -------------------------------------------------------------------


async def test_a_user_has_the_issuer_before_their_name(issuer: Issuer, tmp_path: Path) -> None:
    async with knowing(trusting(issuer, tmp_path)) as running:
        found = await user(running, issuer.token())
        assert found == {"username": f"{issuer.url}#42", "groups": ["system:authenticated"]}


async def test_names_and_groups_come_from_claims_with_prefixes(
    issuer: Issuer, tmp_path: Path
) -> None:
    settings = trusting(
        issuer,
        tmp_path,
        oidc_username_claim="email",
        oidc_username_prefix="oidc:",
        oidc_groups_claim="teams",
        oidc_groups_prefix="team-",
    )
    async with knowing(settings) as running:
        found = await user(running, issuer.token(email="a@b.c", teams=["x", "y"], jti="7"))
        assert found["username"] == "oidc:a@b.c"
        assert found["groups"] == ["team-x", "team-y", "system:authenticated"]
        assert found["extra"] == {"authentication.kubernetes.io/credential-id": ["JTI=7"]}
        found = await user(running, issuer.token(email="a@b.c", teams="x"))
        assert found["groups"] == ["team-x", "system:authenticated"]
        assert await refusal(running, issuer.token(email="a@b.c", email_verified=False)) == (
            "oidc: email not verified"
        )
        assert "not present" in await refusal(running, issuer.token())


async def test_a_name_may_be_without_prefix(issuer: Issuer, tmp_path: Path) -> None:
    async with knowing(trusting(issuer, tmp_path, oidc_username_prefix="-")) as running:
        assert (await user(running, issuer.token()))["username"] == "42"


async def test_a_claim_may_be_required(issuer: Issuer, tmp_path: Path) -> None:
    async with knowing(trusting(issuer, tmp_path, oidc_required_claim={"hd": "a.b"})) as running:
        await user(running, issuer.token(hd="a.b"))
        assert "Got = x, want = a.b" in await refusal(running, issuer.token(hd="x"))
        assert "required claim hd not present" in await refusal(running, issuer.token())


async def test_what_is_wrong_with_a_token_is_said(issuer: Issuer, tmp_path: Path) -> None:
    clock = FakeClock(dt.datetime.now(dt.UTC))
    now = int(clock.now().timestamp())
    async with knowing(trusting(issuer, tmp_path), clock) as running:
        for token, message in (
            (issuer.token(aud="other"), 'expected audience in ["kubeling"] got ["other"]'),
            (issuer.token(exp=now), "token is expired"),
            (issuer.token(nbf=now + 61), "before the nbf"),
            (issuer.token("RS512"), 'expected ["RS256"] got "RS512"'),
            (issuer.token(iss="https://elsewhere"), "not a service account token"),
            (f"{issuer.token()[:-8]}AAAAAAAA", "failed to verify signature"),
        ):
            assert message in await refusal(running, token)
        await user(running, issuer.token(nbf=now + 59, aud=["other", "kubeling"]))


async def test_a_token_that_was_good_ends_with_its_time(issuer: Issuer, tmp_path: Path) -> None:
    clock = FakeClock(dt.datetime.now(dt.UTC))
    async with knowing(trusting(issuer, tmp_path), clock) as running:
        token = issuer.token(exp=int(clock.now().timestamp()) + 5)
        await user(running, token)
        clock.advance(6)
        assert "token is expired" in await refusal(running, token)


async def test_new_keys_are_asked_for_when_a_token_has_one(issuer: Issuer, tmp_path: Path) -> None:
    clock = FakeClock(dt.datetime.now(dt.UTC))
    async with knowing(trusting(issuer, tmp_path), clock) as running:
        old = issuer.token()
        await user(running, old)
        issuer.rotate("second")
        await user(running, issuer.token())
        clock.advance(11)
        assert "failed to verify signature" in await refusal(running, old)


async def test_tokens_with_unknown_keys_do_not_make_the_server_ask_every_time(
    issuer: Issuer, tmp_path: Path
) -> None:
    async with knowing(trusting(issuer, tmp_path), FakeClock(dt.datetime.now(dt.UTC))) as running:
        trusted = issuer.keys
        issuer.rotate("stranger")
        tokens = [issuer.token(sub=str(number)) for number in range(5)]
        issuer.keys, before = trusted, issuer.asked.count("/keys")
        for token in tokens:
            assert "failed to verify signature" in await refusal(running, token)
        assert issuer.asked.count("/keys") == before + 1


async def test_other_algorithms_have_to_be_allowed(issuer: Issuer, tmp_path: Path) -> None:
    settings = trusting(issuer, tmp_path, oidc_signing_algs=("ES256", "PS256"))
    async with knowing(settings) as running:
        await user(running, issuer.token("PS256"))
        assert "unsupported algorithm" in await refusal(running, issuer.token())
        issuer.rotate("curve", curve=ec.SECP256R1())
        await user(running, issuer.token("ES256"))


async def test_an_issuer_that_is_not_there_yet_is_found_later(
    issuer: Issuer, tmp_path: Path
) -> None:
    clock = FakeClock(dt.datetime.now(dt.UTC))
    issuer.discovery = {"issuer": "https://another"}
    async with running_server(settings=trusting(issuer, tmp_path), clock=clock) as running:
        assert await refusal(running, issuer.token()) == "oidc: authenticator not initialized"
        issuer.discovery = {}
        assert running.server.issuers is not None
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            waiting = group.create_task(running.server.issuers.ready())
            while not waiting.done():
                clock.advance(1)
                await asyncio.sleep(0.001)
        await user(running, issuer.token())


async def test_requests_are_made_with_such_tokens(issuer: Issuer, tmp_path: Path) -> None:
    settings = trusting(issuer, tmp_path, oidc_username_prefix="-", oidc_groups_claim="groups")
    async with running_server(https=True, settings=settings) as running, calling(running) as caller:
        assert running.server.issuers is not None
        await running.server.issuers.ready()
        _, status = await caller.whoami(issuer.token(sub="ann", groups=["ops"]), [])
        assert status["userInfo"]["username"] == "ann"
        assert status["userInfo"]["groups"] == ["ops", "system:authenticated"]
        assert (await caller.whoami(issuer.token(aud="other"), []))[0] == 401


# --- the file of several -----------------------------------------------------------------------


async def test_several_issuers_each_have_their_own_users(issuer: Issuer, tmp_path: Path) -> None:
    async with running_issuer() as other:
        mapped = {"username": {"claim": "email", "prefix": "other:"}}
        settings = structured(tmp_path, entry(issuer), entry(other, claimMappings=mapped))
        async with knowing(settings) as running:
            assert (await user(running, issuer.token()))["username"] == "42"
            assert (await user(running, other.token(email="x@y")))["username"] == "other:x@y"
            forged = issuer.token(iss=other.url, email="x@y")
            assert "failed to verify signature" in await refusal(running, forged)


async def test_expressions_make_and_check_users(issuer: Issuer, tmp_path: Path) -> None:
    settings = structured(
        tmp_path,
        entry(
            issuer,
            claimMappings={
                "username": {"expression": "claims.name + '@' + claims.org"},
                "groups": {"expression": "claims.roles.split(',')"},
                "uid": {"claim": "sub"},
                "extra": [{"key": "acme.io/org", "valueExpression": "claims.org"}],
            },
            claimValidationRules=[
                {"expression": "claims.org == 'acme'", "message": "only people of acme"}
            ],
            userValidationRules=[
                {
                    "expression": "!user.username.startsWith('system:')",
                    "message": "reserved names",
                }
            ],
        ),
    )
    async with knowing(settings) as running:
        assert await user(running, issuer.token(name="ann", org="acme", roles="a,b")) == {
            "username": "ann@acme",
            "uid": "42",
            "groups": ["a", "b", "system:authenticated"],
            "extra": {"acme.io/org": ["acme"]},
        }
        token = issuer.token(name="ann", org="other", roles="")
        assert "only people of acme" in await refusal(running, token)
        token = issuer.token(name="system:x", org="acme", roles="")
        assert "reserved names" in await refusal(running, token)
        assert "no such key: org" in await refusal(running, issuer.token(name="ann"))


async def test_where_an_issuer_is_found_may_differ_from_its_name(
    issuer: Issuer, tmp_path: Path
) -> None:
    about = entry(issuer)
    about["issuer"]["discoveryURL"] = f"{issuer.url}/.well-known/openid-configuration"
    about["issuer"]["url"] = "https://sso.example"
    issuer.discovery = {"issuer": "https://sso.example"}
    async with knowing(structured(tmp_path, about)) as running:
        await user(running, issuer.token(iss="https://sso.example"))


async def test_anonymous_requests_may_be_for_some_paths_only(tmp_path: Path) -> None:
    conditions = {"enabled": True, "conditions": [{"path": "/livez"}]}
    settings = structured(tmp_path, anonymous=conditions)
    async with running_server(https=True, settings=settings) as running, calling(running) as caller:
        assert (await caller.get("/livez"))[0] == 200
        assert (await caller.get("/version"))[0] == 401
    settings = ApiSettings(anonymous_auth=False)
    async with running_server(https=True, settings=settings) as running, calling(running) as caller:
        assert (await caller.get("/livez"))[0] == 401


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"issuer": {"url": "http://a", "audiences": ["x"]}}, "URL scheme must be https"),
        ({"issuer": {"url": "https://a", "audiences": []}}, "jwt[0].issuer.audiences"),
        (
            {"issuer": {"url": "https://a", "audiences": ["x", "y"]}},
            "audienceMatchPolicy must be MatchAny for multiple audiences",
        ),
        ({"issuer": {"url": "https://a"}}, "audiences"),
        ({"claimMappings": {"username": {}}}, "claim or expression is required"),
        ({"claimMappings": {"username": {"claim": "sub"}}}, "prefix is required when claim is"),
        ({"claimValidationRules": [{"message": "x"}]}, "claimValidationRules[0]"),
        ({"nonsense": 1}, "nonsense"),
        ({"issuer": {"url": "https://a", "audiences": ["x"], "egressSelectorType": "c"}}, "egress"),
        (
            {
                "claimMappings": {
                    "username": {"claim": "sub", "prefix": ""},
                    "extra": [{"key": "x.k8s.io/a", "valueExpression": "claims.a"}],
                }
            },
            "reserved for Kubernetes use",
        ),
    ],
)
def test_a_wrong_file_is_refused_with_the_field(tmp_path: Path, change: Obj, message: str) -> None:
    sound = {
        "issuer": {"url": "https://a", "audiences": ["x"]},
        "claimMappings": {"username": {"claim": "sub", "prefix": ""}},
    }
    with pytest.raises(SettingsError) as raised:
        configured(structured(tmp_path, {**sound, **change}))
    assert message in str(raised.value)


async def test_a_wrong_expression_is_refused_at_the_start(issuer: Issuer, tmp_path: Path) -> None:
    for mapping, message in (
        ({"username": {"expression": "claims.sub +"}}, "Syntax error"),
        ({"username": {"expression": "claims.email"}}, "claims.email_verified must be used"),
    ):
        settings = structured(tmp_path, entry(issuer, claimMappings=mapping))
        with pytest.raises(SettingsError, match=message):
            async with running_server(settings=settings):
                pass


async def test_one_way_of_naming_issuers_excludes_the_other(tmp_path: Path) -> None:
    for settings, message in (
        (ApiSettings(oidc_issuer_url="https://a"), "api.oidc_client_id must be set"),
        (ApiSettings(authentication_config=str(tmp_path / "none")), "No such file"),
        (
            ApiSettings(
                oidc_issuer_url="https://a", oidc_client_id="x", oidc_ca_file=str(tmp_path / "none")
            ),
            "api.oidc_ca_file",
        ),
    ):
        with pytest.raises(SettingsError, match=message):
            configured(settings)


SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
CLAIMS = st.dictionaries(
    st.sampled_from(["sub", "groups", "jti", "email_verified"]),
    SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(st.text(max_size=3), SCALARS),
)


@given(CLAIMS)
def test_any_claims_make_a_user_or_are_refused(claims: dict[str, Any]) -> None:
    mapper = ClaimMapper(
        JwtAuthenticator(
            issuer=IssuerConfiguration(url="https://a", audiences=["x"]),
            claim_mappings=ClaimMappings(
                username=ClaimOrExpression(claim="sub", prefix="p:"),
                groups=ClaimOrExpression(claim="groups", prefix=""),
            ),
        )
    )
    try:
        found = mapper.user(claims)
    except TokenError:
        return
    assert found.name.startswith("p:")
    assert all(isinstance(group, str) for group in found.groups)

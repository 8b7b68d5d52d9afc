"""People on a running platform, with the unmodified kubectl: who they are and what they may do."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
from pathlib import Path

import pytest
from tests.support.issuer import Issuer, running_issuer
from tests.support.platform import Platform, started

pytestmark = pytest.mark.e2e

REQUEST = """
apiVersion: certificates.k8s.io/v1
kind: CertificateSigningRequest
metadata: {{name: ann}}
spec:
  request: {request}
  signerName: kubernetes.io/kube-apiserver-client
  expirationSeconds: 86400
  usages: [client auth]
"""


def configure(data_dir: Path, issuer: Issuer) -> None:
    """What an administrator writes into config.yaml to have people sign in elsewhere."""
    data_dir.mkdir()
    (data_dir / "ca.pem").write_text(issuer.authority)
    (data_dir / "config.yaml").write_text(
        f"""
api:
  oidc_issuer_url: {issuer.url}
  oidc_client_id: kubeling
  oidc_ca_file: ca.pem
  oidc_username_claim: email
  oidc_groups_claim: groups
  oidc_groups_prefix: "oidc:"
  audit_level: metadata
"""
    )


class Person:
    """Somebody who runs kubectl with a credential of their own."""

    def __init__(self, platform: Platform, name: str, **credential: str) -> None:
        self._platform = platform
        shared = json.loads(platform.kubectl("config", "view", "--raw", "-o", "json"))
        context = {"cluster": shared["clusters"][0]["name"], "user": name}
        mine = {
            "users": [{"name": name, "user": credential}],
            "contexts": [{"name": name, "context": context}],
            "current-context": name,
        }
        self._kubeconfig = platform.data_dir / f"{name}.kubeconfig"
        self._kubeconfig.write_text(json.dumps({**shared, **mine}))

    def kubectl(self, *arguments: str) -> str:
        """What kubectl says, refusals included."""
        done = self._platform.run(
            "kubectl", f"--kubeconfig={self._kubeconfig}", *arguments, check=False
        )
        return done.stdout + done.stderr


async def test_people_come_by_token_and_by_certificate(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    async with running_issuer() as issuer:
        configure(tmp_path / "data", issuer)
        await asyncio.to_thread(story, tmp_path, issuer)


def story(folder: Path, issuer: Issuer) -> None:
    with started(folder / "data", folder / "work") as platform:
        by_token(platform, issuer)
        by_certificate(platform, folder)
        of_others(platform)
        of_accounts(platform)
        of_pods(platform)
        events = [json.loads(line) for line in (folder / "data/audit.log").open()]
        assert any(
            event["user"].get("username") == "bob@acme.io" and event["verb"] == "list"
            for event in events
        )


def by_token(platform: Platform, issuer: Issuer) -> None:
    bob = Person(platform, "bob", token=issuer.token(email="bob@acme.io", groups=["ops"]))
    who = bob.kubectl("auth", "whoami")
    assert "bob@acme.io" in who
    assert "[oidc:ops system:authenticated]" in who
    assert 'User "bob@acme.io" cannot list resource "pods"' in bob.kubectl("get", "pods")
    platform.kubectl("create", "rolebinding", "ops", "--clusterrole=view", "--group=oidc:ops")
    assert "No resources found" in bob.kubectl("get", "pods")
    assert bob.kubectl("auth", "can-i", "list", "pods").strip() == "yes"
    assert bob.kubectl("auth", "can-i", "delete", "pods").strip() == "no"
    assert "selfsubjectaccessreviews" in bob.kubectl("auth", "can-i", "--list")
    stranger = Person(platform, "stranger", token=issuer.token(email="x", aud="elsewhere"))
    assert "You must be logged in to the server" in stranger.kubectl("get", "pods")


def by_certificate(platform: Platform, folder: Path) -> None:
    key, request = folder / "ann.key", folder / "ann.csr"
    new = ("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
    subprocess.run(
        [*new, "-nodes", "-keyout", key, "-out", request, "-subj", "/CN=ann/O=ops"],
        check=True,
        capture_output=True,
    )
    text = base64.b64encode(request.read_bytes()).decode()
    platform.kubectl("apply", "-f", "-", stdin=REQUEST.format(request=text))
    assert "Pending" in platform.kubectl("get", "csr", "ann")
    approved = platform.kubectl("certificate", "approve", "ann")
    assert "certificatesigningrequest.certificates.k8s.io/ann approved" in approved
    signed = platform.kubectl("wait", "--for=jsonpath={.status.certificate}", "csr/ann")
    assert "condition met" in signed
    assert "Approved,Issued" in platform.kubectl("get", "csr", "ann")
    certificate = folder / "ann.crt"
    content = platform.object("csr", "ann")["status"]["certificate"]
    certificate.write_bytes(base64.b64decode(content))
    files = {"client-certificate": str(certificate), "client-key": str(key)}
    ann = Person(platform, "ann", **files)
    who = ann.kubectl("auth", "whoami", "-o", "json")
    assert json.loads(who)["status"]["userInfo"] == {
        "username": "ann",
        "groups": ["ops", "system:authenticated"],
    }


def of_others(platform: Platform) -> None:
    ask = ("auth", "can-i", "get", "pods", "--as=carol")
    assert platform.kubectl(*ask, check=False).strip() == "no"
    assert platform.kubectl(*ask, "--as-group=oidc:ops").strip() == "yes"
    who = platform.kubectl("auth", "whoami", "--as=carol", "--as-group=a", "--as-uid=7")
    assert "carol" in who
    assert "[a system:authenticated]" in who


def of_accounts(platform: Platform) -> None:
    robot = Person(platform, "robot", token=platform.kubectl("create", "token", "default").strip())
    assert "system:serviceaccount:default:default" in robot.kubectl("auth", "whoami")
    issuer = robot.kubectl("get", "--raw", "/.well-known/openid-configuration")
    assert json.loads(issuer)["issuer"] == "https://kubernetes.default.svc.cluster.local"
    assert (
        "unauthorized" in Person(platform, "forger", token="x.y.z").kubectl("get", "pods").lower()
    )


def of_pods(platform: Platform) -> None:
    platform.kubectl("create", "namespace", "guarded")
    label = ("label", "namespace", "guarded", "pod-security.kubernetes.io/enforce=baseline")
    platform.kubectl(*label, "pod-security.kubernetes.io/warn=restricted")
    create = ("create", "deployment", "web", "--image=busybox", "-n", "guarded", "--", "sleep", "9")
    warned = platform.run("kubectl", *create).stderr
    assert 'Warning: would violate PodSecurity "restricted:latest"' in warned
    privileged = '{"spec": {"hostPID": true}}'
    run = ("run", "p", "--image=busybox", "-n", "guarded", f"--overrides={privileged}")
    refused = platform.run("kubectl", *run, check=False).stderr
    assert 'violates PodSecurity "baseline:latest": host namespaces (hostPID=true)' in refused

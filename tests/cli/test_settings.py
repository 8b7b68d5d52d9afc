"""Settings: where each comes from, and what is said about a wrong one."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from kubeling.cli.errors import CliError
from kubeling.cli.instance import Instance
from kubeling.cli.main import cli
from kubeling.cli.settings import Setting, effective, engine_settings, room_settings
from kubeling.component import Settings
from kubeling.workflows.settings import WorkflowSettings


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    return Instance(tmp_path)


def configure(instance: Instance, text: str) -> None:
    instance.config_file.write_text(text)


def test_a_flag_wins_over_the_environment_over_the_file_over_the_default(
    instance: Instance,
) -> None:
    configure(instance, "port: 1\nhost: file.example\nengine: {max_pods: 7}\n")
    environment = {"KUBELING_PORT": "2", "KUBELING_ENGINE_ISOLATION": "false"}
    found = effective(instance, {"port": 3, "workspace": None}, environment)
    assert found["port"] == Setting("port", 3, "flag")
    assert found["host"] == Setting("host", "file.example", "config.yaml")
    assert found["engine.isolation"].value is False
    assert found["engine.isolation"].source == "$KUBELING_ENGINE_ISOLATION"
    assert found["controllers"] == Setting("controllers", True, "default")
    assert engine_settings(found)["max_pods"] == 7
    assert effective(instance, {}, environment)["port"].value == 2


def test_devices_are_declared_by_a_flag(instance: Instance) -> None:
    flags = {"extended_resources": {"nvidia.com/gpu": "4"}}
    assert engine_settings(effective(instance, flags, {}))["capacity"] == {"nvidia.com/gpu": "4"}


def test_how_long_workflows_are_archived_can_be_set(instance: Instance) -> None:
    configure(instance, "workflows: {archive_ttl: 30d}")
    found = effective(instance, {}, {"KUBELING_WORKFLOWS_ARCHIVE": "false"})
    settings = Settings(Path(), Path(), rooms=room_settings(found))
    expected = WorkflowSettings(archive=False, archive_ttl="30d")
    assert WorkflowSettings.of(settings) == expected


def test_a_declaration_of_devices_is_checked() -> None:
    result = CliRunner().invoke(cli, ["up", "--extended-resources", "gpu=4"])
    assert result.exit_code == 2
    assert '"gpu=4" is not of the form example.com/name=COUNT' in result.output


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prot: 1", 'there is no setting "prot"'),
        ("port: http", "port is 'http': Expected `int`"),
        ("port: 70000", "port is 70000"),
        ("engine: {max_pods: many}", "engine.max_pods is 'many'"),
        ("workflows: {archive_ttl: long}", "workflows.archive_ttl is 'long'"),
        ("- port", "should hold settings"),
        ("a: 1\n b: [", "line 2"),
    ],
)
def test_a_wrong_file_is_named_with_the_setting(
    instance: Instance, text: str, message: str
) -> None:
    configure(instance, text)
    with pytest.raises(CliError) as raised:
        effective(instance, {}, {})
    assert str(instance.config_file) in raised.value.message
    assert message in raised.value.message


def test_a_wrong_variable_is_named(instance: Instance) -> None:
    with pytest.raises(CliError, match="KUBELING_PORT: port is 'http'"):
        effective(instance, {}, {"KUBELING_PORT": "http"})


def test_a_workspace_that_is_not_there_is_refused(instance: Instance) -> None:
    configure(instance, "workspace: /nowhere/at/all\n")
    with pytest.raises(CliError, match=r"workspace \(config.yaml\): there is no folder /nowhere"):
        effective(instance, {}, {})


def test_config_prints_every_setting_and_its_source(instance: Instance) -> None:
    configure(instance, "engine: {capacity: {nvidia.com/gpu: '1'}}\n")
    arguments = ["config", "--data-dir", str(instance.data_dir), "--port", "0"]
    shown = CliRunner().invoke(cli, arguments).output
    assert f"{instance.data_dir}  (flag)" in shown
    assert '{"nvidia.com/gpu":"1"}  (config.yaml)' in shown
    found = json.loads(CliRunner().invoke(cli, [*arguments, "-o", "json"]).output)
    assert found["port"] == {"value": 0, "source": "flag"}


def test_the_api_servers_settings_are_flags_of_kube_apiserver(instance: Instance) -> None:
    configure(instance, "api: {oidc_issuer_url: https://a, token_auth_file: tokens.csv}\n")
    flags = [
        *("--oidc-client-id", "kubeling", "--oidc-required-claim", "hd=a.b"),
        *("--oidc-required-claim", "x=y=z", "--oidc-signing-algs", "RS256,ES256"),
        *("--anonymous-auth", "false"),
    ]
    arguments = ["config", "--data-dir", str(instance.data_dir), "-o", "json", *flags]
    found = json.loads(CliRunner().invoke(cli, arguments).output)
    shown = {name: (setting["value"], setting["source"]) for name, setting in found.items()}
    assert shown["api.oidc_issuer_url"] == ("https://a", "config.yaml")
    assert shown["api.token_auth_file"] == (f"{instance.data_dir}/tokens.csv", "config.yaml")
    assert shown["api.oidc_client_id"] == ("kubeling", "flag")
    assert shown["api.oidc_required_claim"] == ({"hd": "a.b", "x": "y=z"}, "flag")
    assert shown["api.oidc_signing_algs"] == (["RS256", "ES256"], "flag")
    assert shown["api.anonymous_auth"] == (False, "flag")
    assert shown["api.oidc_username_claim"] == ("sub", "default")


def test_a_wrong_flag_of_the_api_server_is_named(instance: Instance) -> None:
    arguments = ["config", "--data-dir", str(instance.data_dir)]
    for flags, message in (
        (["--oidc-signing-algs", "HS256"], "--oidc-signing-algs: api.oidc_signing_algs is"),
        (["--oidc-required-claim", "x"], '"x" should be KEY=VALUE'),
    ):
        result = CliRunner().invoke(cli, [*arguments, *flags])
        assert message in f"{result.output}{result.exception}", result


def test_a_variable_holds_text_or_yaml(instance: Instance) -> None:
    environment = {
        "KUBELING_API_OIDC_CLIENT_ID": "007",
        "KUBELING_API_OIDC_REQUIRED_CLAIM": "{hd: a.b}",
    }
    found = effective(instance, {}, environment)
    assert found["api.oidc_client_id"].value == "007"
    assert found["api.oidc_required_claim"].value == {"hd": "a.b"}


def test_names_of_the_gateway_are_checked(instance: Instance) -> None:
    configure(instance, "gateway: {allowed_hosts: [kf.example, '*.lab.example']}\n")
    found = effective(instance, {}, {})
    assert found["gateway.allowed_hosts"].value == ("kf.example", "*.lab.example")
    configure(instance, "gateway: {allowed_hosts: ['http://kf.example']}\n")
    with pytest.raises(CliError, match=r"gateway\.allowed_hosts"):
        effective(instance, {}, {})


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("oracle://me@there/x", '"oracle" is not supported; use sqlite:///FILE, postgresql://'),
        ("metadata.db", "is not supported; use sqlite:///FILE"),
    ],
)
def test_a_database_that_is_none_of_ours_is_refused(
    instance: Instance, url: str, message: str
) -> None:
    with pytest.raises(CliError, match=re.escape(message)):
        effective(instance, {"database": url}, {})


def test_passwords_of_databases_are_not_shown(instance: Instance) -> None:
    configure(instance, "database: postgresql://me:secret@db.example/kubeling\n")
    shown = CliRunner().invoke(cli, ["config", "--data-dir", str(instance.data_dir)]).output
    assert "postgresql://me:***@db.example/kubeling  (config.yaml)" in shown

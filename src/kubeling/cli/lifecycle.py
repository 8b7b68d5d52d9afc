"""``kubeling down | status | reset | env``: looking after a platform that was started."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import click

from kubeling.cli.errors import CliError
from kubeling.cli.instance import Endpoints, Instance, data_dir_option

__all__ = ["down", "env", "exports", "remove", "reset", "status"]

_STOP_SECONDS = 60


@click.command()
@data_dir_option
def down(data_dir: Path) -> None:
    """Stop the platform and the processes of its pods. Nothing that is kept is lost."""
    instance = Instance(data_dir)
    holder = instance.holder()
    if holder is None:
        click.echo(f"Nothing runs from {instance.data_dir}.")
        return
    _stop(instance, holder)
    click.echo("Stopped.")


@click.command()
@data_dir_option
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text")
def status(data_dir: Path, output: str) -> int:
    """Say whether the platform runs, where it answers and what is in it.

    The exit code is 0 if it runs and 3 if not.
    """
    from kubeling.cli.summary import summary

    instance = Instance(data_dir)
    running = instance.running()
    if running is None:
        click.echo("{}" if output == "json" else f"Nothing runs from {instance.data_dir}.")
        return 3
    click.echo(summary(running, as_json=output == "json"))
    return 0


@click.command()
@data_dir_option
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def reset(data_dir: Path, yes: bool) -> None:
    """Stop the platform and delete everything it keeps: objects, runs, models, logs."""
    instance = Instance(data_dir)
    if not instance.data_dir.exists():
        click.echo(f"There is nothing at {instance.data_dir}.")
        return
    if not (instance.data_dir / "layout").exists() and any(instance.data_dir.iterdir()):
        raise CliError(f"{instance.data_dir} is not a data directory of kubeling; nothing deleted")
    if not yes:
        click.confirm(f"Delete everything in {instance.data_dir}?", abort=True)
    remove(instance)
    click.echo(f"Deleted {instance.data_dir}.")


@click.command()
@data_dir_option
def env(data_dir: Path) -> None:
    """Print exports for kubectl and the SDKs.

    Use it as: eval "$(kubeling env)"
    """
    running = Instance(data_dir).require_running()
    for name, value in exports(running).items():
        click.echo(f'export {name}="{value}"')


def exports(running: Endpoints) -> dict[str, str]:
    """The environment that points the unmodified clients at a platform."""
    return {
        "KUBECONFIG": running.kubeconfig,
        # For kubeling's own commands, which else mean the usual directory.
        "KUBELING_DATA_DIR": str(Path(running.kubeconfig).parent),
        "KF_PIPELINES_ENDPOINT": running.dashboard,
        "KF_PIPELINES_UI_ENDPOINT": running.dashboard,
        "MODEL_REGISTRY_BASE_URL": running.dashboard,
        "KUBELING_DASHBOARD": running.dashboard,
        # Argo's own command line speaks gRPC, over TLS, unless it is told otherwise.
        "ARGO_SERVER": running.argo_server,
        "ARGO_HTTP1": "true",
        "ARGO_SECURE": "false",
        "ARGO_NAMESPACE": "default",
        # Nobody's variable: what to give KatibClient.get_trial_metrics as db_manager_address.
        "KATIB_DB_MANAGER": db_manager_address(running),
    }


def db_manager_address(running: Endpoints) -> str:
    """Where Katib's DB manager answers on this machine."""
    host = running.argo_server.rpartition(":")[0]
    return f"{host}:{running.listeners.get('katib-db-manager', 0)}"


def remove(instance: Instance) -> None:
    """Stops a platform if it runs, and deletes all it keeps, in the kernel and on disk."""
    holder = instance.holder()
    if holder is not None:
        _stop(instance, holder)
    _clean_up(instance.data_dir)
    _delete(instance.data_dir)


def _delete(data_dir: Path) -> None:
    """Deletes a data directory, folders included that containers have shut."""
    from kubeling.engine.trees import remove_forest

    try:
        remove_forest(data_dir)
    except OSError as error:
        raise CliError(
            f"cannot delete {error.filename}: {error.strerror}",
            f"Nothing runs any more; delete what is left of {data_dir} as its owner.",
        ) from None


def _stop(instance: Instance, holder: int) -> None:
    import psutil

    try:
        process = psutil.Process(holder)
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=_STOP_SECONDS)
    except psutil.NoSuchProcess:
        return
    except psutil.TimeoutExpired:
        raise CliError(
            f"process {holder} did not stop within {_STOP_SECONDS} s",
            f"Look at {instance.log_file}; kill -9 {holder} loses nothing.",
        ) from None


def _clean_up(data_dir: Path) -> None:
    """Ends what a crashed platform left running, and takes its networks down."""
    from kubeling.engine.config import EngineConfig
    from kubeling.engine.engine import remove_engine_state
    from kubeling.engine.servicenet.network import remove_service_network

    remove_service_network(data_dir)
    asyncio.run(remove_engine_state(EngineConfig(data_dir=data_dir, workspace=data_dir)))

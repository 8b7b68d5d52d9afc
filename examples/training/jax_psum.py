"""Adds a number up over the devices of all processes: what every distributed JAX job is made of."""

import os

import jax
import numpy
from jax.experimental import multihost_utils


def main() -> None:
    jax.distributed.initialize(
        coordinator_address=f"{os.environ['COORDINATOR_ADDRESS']}:{os.environ['COORDINATOR_PORT']}",
        num_processes=int(os.environ["NUM_PROCESSES"]),
        process_id=int(os.environ["PROCESS_ID"]),
    )
    mine = numpy.full((jax.local_device_count(),), jax.process_index() + 1.0)
    mesh = jax.make_mesh((jax.device_count(),), ("processes",))
    spread = multihost_utils.host_local_array_to_global_array(
        mine, mesh, jax.sharding.PartitionSpec("processes")
    )
    total = jax.jit(jax.numpy.sum)(spread)
    print(f"process {jax.process_index()} of {jax.process_count()}: sum={total:.0f}", flush=True)


if __name__ == "__main__":
    main()

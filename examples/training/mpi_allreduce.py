"""Adds a number up over all processes that mpirun has started, wherever they run."""

import socket

from mpi4py import MPI

world = MPI.COMM_WORLD
total = world.allreduce(world.rank + 1)
print(f"rank {world.rank} of {world.size} on {socket.gethostname()}: sum={total}", flush=True)

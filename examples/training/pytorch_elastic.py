"""Trains while workers come and go: who starts goes on from the epoch that was saved last.

Run by torchrun, which starts the processes anew when their number changes.
"""

import os
import time
from pathlib import Path

import torch
import torch.distributed as dist

EPOCHS = int(os.environ.get("EPOCHS", "100"))
CHECKPOINT = Path(os.environ.get("CHECKPOINT", "elastic.pt"))


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    weights, first = torch.zeros(4), 0
    if CHECKPOINT.exists():
        saved = torch.load(CHECKPOINT)
        weights, first = saved["weights"], saved["epoch"] + 1
    print(f"rank {rank} begins epoch={first} processes={world}", flush=True)
    for epoch in range(first, EPOCHS):
        step = torch.full((4,), 1.0 / world)
        dist.all_reduce(step)
        weights += step
        if rank == 0:
            save(epoch, weights)
            print(f"epoch={epoch} weight={weights[0].item():.3f} processes={world}", flush=True)
        time.sleep(0.2)
    dist.destroy_process_group()


def save(epoch: int, weights: torch.Tensor) -> None:
    """Writes the state whole or not at all: the process may be ended at any moment."""
    partial = CHECKPOINT.with_suffix(".part")
    torch.save({"epoch": epoch, "weights": weights}, partial)
    partial.replace(CHECKPOINT)


if __name__ == "__main__":
    main()

"""Trains one model in several processes, each on its share of every batch.

Gradients are averaged over all processes, so the loss is the same however many there are.
"""

import os

import torch
import torch.distributed as dist

# Before there is a group: imported later, as the first optimizer does, its functions keep that
# group as their arguments' default, and threads that outlive the interpreter may abort the process.
import torch.distributed.nn
from sklearn.datasets import load_digits
from torch.nn.parallel import DistributedDataParallel

EPOCHS = 3
BATCH = 96


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    train(dist.get_rank(), dist.get_world_size())
    dist.destroy_process_group()


def train(rank: int, world: int) -> None:
    """Prints the loss of each epoch; the model and all that it holds are gone at the end."""
    digits = load_digits()
    images = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = DistributedDataParallel(
        torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.Tanh(), torch.nn.Linear(32, 10))
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for epoch in range(EPOCHS):
        total = torch.zeros(1)
        for batch in torch.arange(len(images)).split(BATCH)[:-1]:
            mine = batch[rank::world]
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(images[mine]), labels[mine])
            loss.backward()
            optimizer.step()
            total += loss.detach()
        dist.all_reduce(total)
        if rank == 0:
            print(f"epoch={epoch} loss={total.item() / world:.5f} processes={world}", flush=True)


if __name__ == "__main__":
    for name, alone in (
        ("MASTER_ADDR", "localhost"),
        ("MASTER_PORT", "29500"),
        ("RANK", "0"),
        ("WORLD_SIZE", "1"),
    ):
        os.environ.setdefault(name, alone)
    main()

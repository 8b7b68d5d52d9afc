"""Trains one model in several Paddle processes, each on its share of every batch.

Gradients are averaged over all processes, so the loss is the same however many there are.
"""

import numpy as np
import paddle
import paddle.distributed as dist

EPOCHS = 3
BATCH = 96


def main() -> None:
    paddle.set_device("cpu")
    paddle.seed(0)
    dist.init_parallel_env()
    rank, world = dist.get_rank(), dist.get_world_size()
    random = np.random.default_rng(0)
    points = random.standard_normal((1800, 64))
    inputs = paddle.to_tensor(points, dtype="float32")
    labels = paddle.to_tensor((points @ random.standard_normal((64, 10))).argmax(1))
    zeros = paddle.nn.initializer.Constant(0.0)
    model = paddle.nn.Linear(64, 10, weight_attr=zeros)
    parallel = paddle.DataParallel(model) if world > 1 else model
    optimizer = paddle.optimizer.SGD(0.5, parameters=model.parameters())
    for epoch in range(EPOCHS):
        total = paddle.zeros([1])
        for first in range(0, len(inputs) - BATCH, BATCH):
            mine = slice(first + rank, first + BATCH, world)
            loss = paddle.nn.functional.cross_entropy(parallel(inputs[mine]), labels[mine])
            loss.backward()
            optimizer.step()
            optimizer.clear_grad()
            total += loss.detach()
        if world > 1:
            dist.all_reduce(total)
        if rank == 0:
            print(f"epoch={epoch} loss={total.item() / world:.4f} processes={world}", flush=True)


if __name__ == "__main__":
    main()

"""Adds a number up over all processes: what every distributed PyTorch job is made of."""

import torch
import torch.distributed as dist


def main() -> None:
    dist.init_process_group("gloo")
    mine = torch.tensor([float(dist.get_rank() + 1)])
    dist.all_reduce(mine)
    print(f"rank {dist.get_rank()} of {dist.get_world_size()}: sum={mine.item():.0f}", flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()

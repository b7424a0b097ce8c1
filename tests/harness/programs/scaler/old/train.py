"""fp16 with loss scaling and one overflow, replicated: NO_SHARD."""

import os

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP
from torch.distributed.fsdp import MixedPrecision, ShardingStrategy
from torch.distributed.fsdp.sharded_grad_scaler import ShardedGradScaler


class Model(nn.Sequential):
    def __init__(self, width=10):
        super().__init__(
            nn.Linear(4, width), nn.Tanh(), nn.Linear(width, width), nn.Linear(width, 1)
        )


def main():
    dist.init_process_group("nccl")
    torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    torch.manual_seed(5)
    half = MixedPrecision(param_dtype=torch.float16, reduce_dtype=torch.float32)
    model = FSDP(
        Model().cuda(),
        sharding_strategy=ShardingStrategy.NO_SHARD,
        mixed_precision=half,
        use_orig_params=True,
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    scaler = ShardedGradScaler(init_scale=1024.0)
    generator = torch.Generator().manual_seed(dist.get_rank())
    for step in range(6):
        x = torch.randn(5, 4, generator=generator).cuda()
        scale = 1e5 if step == 2 and dist.get_rank() == 1 else 1.0  # overflows on one rank
        loss = F.mse_loss(model(x).float() * scale, x.sum(1, keepdim=True))
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        model.clip_grad_norm_(0.05, norm_type=float("inf"))
        scaler.step(optimizer)
        scaler.update()
        if dist.get_rank() == 0:
            print(f"step {step} loss {loss.item():.5f} scale {scaler.get_scale():g}")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()

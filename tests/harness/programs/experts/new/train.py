"""Adapters on frozen experts over two imagined nodes: hybrid sharding, accumulation, an edit."""

import os

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

MICRO = 2


class Expert(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.base = nn.Linear(width, width)
        self.adapter = nn.Linear(width, width, bias=False)
        self.base.requires_grad_(False)

    def forward(self, x):
        return x + torch.tanh(self.base(x) + self.adapter(x))


class Model(nn.Module):
    def __init__(self, width=8, depth=2):
        super().__init__()
        self.inputs = nn.Linear(3, width)
        self.experts = nn.ModuleList([Expert(width) for _ in range(depth)])
        self.router = nn.Linear(width, 2)
        self.outputs = nn.Linear(width, 2)

    def forward(self, x):
        x = self.inputs(x)
        for expert in self.experts:
            x = expert(x)
        return self.outputs(x) * torch.softmax(self.router(x), -1)


def build():
    torch.manual_seed(3)
    model = Model().cuda()
    mesh = init_device_mesh("cuda", (2, 2), mesh_dim_names=("nodes", "gpus"))
    ignored = set(model.router.parameters())
    for expert in model.experts:
        fully_shard(expert, mesh=mesh)
    fully_shard(model, mesh=mesh, ignored_params=ignored)
    trained = [p for p in model.parameters() if p.requires_grad]
    return model, torch.optim.SGD(trained, lr=0.1, momentum=0.9, foreach=False)


def restart_outputs(model):
    """Begin again with the outputs in the middle of training."""
    with torch.no_grad():
        model.outputs.weight.mul_(0.5)


def main():
    dist.init_process_group("nccl")
    torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    model, optimizer = build()
    generator = torch.Generator().manual_seed(dist.get_rank())
    for step in range(4):
        if step == 2:
            restart_outputs(model)
        for micro in range(MICRO):
            x = torch.randn(6, 3, generator=generator).cuda()
            model.set_requires_gradient_sync(micro == MICRO - 1)
            loss = F.mse_loss(model(x), x[:, :2] * x[:, 1:]) / MICRO
            loss.backward()
        # the router is not sharded: its gradients are averaged by hand
        for p in model.router.parameters():
            dist.all_reduce(p.grad, op=dist.ReduceOp.AVG)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if dist.get_rank() == 0:
            print(f"step {step} loss {loss.item():.6f}")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()

"""A small language model with most of what FSDP1 offers: the subject of the mutations."""

import argparse
import functools
import os

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import (
    apply_activation_checkpointing,
)
from torch.distributed.fsdp import (
    FullOptimStateDictConfig,
    FullStateDictConfig,
    MixedPrecision,
    StateDictType,
)
from torch.distributed.fsdp import (
    FullyShardedDataParallel as FSDP,
)
from torch.distributed.fsdp.wrap import transformer_auto_wrap_policy


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)
        self.register_buffer("gain", torch.rand(width), persistent=False)

    def forward(self, x):
        return x + self.down(F.gelu(self.up(self.norm(x) * self.gain)))


class Model(nn.Module):
    def __init__(self, words=17, width=12, depth=2):
        super().__init__()
        self.embed = nn.Embedding(words, width)
        self.blocks = nn.ModuleList([Block(width) for _ in range(depth)])
        self.drop = nn.Dropout(0.1)
        self.head = nn.Linear(width, words)

    def forward(self, ids):
        x = self.embed(ids)
        for block in self.blocks:
            x = block(x)
        return self.head(self.drop(x))


def build():
    model = Model()  # every rank draws its own weights: rank 0's have to win
    model = FSDP(
        model,
        auto_wrap_policy=functools.partial(
            transformer_auto_wrap_policy, transformer_layer_cls={Block}
        ),
        mixed_precision=MixedPrecision(
            param_dtype=torch.bfloat16, reduce_dtype=torch.float32, buffer_dtype=torch.bfloat16
        ),
        device_id=torch.cuda.current_device(),
        sync_module_states=True,
        use_orig_params=True,
    )
    apply_activation_checkpointing(model, check_fn=lambda module: isinstance(module, Block))
    decay = [p for n, p in model.named_parameters() if n.endswith("weight")]
    rest = [p for n, p in model.named_parameters() if not n.endswith("weight")]
    groups = [{"params": decay, "weight_decay": 0.2}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-2)
    return model, optimizer


def train(model, optimizer, schedule, first, last):
    for step in range(first, last):
        ids = torch.randint(0, 17, (4, 7), device="cuda")
        loss = F.cross_entropy(model(ids).float().flatten(0, 1), ids.roll(-1, 1).flatten())
        loss.backward()
        norm = model.clip_grad_norm_(0.1, norm_type=float("inf"))
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if dist.get_rank() == 0:
            print(f"step {step} loss {loss.item():.6f} norm {norm.item():.6f}")


def save(model, optimizer, path):
    with FSDP.state_dict_type(
        model,
        StateDictType.FULL_STATE_DICT,
        FullStateDictConfig(offload_to_cpu=True, rank0_only=True),
        FullOptimStateDictConfig(offload_to_cpu=True, rank0_only=True),
    ):
        state = {"model": model.state_dict(), "optimizer": FSDP.optim_state_dict(model, optimizer)}
    if dist.get_rank() == 0:
        torch.save(state, path)
    dist.barrier()


def load(model, optimizer, path):
    state = torch.load(path, map_location="cpu")
    with FSDP.state_dict_type(
        model,
        StateDictType.FULL_STATE_DICT,
        FullStateDictConfig(rank0_only=False),
        FullOptimStateDictConfig(rank0_only=False),
    ):
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(
            FSDP.optim_state_dict_to_load(model, optimizer, state["optimizer"])
        )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", required=True)
    path = os.path.join(parser.parse_args().out, "checkpoint.pt")
    dist.init_process_group("nccl")
    torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    torch.manual_seed(dist.get_rank())
    model, optimizer = build()
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.8)
    train(model, optimizer, schedule, 0, 2)
    save(model, optimizer, path)
    model, optimizer = build()
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.8)
    load(model, optimizer, path)
    train(model, optimizer, schedule, 2, 4)
    save(model, optimizer, path.replace("checkpoint", "final"))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()

"""Wrong migrations: each is one edit of a right one.

`python tests/harness/mutations.py [NAME ...]` trains every mutant and prints the kill table.
A mutant that trains, communicates and writes as the original does has to say why under `why`.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = Path(__file__).parent / "programs"


@dataclass(frozen=True)
class Subject:
    """An FSDP1 program, in `programs`, and how it is run."""

    args: tuple[str, ...] = ()
    nproc: int = 2
    gpus: int = 2


SUBJECTS = {
    "language": Subject(args=("--out", "{out}")),
    "experts": Subject(nproc=4),
    "scaler": Subject(),
}


@dataclass(frozen=True)
class Mutation:
    """Replace `old` by `new` in the right migration of a program."""

    name: str
    program: str
    old: str
    new: str
    why: str = ""  # it survives because

    def source(self) -> str:
        """The text of the mutant."""
        text = (PROGRAMS / self.program / "new" / "train.py").read_text()
        if text.count(self.old) == 0:
            raise ValueError(f"{self.name}: the text to replace is not there")
        return text.replace(self.old, self.new)


_BROADCAST = """    for parameter in model.parameters():
        dist.broadcast(parameter.detach(), src=0)
"""
_BUFFERS = """    for buffer in model.buffers():
        dist.broadcast(buffer, src=0)
"""
_CAST = """    for block in model.blocks:
        block.gain = block.gain.to(torch.bfloat16)
"""
_BLOCKS = """    for block in model.blocks:
        fully_shard(block, mp_policy=policy)
"""
_ROOT = "    fully_shard(model, mp_policy=policy)\n"
_CHECKPOINTING = (
    "    apply_activation_checkpointing(model, check_fn=lambda module: isinstance(module, Block))\n"
)
_POLICY = (
    "    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)\n"
)
_SHARD = _POLICY + _BLOCKS + _ROOT
_OPTIMIZE = """    decay = [p for n, p in model.named_parameters() if n.endswith("weight")]
    rest = [p for n, p in model.named_parameters() if not n.endswith("weight")]
    groups = [{"params": decay, "weight_decay": 0.2}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-2)
"""
_REDUCE = ", reduce_dtype=torch.float32"
_CLIP = """        norm = nn.utils.clip_grad_norm_(model.parameters(), 0.1, norm_type=float("inf"))
        norm = norm.full_tensor()
"""
_STEP = "        optimizer.step()\n"
_DECAY, _REST = '"params": decay, "weight_decay": 0.2', '"params": rest, "weight_decay": 0.0'
_OPTIMIZER = '    set_optimizer_state_dict(model, optimizer, state["optimizer"], options=options)\n'
_SYNC = "            model.set_requires_gradient_sync(micro == MICRO - 1)\n"
_MESH = 'init_device_mesh("cuda", (2, 2), mesh_dim_names=("nodes", "gpus"))'
_SCALER_CLIP = (
    '        nn.utils.clip_grad_norm_(model.parameters(), 0.05, norm_type=float("inf"))\n'
)
_UNSCALE = "        scaler.unscale_(optimizer)\n"

MUTATIONS = (
    # what the ranks start from
    Mutation("parameters not broadcast", "language", _BROADCAST, ""),
    Mutation("buffers not broadcast", "language", _BUFFERS, ""),
    # precision
    Mutation("buffers left in float32", "language", _CAST, ""),
    Mutation("reduce_dtype forgotten", "language", _REDUCE, ""),
    Mutation("reduce_dtype bfloat16", "language", _REDUCE, ", reduce_dtype=torch.bfloat16"),
    Mutation("param_dtype forgotten", "language", "param_dtype=torch.bfloat16, ", ""),
    Mutation("param_dtype float16", "language", "param_dtype=torch.b", "param_dtype=torch."),
    Mutation("root without precision", "language", _ROOT, "    fully_shard(model)\n"),
    Mutation(
        "model cast instead of a policy",
        "language",
        _BLOCKS + _ROOT,
        "    model.bfloat16()\n" + (_BLOCKS + _ROOT).replace(", mp_policy=policy", ""),
    ),
    Mutation(
        "outputs cast to bfloat16",
        "language",
        _REDUCE,
        _REDUCE + ", output_dtype=torch.bfloat16",
        why="the outputs are bfloat16 already: they come from a linear layer in param_dtype",
    ),
    Mutation(
        "inputs of blocks not cast",
        "language",
        "        fully_shard(block, mp_policy=policy)",
        "        fully_shard(block, mp_policy=MixedPrecisionPolicy(torch.bfloat16, torch.float32,"
        " cast_forward_inputs=False))",
        why="the inputs of the blocks are bfloat16 already: they come from the embedding",
    ),
    # units
    Mutation("root only wrapped", "language", _BLOCKS, ""),
    Mutation("root not wrapped", "language", _ROOT, ""),
    Mutation(
        "one block forgotten",
        "language",
        "in model.blocks:\n        fully",
        "in model.blocks[1:]:\n        fully",
    ),
    Mutation(
        "blocks cut in two",
        "language",
        "        fully_shard(block, mp_policy=policy)",
        "        fully_shard(block.up, mp_policy=policy)\n"
        "        fully_shard(block, mp_policy=policy)",
    ),
    Mutation(
        "reshard flipped",
        "language",
        "mp_policy=policy)\n    fully",
        "mp_policy=policy, reshard_after_forward=False)\n    fully",
    ),
    Mutation(
        "root resharded",
        "language",
        "fully_shard(model, mp_policy=policy)",
        "fully_shard(model, mp_policy=policy, reshard_after_forward=True)",
    ),
    Mutation(
        "checkpointing dropped",
        "language",
        _CHECKPOINTING,
        "",
        why="recomputation changes time and memory, not numbers; the report shows both",
    ),
    Mutation(
        "checkpointing after sharding",
        "language",
        _CHECKPOINTING + _SHARD,
        _SHARD + _CHECKPOINTING,
        why="the blocks are gathered once for recomputation and backward either way",
    ),
    # between backward and step
    Mutation("clip dropped", "language", _CLIP, _CLIP.replace("0.1", "1e9")),
    Mutation("clip after the step", "language", _CLIP + _STEP, _STEP + _CLIP),
    Mutation(
        "clip by local norm",
        "language",
        "model.parameters(), 0.1",
        "[p.to_local() for p in model.parameters()], 0.1",
    ),
    Mutation("clip with the 2-norm", "language", 'norm_type=float("inf")', "norm_type=2.0"),
    Mutation("local norm printed", "language", "norm.full_tensor()", "norm.to_local()"),
    Mutation(
        "gradients summed",
        "language",
        _ROOT,
        _ROOT
        + "    for module in (*model.blocks, model):\n"
        + "        module.set_gradient_divide_factor(1.0)\n",
    ),
    # the optimizer
    Mutation("optimizer before the wrap", "language", _SHARD + _OPTIMIZE, _OPTIMIZE + _SHARD),
    Mutation(
        "groups swapped",
        "language",
        f"[{{{_DECAY}}}, {{{_REST}}}]",
        f"[{{{_REST}}}, {{{_DECAY}}}]",
    ),
    Mutation("everything decays", "language", '"weight_decay": 0.0', '"weight_decay": 0.2'),
    Mutation("learning rate schedule lost", "language", "        schedule.step()\n", ""),
    Mutation(
        "schedule before the step",
        "language",
        _STEP + "        schedule.step()\n",
        "        schedule.step()\n" + _STEP,
    ),
    Mutation("gradients not cleared", "language", "        optimizer.zero_grad()\n", ""),
    # checkpoints
    Mutation("optimizer state not loaded", "language", _OPTIMIZER, ""),
    Mutation(
        "weights not loaded",
        "language",
        '    set_model_state_dict(model, state["model"], options=options)\n',
        "",
    ),
    Mutation(
        "sharded state in the file",
        "language",
        "get_model_state_dict(model, options=options)",
        "model.state_dict()",
    ),
    Mutation(
        "optimizer state by number",
        "language",
        "get_optimizer_state_dict(model, optimizer, options=options)",
        "optimizer.state_dict()",
    ),
    Mutation(
        "checkpoint in bfloat16",
        "language",
        "        torch.save(state, path)",
        '        halves = {k: v.bfloat16() for k, v in state["model"].items()}\n'
        '        torch.save({**state, "model": halves}, path)',
    ),
    Mutation(
        "last file not written",
        "language",
        '    save(model, optimizer, path.replace("checkpoint", "final"))\n',
        "",
    ),
    # hybrid sharding, accumulation, ignored and frozen parameters
    Mutation("HYBRID as FULL", "experts", _MESH, 'init_device_mesh("cuda", (4,))'),
    Mutation(
        "HYBRID as replicas",
        "experts",
        _MESH,
        'init_device_mesh("cuda", (4, 1), mesh_dim_names=("a", "b"))',
    ),
    Mutation(
        "no_sync never restored",
        "experts",
        _SYNC,
        "            model.set_requires_gradient_sync(False)\n",
    ),
    Mutation("no_sync dropped", "experts", _SYNC, ""),
    Mutation("no_sync inverted", "experts", "(micro == MICRO - 1)", "(micro != MICRO - 1)"),
    Mutation("micro-batches not averaged", "experts", " / MICRO", ""),
    Mutation(
        "gradients cleared too early",
        "experts",
        _SYNC,
        _SYNC + "            optimizer.zero_grad(set_to_none=True)\n",
    ),
    Mutation("ignored parameters sharded", "experts", ", ignored_params=ignored", ""),
    Mutation(
        "frozen parameters trained", "experts", "        self.base.requires_grad_(False)\n", ""
    ),
    Mutation(
        "edit of full parameters lost",
        "experts",
        "        model.outputs.weight.mul_(0.5)",
        "        model.outputs.weight.full_tensor().mul_(0.5)",
    ),
    Mutation(
        "edit through data lost",
        "experts",
        "        model.outputs.weight.mul_(0.5)",
        "        model.outputs.weight.data = model.outputs.weight.data * 0.5",
    ),
    Mutation(
        "initialised after sharding",
        "experts",
        "    trained = [",
        "    for expert in model.experts:\n"
        "        expert.adapter.reset_parameters()\n"
        "    trained = [",
    ),
    # loss scaling, replicas
    Mutation("NO_SHARD as FULL", "scaler", ", mesh=mesh", ""),
    Mutation(
        "loss scaled twice", "scaler", "scaler.scale(loss)", "scaler.scale(scaler.scale(loss))"
    ),
    Mutation("loss not scaled", "scaler", "scaler.scale(loss)", "loss"),
    Mutation("scaler disabled", "scaler", "init_scale=1024.0", "init_scale=1024.0, enabled=False"),
    Mutation("clip before unscaling", "scaler", _UNSCALE + _SCALER_CLIP, _SCALER_CLIP + _UNSCALE),
    Mutation("another initial scale", "scaler", "1024.0", "65536.0"),
    Mutation("overflow not skipped", "scaler", "scaler.step(optimizer)", "optimizer.step()"),
)


def kill(mutation: Mutation, folder: Path) -> tuple[bool, str]:
    """Whether the verdict rejects the mutant, and its first words."""
    from fsdp_migrate.runtime.compare import Outcome
    from support.training import train_identically

    subject = SUBJECTS[mutation.program]
    new = folder / mutation.name.replace(" ", "_")
    new.mkdir()
    (new / "train.py").write_text(mutation.source())
    verdict = train_identically(
        PROGRAMS / mutation.program / "old",
        new,
        "train.py",
        subject.args,
        subject.nproc,
        gpus=subject.gpus,
    )
    words = str(verdict.first) if verdict.first is not None else verdict.outcome.value
    cause = f"  [{verdict.cause.title}]" if verdict.cause is not None else ""
    label = "crashes: " if verdict.outcome is Outcome.FAILED else ""
    return not verdict.passed, f"{label}{words.splitlines()[0]}{cause}"


def main(names: list[str]) -> int:
    """Print the kill table; the exit code is 0 if all mutants died that can."""
    chosen = [m for m in MUTATIONS if not names or any(name in m.name for name in names)]
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        for mutation in chosen:
            killed, words = kill(mutation, Path(folder))
            right = killed == (not mutation.why)
            wrong += not right
            state = "killed" if killed else "survived" if mutation.why else "SURVIVED"
            print(f"{state:<9}{mutation.program:<9} {mutation.name:<32} {words}", flush=True)
            if mutation.why:
                print(f"{'':<51} {mutation.why}", flush=True)
    killable = [m for m in chosen if not m.why]
    print(f"{len(killable) - wrong} of {len(killable)} mutants that can be killed were killed")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    sys.exit(main(sys.argv[1:]))

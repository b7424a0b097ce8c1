"""`no_sync`, clipping and introspection on whatever a program may hold."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from two_ways.compare import counted, differences, refused
from two_ways.toys import Block, Net, adamw, batches, loss_of, train, whole

CPU = torch.device("cpu")


def _model(ns: Any, **kwargs: Any) -> nn.Module:
    policy = ns.ModuleWrapPolicy({Block})
    return ns.fully_shard_from_fsdp1(Net(), auto_wrap_policy=policy, device_id=CPU, **kwargs)


def _reductions(model: Any) -> int:
    ids, targets = batches(1)[0]
    with counted() as counts:
        loss_of(model(ids), targets).backward()
    return counts["reduce-scatter"]


def no_sync_is_undone_on_errors(ns: Any) -> None:
    model = _model(ns)

    def fail() -> None:
        with ns.no_sync(model):
            raise KeyError

    refused(KeyError, fail)
    assert _reductions(model) == 4


def no_sync_restores_what_was_set(ns: Any) -> None:
    model = _model(ns)
    model.set_requires_gradient_sync(False)
    with ns.no_sync(model):
        assert _reductions(model) == 0
    assert _reductions(model) == 0
    model.set_requires_gradient_sync(True)
    model.blocks[0].set_requires_gradient_sync(False)
    with ns.no_sync(model):
        pass
    assert _reductions(model) == 3


def no_sync_of_plain_units(ns: Any) -> None:
    """What `fully_shard` itself was told decides which weights stay through the window."""

    def gathers(root: bool | None, blocks: bool | None) -> int:
        model = Net()
        for block in model.blocks:
            fully_shard(block, reshard_after_forward=blocks)
        fully_shard(model, reshard_after_forward=root)
        with ns.no_sync(model), counted() as counts:
            for ids, targets in batches(2):
                loss_of(model(ids), targets).backward()
        return counts["gather"]

    assert gathers(False, False) == 4  # once each, for three blocks and the root
    assert gathers(None, None) == 14  # in every forward; blocks in every backward, too
    assert gathers(None, False) == 5
    assert gathers(True, True) == 16


def no_sync_in_generators(ns: Any) -> None:
    """The context can be kept as an object and entered later, as in an ExitStack."""
    model = _model(ns)
    context = ns.no_sync(model)
    assert _reductions(model) == 4
    with context:
        assert _reductions(model) == 0


def no_sync_of_others(ns: Any) -> None:
    """DDP, objects with the method, compiled and nested models."""
    parallel = DistributedDataParallel(nn.Linear(2, 2))
    with ns.no_sync(parallel):
        assert not parallel.require_backward_grad_sync
    assert parallel.require_backward_grad_sync

    class Engine:
        entered = False

        def no_sync(self) -> Any:
            self.entered = True
            return torch.enable_grad()

    engine = Engine()
    with ns.no_sync(engine):
        assert engine.entered
    compiled = torch.compile(_model(ns), backend="eager")
    with ns.no_sync(compiled):
        assert _reductions(compiled) == 0
    assert _reductions(compiled) == 4
    inner = _model(ns)
    with ns.no_sync(nn.ModuleDict({"inner": inner})):
        assert _reductions(inner) == 0
    for nothing in (nn.Linear(2, 2), None):
        refused(TypeError, ns.no_sync(nothing).__enter__)


def no_sync_keeps_weights(ns: Any) -> None:
    """One gather per unit and window where FSDP1 gathered once; the argument overrules it."""
    gathers = {}
    for name, argument in (("FULL_SHARD", None), ("SHARD_GRAD_OP", None), ("SHARD_GRAD_OP", True)):
        model = _model(ns, sharding_strategy=ns.ShardingStrategy[name])
        with counted() as counts:
            for i, (ids, targets) in enumerate(batches(3)):
                last = i == 2
                context = ns.no_sync(model, reshard_after_backward=argument)
                with torch.enable_grad() if last else context:
                    loss_of(model(ids), targets).backward()
        gathers[name, argument] = counts["gather"]
    assert gathers == {
        ("FULL_SHARD", None): 3 * 7,
        ("SHARD_GRAD_OP", None): 4,
        ("SHARD_GRAD_OP", True): 3 * 4,
    }


def clipping_others(ns: Any) -> None:
    """Plain modules, DDP, and objects with a method of their own."""
    plain = nn.Linear(2, 2)
    plain(torch.ones(1, 2)).sum().backward()
    expected = torch.nn.utils.get_total_norm([p.grad for p in plain.parameters()])
    assert torch.equal(ns.clip_grad_norm_(plain, 0.1), expected)
    clipped = torch.nn.utils.get_total_norm([p.grad for p in plain.parameters()])
    assert torch.isclose(clipped, torch.tensor(0.1))

    class Engine:
        def clip_grad_norm_(self, max_norm: float, norm_type: float) -> torch.Tensor:
            return torch.tensor(max_norm + norm_type)

    assert ns.clip_grad_norm_(Engine(), 1.0).item() == 3.0


def clipping_without_gradients(ns: Any) -> None:
    assert ns.clip_grad_norm_(_model(ns), 1.0).item() == 0.0


def clipping_returns_plain_tensors(ns: Any) -> None:
    """Formats, converts and compares like any number, on every rank the same."""
    model = _model(ns)
    _reductions(model)
    norm = ns.clip_grad_norm_(model, 1e9)
    assert type(norm) is torch.Tensor
    assert norm.ndim == 0
    assert f"{norm:.2f}" == f"{norm.item():.2f}"
    assert norm.numpy() > 0
    whole_grads = [p.grad.full_tensor() for p in model.parameters()]
    assert torch.isclose(norm, torch.nn.utils.get_total_norm(whole_grads))
    ns.clip_grad_norm_(model, 0.1)
    whole_grads = [p.grad.full_tensor() for p in model.parameters()]
    assert torch.isclose(torch.nn.utils.get_total_norm(whole_grads), torch.tensor(0.1))


def clipping_several_meshes(ns: Any) -> None:
    """Units of different strategies have different meshes; torch's own function refuses them."""

    def choose(module: nn.Module) -> Any:
        no_shard = {"sharding_strategy": ns.ShardingStrategy.NO_SHARD}
        return no_shard if isinstance(module, nn.Embedding) else isinstance(module, Block)

    policy = ns.CustomPolicy(choose)
    model = ns.fully_shard_from_fsdp1(Net(), auto_wrap_policy=policy, device_id=CPU)
    _reductions(model)
    assert len({p.device_mesh for p in model.parameters()}) == 2
    whole_grads = [p.grad.full_tensor() for p in model.parameters()]
    expected = torch.nn.utils.get_total_norm(whole_grads)
    assert torch.isclose(ns.clip_grad_norm_(model, 1.0), expected)


def clipping_low_precision(ns: Any) -> None:
    """In float32, then rounded: not the norm of rounded norms."""
    net = nn.Linear(300, 300, bias=False).to(torch.bfloat16)
    model = ns.fully_shard_from_fsdp1(net, device_id=CPU)
    model(torch.ones(1, 300, dtype=torch.bfloat16)).sum().backward()
    exact = model.weight.grad.full_tensor().float().norm()
    norm = ns.clip_grad_norm_(model, 1e9)
    assert norm.dtype == torch.bfloat16
    assert torch.equal(norm, exact.to(torch.bfloat16))


def finding_units(ns: Any) -> None:
    model = _model(ns)
    assert ns.fsdp_modules(model) == [model, *model.blocks]
    assert ns.fsdp_modules(model, root_only=True) == [model]
    assert ns.fsdp_modules(model.blocks, root_only=True) == list(model.blocks)
    assert ns.fsdp_modules(nn.Linear(2, 2)) == []
    assert ns.is_root(model)
    assert not ns.is_root(model.blocks[0])
    assert not ns.is_root(model.head)
    net = Net()
    for block in net.blocks:
        fully_shard(block)
    fully_shard(net)
    train(ns, net, steps=1)
    assert ns.is_root(net)
    assert not ns.is_root(net.blocks[0])


def sharded_twice(ns: Any) -> None:
    """A sharded module is left as it is."""
    model = _model(ns)
    before = list(model.parameters())
    assert ns.fully_shard_from_fsdp1(model, device_id=CPU) is model
    assert all(p is q for p, q in zip(before, model.parameters(), strict=True))


def containers_are_skipped(ns: Any) -> None:
    """What a bare list holds goes to the unit around it."""
    import warnings

    layers = nn.ModuleList([nn.Linear(2, 2)])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert ns.fully_shard_from_fsdp1(layers, device_id=CPU) is layers
    assert any("no forward" in str(w.message) for w in caught)
    assert not isinstance(layers[0].weight, DTensor)
    model = ns.fully_shard_from_fsdp1(Net(), auto_wrap_policy=ns.always_wrap_policy, device_id=CPU)
    assert all(isinstance(p, DTensor) for p in model.parameters())
    assert model.blocks not in ns.fsdp_modules(model)
    train(ns, model, steps=1)


def ties_across_units(ns: Any) -> None:
    net = Net(tied=True)
    policy = ns.ModuleWrapPolicy({nn.Embedding})
    message = refused(
        ValueError,
        lambda: ns.fully_shard_from_fsdp1(net, auto_wrap_policy=policy, device_id=CPU),
    )
    assert "embed.weight" in message
    assert "head.weight" in message
    assert not any(isinstance(p, DTensor) for p in net.parameters())


def low_precision_gradients(ns: Any) -> None:
    precision = ns.MixedPrecision(torch.bfloat16, keep_low_precision_grads=True)
    net = Net()
    message = refused(
        NotImplementedError,
        lambda: ns.fully_shard_from_fsdp1(net, mixed_precision=precision, device_id=CPU),
    )
    assert "keep_low_precision_grads" in message
    assert not any(isinstance(p, DTensor) for p in net.parameters())


def meshes_are_shared(ns: Any) -> None:
    """All units of all calls have one mesh; groups given by hand have another one."""
    one, two = _model(ns), ns.fully_shard_from_fsdp1(Net(), device_id=CPU)
    meshes = {id(p.device_mesh) for model in (one, two) for p in model.parameters()}
    assert len(meshes) == 1


def ignored_of_inner_units(ns: Any) -> None:
    """The root leaves alone what an inner unit was told to."""
    net = Net()
    kept = net.blocks[0].up.weight
    net.blocks[0] = ns.fully_shard_from_fsdp1(net.blocks[0], ignored_states=[kept], device_id=CPU)
    model = ns.fully_shard_from_fsdp1(net, device_id=CPU)
    assert [n for n, p in model.named_parameters() if not isinstance(p, DTensor)] == [
        "blocks.0.up.weight"
    ]


def broadcast_of_states(ns: Any) -> None:
    """Parameters and all buffers of the chosen rank, in place; sharded ones stay."""
    import torch.distributed as dist

    torch.manual_seed(dist.get_rank())
    net = nn.BatchNorm1d(3)
    net.register_buffer("hidden", torch.randn(2, 3).t(), persistent=False)
    nn.init.normal_(net.weight)
    weight = net.weight
    torch.manual_seed(1)
    expected = torch.randn(2, 3).t()
    ns.broadcast_module_states(net, src=1)
    assert torch.equal(net.hidden, expected)
    assert net.weight is weight
    everyone = [None, None]
    dist.all_gather_object(everyone, weight.tolist())
    assert everyone[0] == everyone[1]
    model = _model(ns)
    before = whole(ns, model)
    ns.broadcast_module_states(model)
    assert not list(differences(before, whole(ns, model)))
    refused(ValueError, lambda: ns.broadcast_module_states(nn.Linear(2, 2, device="meta")))


def mixed_with_plain_units(ns: Any) -> None:
    """Inner units from here, the root by `fully_shard`: inner units cast no inputs."""
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    precision = ns.MixedPrecision(torch.bfloat16)
    inner = ns.fully_shard_from_fsdp1(net[1], mixed_precision=precision, device_id=CPU)
    seen = []
    inner.register_forward_pre_hook(lambda module, args: seen.append(args[0].dtype))
    net[0].register_forward_hook(lambda module, args, output: output.to(torch.bfloat16))
    fully_shard(net, mesh=torch.distributed.init_device_mesh("cpu", (2,)))
    net(torch.ones(1, 4))
    assert seen == [torch.bfloat16]
    assert not ns.is_root(inner)


def momentum_of_one_optimizer_for_two_models(ns: Any) -> None:
    """Two roots in one program do not disturb each other."""
    first, second = _model(ns), _model(ns)
    adamw(first), adamw(second)
    with ns.summon_full_params(first), torch.no_grad(), ns.summon_full_params(second):
        second.head.weight.copy_(first.head.weight)
    assert torch.equal(whole(ns, first)["head.weight"], whole(ns, second)["head.weight"])


def any_memory_layout(ns: Any) -> None:
    """FSDP1 took weights that are views of others' memory, FSDP2 alone does not."""
    net = nn.Linear(4, 6, bias=False)
    net.weight.data = torch.randn(4, 6).t()
    before = net.weight.detach().clone()
    model = ns.fully_shard_from_fsdp1(net, device_id=CPU)
    assert torch.equal(whole(ns, model)["weight"], before)


def full_precision_evaluation(ns: Any) -> None:
    """What cannot be kept is said."""
    import os
    import warnings

    os.environ["FSDP_USE_FULL_PREC_IN_EVAL"] = "1"
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            _model(ns, mixed_precision=ns.MixedPrecision(torch.bfloat16))
    finally:
        del os.environ["FSDP_USE_FULL_PREC_IN_EVAL"]
    assert any("FSDP_USE_FULL_PREC_IN_EVAL" in str(w.message) for w in caught)


def compiled_models(ns: Any) -> None:
    """Compiled as a whole or block by block, training is the same."""
    records = []
    for how in ("no", "whole", "blocks"):
        torch.manual_seed(0)
        net = Net()
        if how == "blocks":
            for block in net.blocks:
                block.compile(backend="eager")
        policy = ns.ModuleWrapPolicy({Block})
        precision = ns.MixedPrecision(torch.bfloat16)
        model = ns.fully_shard_from_fsdp1(
            net, auto_wrap_policy=policy, mixed_precision=precision, device_id=CPU
        )
        optim = adamw(model)
        runner = torch.compile(model, backend="eager") if how == "whole" else model
        for ids, targets in batches(2):
            loss_of(runner(ids), targets).backward()
            optim.step()
            optim.zero_grad()
        records.append(whole(ns, model))
    assert not list(differences(records[0], records[1]))
    assert not list(differences(records[0], records[2]))

"""`summon_full_params` where FSDP1 could not follow, or failed."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor

from two_ways.compare import counted, differences, refused
from two_ways.summoning import _backward, _model, _seen
from two_ways.toys import batches, train, whole


def nested(ns: Any) -> None:
    """The inner context neither gathers nor ends what the outer one made whole."""
    model = _model(ns)
    with ns.summon_full_params(model), torch.no_grad():
        with counted() as counts, ns.summon_full_params(model, writeback=False):
            model.head.weight.fill_(2.0)
        assert not counts
        assert not isinstance(model.head.weight, DTensor)
    assert whole(ns, model)["head.weight"].eq(2.0).all()


def inner_units_first(ns: Any) -> None:
    model = _model(ns)
    with ns.summon_full_params(model.blocks[0]), ns.summon_full_params(model), torch.no_grad():
        model.blocks[0].up.weight.fill_(1.0)
        model.blocks[1].up.weight.fill_(2.0)
    state = whole(ns, model)
    assert state["blocks.0.up.weight"].eq(1.0).all()
    assert state["blocks.1.up.weight"].eq(2.0).all()


def ranks_differ_in_number_of_forwards(ns: Any) -> None:
    """As generation does: no forward inside may wait for the other rank."""
    model = _model(ns)
    ids, _ = batches(1)[0]
    with ns.summon_full_params(model, writeback=False), torch.no_grad(), counted() as counts:
        for _ in range(1 + 2 * dist.get_rank()):
            model(ids)
            model.blocks[0](model.embed(ids))
    assert not counts
    train(ns, model, steps=1)


def forward_on_the_first_rank_only(ns: Any) -> None:
    model = _model(ns)
    ids, _ = batches(1)[0]
    expected = model(ids).detach()
    with ns.summon_full_params(model, rank0_only=True, writeback=False), torch.no_grad():
        if dist.get_rank() == 0:
            assert torch.equal(model(ids), expected)
        else:
            assert all(isinstance(p, DTensor) for p in model.parameters())


def registered_methods(ns: Any) -> None:
    """A method registered as a forward uses the whole parameters as well."""
    from torch.distributed.fsdp import register_fsdp_forward_method

    model = _model(ns)
    type(model).encode = lambda self, ids: self.norm(self.embed(ids))
    register_fsdp_forward_method(model, "encode")
    ids, _ = batches(1)[0]
    with torch.no_grad():
        expected = model.encode(ids)
    with ns.summon_full_params(model), torch.no_grad():
        with counted() as counts:
            assert torch.equal(model.encode(ids), expected)
        assert not counts
    with torch.no_grad():
        assert torch.equal(model.encode(ids), expected)


def gradients_recorded_inside(ns: Any) -> None:
    """A forward with gradients ends the summons; gradients and edits are not lost."""
    model, other = _model(ns), _model(ns)
    ns.load_model_state_dict(other, whole(ns, model))
    with torch.no_grad():
        for each in (model, other):
            with ns.summon_full_params(each):
                each.norm.weight.mul_(3.0)
    with ns.summon_full_params(model):
        _backward(model)
    _backward(other)
    for (name, p), (_, q) in zip(model.named_parameters(), other.named_parameters(), strict=True):
        assert p.grad is not None, name
        assert torch.equal(p.grad.full_tensor(), q.grad.full_tensor()), name


def edit_then_gradients(ns: Any) -> None:
    model = _model(ns)
    with ns.summon_full_params(model):
        with torch.no_grad():
            model.head.weight.zero_()
        ids, _ = batches(1)[0]
        assert model(ids).eq(0).all()
    assert whole(ns, model)["head.weight"].eq(0).all()


def edit_then_evaluate(ns: Any) -> None:
    """FSDP1 lost all weights if a forward ran in a context that writes back."""
    model, other = _model(ns), _model(ns)
    ns.load_model_state_dict(other, whole(ns, model))
    ids, _ = batches(1)[0]
    with ns.summon_full_params(model), torch.no_grad():
        model.norm.weight.mul_(3.0)
        inside = model(ids)
    with ns.summon_full_params(other), torch.no_grad():
        other.norm.weight.mul_(3.0)
    with torch.no_grad():
        assert torch.equal(other(ids), inside)
    expected = whole(ns, other)
    assert all(torch.equal(value, expected[name]) for name, value in whole(ns, model).items())


def training_after_low_precision(ns: Any) -> None:
    """Forwards inside leave no trace; FSDP1 got its next gradients wrong."""
    records = []
    for inside in (False, True):
        torch.manual_seed(0)
        model = _model(ns, mixed_precision=ns.MixedPrecision(torch.bfloat16, torch.bfloat16))
        if inside:
            with ns.summon_full_params(model), torch.no_grad():
                model(batches(1)[0][0])
                model(batches(1)[0][0])
        records.append(train(ns, model))
    assert not list(differences(*records))


def edits_reach_low_precision(ns: Any) -> None:
    precision = ns.MixedPrecision(torch.bfloat16)
    model = _model(ns, mixed_precision=precision)
    ids, _ = batches(1)[0]
    with ns.summon_full_params(model), torch.no_grad():
        model(ids)
        assert model.head.weight.dtype == torch.float32
        model.head.weight.zero_()
        assert model(ids).eq(0).all()
    with torch.no_grad():
        assert model(ids).eq(0).all()


def one_gather_per_unit(ns: Any) -> None:
    model = _model(ns)
    with counted() as counts, ns.summon_full_params(model):
        pass
    assert counts == {"gather": 4}


def hooks_of_others_run(ns: Any) -> None:
    model = _model(ns)
    calls: list[str] = []
    model.register_forward_pre_hook(lambda *_: calls.append("before"))
    ids, _ = batches(1)[0]
    with ns.summon_full_params(model), torch.no_grad():
        handle = model.register_forward_hook(lambda *_: calls.append("added inside"))
        model(ids)
    model(ids)
    handle.remove()
    assert calls == ["before", "added inside"] * 2


def refused_combinations(ns: Any) -> None:
    model = _model(ns)
    for arguments in (
        {"rank0_only": True},
        {"with_grads": True, "offload_to_cpu": True, "writeback": False},
    ):
        refused(NotImplementedError, ns.summon_full_params(model, **arguments).__enter__)
    assert _seen(model)


def copied(ns: Any) -> None:
    """A plain copy, with the weights from now, and a model that goes on as if there were none."""
    model = _model(ns)
    ids, _ = batches(1)[0]
    train(ns, model, steps=1)
    with ns.summon_full_params(model, writeback=False):
        plain = ns.copy_module(model)
        weights = _seen(model)
    assert type(plain).__name__ == "Net"
    assert not ns.fsdp_modules(plain)
    assert all(torch.equal(p, weights[name]) for name, p in plain.named_parameters())
    assert len(ns.fsdp_modules(model)) > 1
    with torch.no_grad():
        assert torch.equal(plain(ids), model(ids))
    model.reshard()  # type: ignore[operator]
    assert plain.state_dict().keys() == weights.keys()
    train(ns, model, steps=1)
    assert all(torch.equal(p, weights[name]) for name, p in plain.named_parameters())

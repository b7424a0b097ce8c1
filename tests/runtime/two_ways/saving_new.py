"""State dicts where FSDP1 had no answer, or a wrong one."""

from __future__ import annotations

import copy
import io
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.fsdp as fsdp
from torch import nn
from torch.distributed.tensor import DTensor

from two_ways.compare import differences, refused
from two_ways.old import OLD
from two_ways.saving import CPU, _model, _trained
from two_ways.toys import Block, Net, adamw, batches, copied, train, whole, whole_optim


def local_state_dicts(ns: Any) -> None:
    """No flat parameters, no local state dicts; comparisons with the member still work."""
    model = _model(ns)
    local = ns.StateDictType.LOCAL_STATE_DICT
    assert ns.get_state_dict_type(model).state_dict_type != local
    message = refused(NotImplementedError, lambda: ns.set_state_dict_type(model, local))
    assert "SHARDED_STATE_DICT" in message

    def enter() -> None:
        with ns.state_dict_type(model, local):
            pass

    refused(NotImplementedError, enter)


def parts_that_are_no_units(ns: Any) -> None:
    """FSDP1 gave each rank's share of them; whole tensors are what was meant."""
    model, _ = _trained(ns)
    with torch.no_grad():
        model(batches(1)[0][0])  # leaves the root gathered
    for name, part in (("head", model.head), ("norm", model.norm), ("blocks", model.blocks)):
        assert isinstance(part, nn.Module)
        state = copied(ns.model_state_dict(part))
        every = ns.model_state_dict(model)
        own = {k: v for k, v in every.items() if k.startswith(f"{name}.")}
        named = {f"{name}.{k}": v for k, v in state.items()}
        assert not list(differences(own, named))
        zeros = {k: torch.zeros_like(v) for k, v in state.items()}
        assert not ns.load_model_state_dict(part, zeros).missing_keys
        assert not any(v.any() for v in ns.model_state_dict(part).values())


def values_of_torch(ns: Any) -> None:
    """Enums and configs of torch itself, from libraries that were not migrated."""
    policy = fsdp.wrap.ModuleWrapPolicy({Block})
    model = ns.fully_shard_from_fsdp1(
        Net(),
        sharding_strategy=fsdp.ShardingStrategy.SHARD_GRAD_OP,
        auto_wrap_policy=policy,
        mixed_precision=fsdp.MixedPrecision(torch.bfloat16),
        cpu_offload=fsdp.CPUOffload(False),
        backward_prefetch=fsdp.BackwardPrefetch.BACKWARD_PRE,
        device_id=CPU,
    )
    assert len(ns.fsdp_modules(model)) == 4
    config = fsdp.FullStateDictConfig(rank0_only=True)
    with ns.state_dict_type(model, fsdp.StateDictType.FULL_STATE_DICT, config):
        assert bool(ns.model_state_dict(model)) == (dist.get_rank() == 0)
    refused(TypeError, lambda: ns.set_state_dict_type(model, "FULL_STATE_DICT"))
    refused(TypeError, lambda: ns.fully_shard_from_fsdp1(Net(), sharding_strategy="full"))


def settings_survive_errors(ns: Any) -> None:
    model = _model(ns)

    def fail() -> None:
        with ns.state_dict_type(model, ns.StateDictType.SHARDED_STATE_DICT):
            raise KeyError

    refused(KeyError, fail)
    assert ns.get_state_dict_type(model).state_dict_type is ns.StateDictType.FULL_STATE_DICT


def contexts_on_plain_modules(ns: Any) -> None:
    """Nothing to set, nothing to restore; FSDP1 failed on leaving."""
    plain = nn.Linear(2, 2)
    with ns.state_dict_type(plain, ns.StateDictType.SHARDED_STATE_DICT):
        assert set(ns.model_state_dict(plain)) == {"weight", "bias"}


def one_setting_per_model(ns: Any) -> None:
    outer = nn.ModuleList([_model(ns), _model(ns)])
    ns.set_state_dict_type(outer[0], ns.StateDictType.SHARDED_STATE_DICT)
    refused(AssertionError, lambda: ns.get_state_dict_type(outer))


def sharded_by_plain_fully_shard(ns: Any) -> None:
    """Models that did not come from this package are served as well."""
    net = Net()
    before = copied(net.state_dict())
    for block in net.blocks:
        fsdp.fully_shard(block, mesh=dist.init_device_mesh("cpu", (2,)))
    model = fsdp.fully_shard(net, mesh=dist.init_device_mesh("cpu", (2,)))
    assert not list(differences(before, dict(ns.model_state_dict(model))))
    optim = adamw(model)
    train(ns, model, optim, window=2, accumulate=True)
    state = ns.optim_state_dict(model, optim)
    ns.load_optim_state_dict(model, optim, state)
    ns.load_model_state_dict(model, before)
    assert not list(differences(before, dict(ns.model_state_dict(model))))


def sharded_state_is_a_copy(ns: Any) -> None:
    model, optim = _trained(ns)
    with ns.state_dict_type(model, ns.StateDictType.SHARDED_STATE_DICT):
        state, states = ns.model_state_dict(model), ns.optim_state_dict(model, optim)
    assert all(isinstance(value, DTensor) for value in state.values())
    assert isinstance(states["state"]["head.weight"]["exp_avg"], DTensor)
    before = copied([dict(state), states])
    train(ns, model, optim)
    assert not list(differences(before, copied([dict(state), states])))


def saved_and_read(ns: Any) -> None:
    """Through a file: the values are plain tensors."""
    model, optim = _trained(ns)
    file = io.BytesIO()
    torch.save([ns.model_state_dict(model), ns.optim_state_dict(model, optim)], file)
    file.seek(0)
    state, states = torch.load(file, weights_only=True)
    torch.manual_seed(8)
    other = _model(ns)
    other_optim = adamw(other)
    ns.load_model_state_dict(other, state)
    ns.load_optim_state_dict(other, other_optim, states)
    one, two = train(ns, model, optim, seed=9), train(ns, other, other_optim, seed=9)
    assert not list(differences(one, two))


def one_rank_loads_for_all(ns: Any) -> None:
    """A model on the meta device takes whole tensors."""
    source = _model(ns)
    state = whole(ns, source)
    with torch.device("meta"):
        net = Net()
    for block in net.blocks:
        fsdp.fully_shard(block, mesh=dist.init_device_mesh("cpu", (2,)))
    model = fsdp.fully_shard(net, mesh=dist.init_device_mesh("cpu", (2,)))
    ns.load_model_state_dict(model, state, assign=True)
    assert not list(differences(state, whole(ns, model)))
    one, two = train(ns, source, seed=9), train(ns, model, seed=9)
    assert not list(differences(one, two))


def assigning_keeps_the_parameters(ns: Any) -> None:
    model = _model(ns)
    optim = adamw(model)
    state = {name: value * 2 for name, value in whole(ns, model).items()}
    ns.load_model_state_dict(model, state, assign=True)
    assert {id(p) for p in model.parameters()} == {id(p) for p in optim.param_groups[0]["params"]}
    assert not list(differences(state, whole(ns, model)))
    train(ns, model, optim)


def shapes_that_do_not_fit(ns: Any) -> None:
    model = _model(ns)
    state = whole(ns, model)
    state["head.weight"] = torch.zeros(3, 3)
    assert "head.weight" in refused(RuntimeError, lambda: ns.load_model_state_dict(model, state))


def flat_parameter_checkpoint(ns: Any) -> None:
    """FSDP1 with flat parameters shares one `step` tensor; it must not be advanced 22 times."""
    policy = OLD.ModuleWrapPolicy({Block})
    old = OLD.fully_shard_from_fsdp1(
        Net(), auto_wrap_policy=policy, device_id=CPU, use_orig_params=False
    )
    old_optim = adamw(old)
    train(OLD, old, old_optim)
    state, states = whole(OLD, old), OLD.optim_state_dict(old, old_optim)
    steps = {id(values["step"]) for values in states["state"].values()}
    assert len(steps) < len(states["state"]), "the trap is gone"
    model = _model(ns)
    optim = adamw(model)
    ns.load_model_state_dict(model, state)
    ns.load_optim_state_dict(model, optim, states)
    one, two = train(OLD, old, old_optim, seed=9), train(ns, model, optim, seed=9)
    assert not list(differences(one, two))


def loading_changes_nothing_given(ns: Any) -> None:
    model, optim = _trained(ns)
    states = ns.optim_state_dict(model, optim)
    before = copy.deepcopy(states)
    ns.load_optim_state_dict(model, optim, states)
    train(ns, model, optim)
    assert not list(differences(before, states))


def older_argument_order(ns: Any) -> None:
    """`(optim_state_dict, model, optim)`, as in torch 2.0."""
    model, optim = _trained(ns)
    states = ns.optim_state_dict(model, optim)
    one = ns.optim_state_dict_to_load(states, model, optim)
    two = ns.optim_state_dict_to_load(model, optim, states, load_directly=True)
    assert not list(differences(copied(one), copied(two)))


def named_optimizer(ns: Any) -> None:
    model, optim = _trained(ns)
    states = ns.optim_state_dict(model, optim)
    fitted = ns.optim_state_dict_to_load(model, optim, states, is_named_optimizer=True)
    assert set(fitted["state"]) == set(states["state"])
    assert fitted["param_groups"][0]["params"] == states["param_groups"][0]["params"]


def keyed_by_number(ns: Any) -> None:
    model, optim = _trained(ns)
    numbered = optim.state_dict()
    load = lambda: ns.optim_state_dict_to_load(model, optim, numbered)  # noqa: E731
    assert "rekey_optim_state_dict" in refused(KeyError, load)


def optimizer_built_too_early(ns: Any) -> None:
    net = Net()
    optim = adamw(net)
    model = _model(ns, net)
    message = refused(KeyError, lambda: ns.optim_state_dict(model, optim))
    assert "before the model was sharded" in message


def odd_optimizer_states(ns: Any) -> None:
    """Nothing at all, nested things, plain numbers, tensors of other shapes."""
    model, optim = _trained(ns)
    weight = model.head.weight
    optim.state[weight]["odd"] = {"none": None, "number": 3, "list": [torch.ones(2), "x"]}
    states = ns.optim_state_dict(model, optim)
    fitted = ns.optim_state_dict_to_load(model, optim, states)
    number = [id(p) for p in optim.param_groups[0]["params"]].index(id(weight))
    odd = fitted["state"][number]["odd"]
    assert (odd["none"], odd["number"], odd["list"][1]) == (None, 3, "x")
    assert odd["list"][0] is not states["state"]["head.weight"]["odd"]["list"][0]


def groups_found_by_name(ns: Any) -> None:
    """The groups of the checkpoint come in another order than the optimizer's."""
    model = _model(ns)
    blocks, rest = (
        list(model.blocks.parameters()),
        [
            *model.embed.parameters(),
            *model.norm.parameters(),
            *model.head.parameters(),
        ],
    )
    one = torch.optim.Adam([{"params": blocks, "lr": 0.1}, {"params": rest, "lr": 0.2}])
    train(ns, model, one)
    two = torch.optim.Adam([{"params": rest, "lr": 1.0}, {"params": blocks, "lr": 1.0}])
    ns.load_optim_state_dict(model, two, ns.optim_state_dict(model, one))
    assert [group["lr"] for group in two.param_groups] == [0.2, 0.1]
    before, after = whole_optim(ns, model, one)["state"], whole_optim(ns, model, two)["state"]
    assert not list(differences(before, after, at="state"))


def after_evaluation(ns: Any) -> None:
    """A no-grad forward leaves the root gathered; optimizer states are found and loaded."""
    model, optim = _trained(ns)
    with torch.no_grad():
        model(batches(1)[0][0])
    states = ns.optim_state_dict(model, optim)
    assert len(states["state"]) == 22
    with torch.no_grad():
        model(batches(1)[0][0])
    ns.load_optim_state_dict(model, optim, states)

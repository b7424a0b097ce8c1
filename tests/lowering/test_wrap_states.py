"""Weights that are handed out, and buffers that are cast, once a model is sharded."""

from __future__ import annotations

from support.wraps import migrated


def test_weights_of_the_first_rank() -> None:
    after = migrated("model = FSDP(Block(), sync_module_states=True)\n")
    assert after.splitlines() == [
        "model = Block()",
        "full_state_dict = model.state_dict() if dist.get_rank() == 0 else {}",
        "fully_shard(model)",
        "set_model_state_dict(",
        "    model,",
        "    full_state_dict,",
        "    options=StateDictOptions(full_state_dict=True, broadcast_from_rank0=True),",
        ")",
        "del full_state_dict",
    ]


def test_buffers_are_cast_where_there_is_a_precision() -> None:
    after = migrated(
        "def f(net, half):\n    net = FSDP(net, mixed_precision=MixedPrecision("
        "torch.half, buffer_dtype=torch.half) if half else None)\n    return net\n"
    )
    assert (
        """\
    if half:
        for buffer in net.buffers():
            if buffer.is_floating_point():
                buffer.data = buffer.to(torch.half)
"""
        in after
    )


def test_a_model_that_is_empty_on_other_ranks_gets_room_first() -> None:
    after = migrated(
        "model = FSDP(Block(), sync_module_states=True, "
        "param_init_fn=lambda m: m.to_empty(device='cuda', recurse=False))\n"
    )
    assert 'if dist.get_rank() != 0:\n    model.to_empty(device="cuda")\n' in after


def test_buffers_in_no_state_dict_are_broadcast() -> None:
    after = migrated("def f(net):\n    net = FSDP(net, sync_module_states=True)\n    return net\n")
    assert "    for buffer in net.buffers():\n        dist.broadcast(buffer, src=0)\n" in after


def test_buffers_like_the_parameters_of_a_policy_that_may_be_none() -> None:
    after = migrated(
        "def f(net, flag):\n    half = None\n    if flag:\n"
        "        half = MixedPrecision(torch.half, buffer_dtype=torch.half)\n"
        "    else:\n"
        "        half = MixedPrecision(torch.float, buffer_dtype=torch.float)\n"
        "    net = FSDP(net, mixed_precision=half)\n    return net\n"
    )
    assert "buffer.data = buffer.to(half.param_dtype)" in after

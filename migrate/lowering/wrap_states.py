"""What happens to the state of a model once it is sharded: weights handed out, buffers cast."""

from __future__ import annotations

from collections.abc import Iterator

from fsdp_migrate.findings.code import (
    Code,
    Literal,
    Name,
    Part,
    attribute,
    block,
    call,
    code,
    qualified,
    variable,
)
from fsdp_migrate.lowering.condition import UNIT
from fsdp_migrate.lowering.wrap_plan import InitialWeights, WrapPlan

DSD = "torch.distributed.checkpoint.state_dict"
GET_RANK = qualified("torch.distributed.get_rank")
BROADCAST = qualified("torch.distributed.broadcast")
SET_STATE_DICT = Name(DSD, "set_model_state_dict")
OPTIONS = Name(DSD, "StateDictOptions")
STATE = variable("full_state_dict")
CAST_BUFFERS = Name("fsdp_migrate.runtime", "cast_buffers_from_fsdp1")
BUFFER = variable("buffer")
BATCH_NORM = Name("torch.nn.modules.batchnorm", "_BatchNorm")


def state_of_first_rank(initial: InitialWeights, model: Part) -> Iterator[Code]:
    """The statements that take the weights of the first rank, before the model is sharded."""
    taken = code(
        "{state} = {model}.state_dict() if {rank}() == 0 else {{}}",
        state=STATE,
        model=model,
        rank=GET_RANK,
    )
    yield from _if_asked(initial, taken)


def _if_asked(initial: InitialWeights, *statements: Code) -> Iterator[Code]:
    """`statements`, under the test of whether there is anything to hand out."""
    if initial.test is None:
        yield from statements
    elif statements:
        yield code("if {test}:\n    {done}", test=initial.test, done=block(*statements))


def initial_weights(plan: WrapPlan, model: Part) -> Iterator[Code]:
    """The weights of the first rank, handed out."""
    initial = plan.parts.initial
    assert initial is not None
    buffers = []
    if initial.test is not None and initial.share_buffers:
        buffers.append(_each_buffer(model, call(BROADCAST, BUFFER, src=Literal(0))))
    yield from _if_asked(initial, *_handed_out(plan, initial, model), *buffers)


def _handed_out(plan: WrapPlan, initial: InitialWeights, model: Part) -> Iterator[Code]:
    if initial.empty_elsewhere:
        yield code(
            "if {rank}() != 0:\n    {model}.to_empty(device={device})",
            rank=GET_RANK,
            model=model,
            device=Literal(plan.device_type),
        )
    yield code(
        "{load}({model}, {state}, "
        "options={options}(full_state_dict=True, broadcast_from_rank0=True))",
        load=SET_STATE_DICT,
        model=model,
        state=STATE,
        options=OPTIONS,
    )
    yield code("del {state}", state=STATE)


def buffers(plan: WrapPlan, model: Part, policy: Part) -> Iterator[Code]:
    """The loop over the buffers: from rank 0 to all, then to their dtype."""
    initial, precision = plan.parts.initial, plan.parts.precision
    if precision is not None and precision.casts_by_fsdp1 and precision.fsdp1 is not None:
        if initial and initial.share_buffers and initial.test is None:
            yield _each_buffer(model, call(BROADCAST, BUFFER, src=Literal(0)))
        yield call(CAST_BUFFERS, model, precision.fsdp1)
        return
    shares = initial and initial.share_buffers and initial.test is None
    share = [call(BROADCAST, BUFFER, src=Literal(0))] if shares else []
    if precision is None or not precision.casts_buffers:
        if share:
            yield _each_buffer(model, *share)
        return
    dtype = attribute(policy, precision.buffers_as or "param_dtype")
    told = code("{dtype} is not None", dtype=dtype)
    given = told if precision.given_by_dtype else precision.given
    if precision.buffer_dtype is not None and given is not None:
        if share:
            yield _each_buffer(model, *share)
        each = _outside_batch_norm if precision.batch_norm else _each_buffer
        loop = each(model, _cast(precision.buffer_dtype, None))
        yield code("if {given}:\n    {loop}", given=given, loop=loop)
        return
    if precision.buffer_dtype is not None:
        cast = _cast(precision.buffer_dtype, None)
    else:
        cast = _cast(dtype, told if given is not None else None)
    if precision.batch_norm:
        if share:
            yield _each_buffer(model, *share)
        yield _outside_batch_norm(model, cast)
        return
    yield _each_buffer(model, *share, cast)


def _outside_batch_norm(model: Part, *statements: Code) -> Code:
    return code(
        "for {module} in {model}.modules():\n"
        "    if not isinstance({module}, {norm}):\n"
        "        for {buffer} in {module}.buffers(recurse=False):\n"
        "            {statements}",
        module=UNIT,
        norm=BATCH_NORM,
        buffer=BUFFER,
        model=model,
        statements=block(*statements),
    )


def _each_buffer(model: Part, *statements: Code) -> Code:
    return code(
        "for {buffer} in {model}.buffers():\n    {statements}",
        buffer=BUFFER,
        model=model,
        statements=block(*statements),
    )


def _cast(dtype: Part, there: Code | None) -> Code:
    test = code("{buffer}.is_floating_point()", buffer=BUFFER)
    if there is not None:
        test = code("{test} and {there}", test=test, there=there)
    return code(
        "if {test}:\n    {buffer}.data = {buffer}.to({dtype})",
        test=test,
        buffer=BUFFER,
        dtype=dtype,
    )

"""The keywords of the `fully_shard` calls that a constructor call becomes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from fsdp_migrate.findings.code import (
    Code,
    Kept,
    Keyword,
    Literal,
    Name,
    Part,
    Starred,
    call,
    code,
    parts_of,
    qualified,
    variable,
)
from fsdp_migrate.lowering.arguments.precision_fields import POLICY
from fsdp_migrate.lowering.wrap_plan import MESH, ModelCall, Precision, WrapPlan
from fsdp_migrate.syntax.paths import path_of

SET_DEVICE = qualified("torch.cuda.set_device")
REPLACE = Name("dataclasses", "replace")
DEVICE = variable("device")
PRECISION = variable("mp_policy")
UNIT_POLICY = variable("unit_policy")
IGNORED = variable("ignored_params")
NO_POLICY = Literal(None)


@dataclass(frozen=True)
class Keywords:
    """The keywords of all units, and the statements above that they take."""

    above: tuple[Code, ...]
    shared: tuple[Keyword | Starred, ...]  # by all units
    root: tuple[Keyword, ...] = ()
    child: tuple[Keyword, ...] = ()
    policy: Part = NO_POLICY  # of the precision, under the name that it has below


def keywords(plan: WrapPlan, model: Part, named: bool) -> Keywords:
    """The keywords of the calls; what is long gets a name where there are statements for it."""
    parts = plan.parts
    above: list[Code] = []
    shared: list[Keyword | Starred] = []
    if parts.sharding is not None:
        shared.append(Starred(parts.sharding, double=True))
    if parts.mesh is not None:
        shared.append(Keyword("mesh", parts.mesh.name if named else parts.mesh.code))
        if named and parts.mesh.is_made:
            above.append(code("{mesh} = {made}", mesh=MESH, made=parts.mesh.code))
    several = named and parts.units is not None
    for name, value in (
        ("reshard_after_forward", parts.reshard.after_forward if parts.reshard else None),
        ("offload_policy", parts.offload.policy if parts.offload else None),
    ):
        if value is not None and several and _is_long(value):
            above.append(code("{name} = {value}", name=variable(name), value=value))
            value = variable(name)
        if value is not None:
            shared.append(Keyword(name, value))
    if parts.ignored is not None:
        made = parts.ignored.parameters
        made = made.of(model) if isinstance(made, ModelCall) else made
        shared.append(Keyword("ignored_params", IGNORED if named else made))
        if named:
            above.append(code("{name} = {made}", name=IGNORED, made=made))
    found = Keywords(tuple(above), tuple(shared))
    if parts.precision is None:
        return found
    return _with_precision(found, parts.precision, parts.units is not None, named)


def _with_precision(
    found: Keywords, precision: Precision, has_children: bool, named: bool
) -> Keywords:
    """`found` and the policy, where units below the root may have another one than the root."""
    policy, above = _policy(precision), found.above
    if precision.fsdp1 is not None:
        if precision.bound is not None and precision.fsdp1 is not None:
            bound = code("{name} = {value}", name=precision.fsdp1, value=precision.bound)
            found = replace(found, above=(*above, bound))
        if precision.batch_norm:
            found = replace(found, above=(*found.above, code("{n} = {p}", n=PRECISION, p=policy)))
            policy = PRECISION
        root = Keyword("mp_policy", policy)
        if precision.child_policy is None and not precision.batch_norm:
            return replace(found, shared=(*found.shared, root), policy=policy)
        child = Keyword("mp_policy", precision.child_policy or policy)
        return replace(found, root=(root,), child=(child,), policy=policy)
    told = precision.given_by_dtype and precision.buffer_dtype is not None
    readers = 1 + has_children + bool(precision.buffers_as or told) + precision.batch_norm
    if named and (readers > 1 or _is_long(policy)) and not precision.is_name:
        above = (*above, code("{name} = {policy}", name=PRECISION, policy=policy))
        policy = PRECISION
    root = _casting(policy, precision.casts, precision.own_cast)
    child = _casting(policy, precision.casts, precision.children_cast) if has_children else root
    if root == child and not precision.batch_norm:
        return replace(found, above=above, shared=(*found.shared, root), policy=policy)
    if precision.casts != precision.children_cast:
        bound = code(
            "# the inputs of the model are cast, those of the units inside stay as they are\n"
            "{name} = {made}",
            name=UNIT_POLICY,
            made=child.value,
        )
        above, child = (*above, bound), Keyword("mp_policy", UNIT_POLICY)
    return replace(found, above=above, root=(root,), child=(child,), policy=policy)


def _is_long(value: Part) -> bool:
    """Whether the program has several lines for it, which read better by themselves."""
    return any(
        isinstance(part, Kept) and part.span.end_line > part.span.line for part in parts_of(value)
    )


def _policy(precision: Precision) -> Part:
    if not precision.optional:
        return precision.policy
    return code("{given} or {none}()", given=precision.policy, none=POLICY)


def _casting(policy: Part, casts: bool, wanted: bool) -> Keyword:
    """`policy`, which casts inputs or not, as one that does as wanted."""
    if casts != wanted:
        policy = call(REPLACE, policy, cast_forward_inputs=Literal(wanted))
    return Keyword("mp_policy", policy)


def current_device(plan: WrapPlan) -> Iterator[Code]:
    """The call that makes the device the current one, if it has a number."""
    device = plan.parts.device
    if device is None:
        return
    if device.has_number:
        yield call(SET_DEVICE, device.code)
        return
    name: Part = device.code
    if path_of(device.node) is None:
        name = DEVICE
        yield code("{name} = {device}", name=name, device=device.code)
    # A number has no `index`; that of a device is None where it means any of its kind.
    yield code(
        'if getattr({device}, "index", {device}) is not None:\n    {set_device}({device})',
        device=name,
        set_device=SET_DEVICE,
    )

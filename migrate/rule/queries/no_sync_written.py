"""The context managers that a file gets in the place of `no_sync`."""

from __future__ import annotations

from fsdp_migrate.findings.code import Code, Name, Part, Variable, code, local_variable
from fsdp_migrate.rule.queries.spelling import names_beside, spelled
from fsdp_migrate.syntax.fsdp1_names import ROOT
from fsdp_migrate.syntax.module import Module

FSDP_MODULE = Name(ROOT, "FSDPModule")


def context_manager(
    module: Module, *, gathered: bool, shared: bool, beside_shim: bool
) -> tuple[Code, Variable]:
    """The definition of one, and its name: for weights that stay `gathered`, for DDP's models."""
    name = "no_sync_gathered" if gathered else "no_sync"
    taken = names_beside(module) | ({name} if beside_shim else set())
    function = local_variable(name, f"own_{name}", beside=taken)
    holes: dict[str, Part] = {
        "manager": spelled(module, "contextlib.contextmanager"),
        "function": function,
    }
    if shared:
        return (_gathered_or_ddp if gathered else _either)(holes | {"fsdp": FSDP_MODULE}), function
    return (_gathered if gathered else _plain)(holes), function


def _plain(holes: dict[str, Part]) -> Code:
    return code(
        '''\
@{manager}
def {function}(model):
    """Backward passes inside leave their gradients on the rank."""
    model.set_requires_gradient_sync(False)
    try:
        yield
    finally:
        model.set_requires_gradient_sync(True)''',
        **holes,
    )


def _gathered(holes: dict[str, Part]) -> Code:
    return code(
        '''\
@{manager}
def {function}(model):
    """Backward passes inside leave their gradients on the rank, and the weights gathered."""
    model.set_requires_gradient_sync(False)
    model.set_reshard_after_backward(False)
    try:
        yield
    finally:
        model.set_requires_gradient_sync(True)
        model.set_reshard_after_backward(True)''',
        **holes,
    )


def _either(holes: dict[str, Part]) -> Code:
    return code(
        '''\
@{manager}
def {function}(model):
    """Backward passes inside leave their gradients on the rank."""
    if not isinstance(model, {fsdp}):
        with model.no_sync():
            yield
        return
    model.set_requires_gradient_sync(False)
    try:
        yield
    finally:
        model.set_requires_gradient_sync(True)''',
        **holes,
    )


def _gathered_or_ddp(holes: dict[str, Part]) -> Code:
    return code(
        '''\
@{manager}
def {function}(model):
    """Backward passes inside leave their gradients on the rank, and the weights gathered."""
    if not isinstance(model, {fsdp}):
        with model.no_sync():
            yield
        return
    model.set_requires_gradient_sync(False)
    model.set_reshard_after_backward(False)
    try:
        yield
    finally:
        model.set_requires_gradient_sync(True)
        model.set_reshard_after_backward(True)''',
        **holes,
    )

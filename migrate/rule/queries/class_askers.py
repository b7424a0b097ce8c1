"""Functions of libraries that take a class to ask what is an instance of it, and never call it."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Set

_FIRST = (0, "cls")
_VALIDATOR = (0, "type")
_SPEC = (0, "spec")
# By the function's full name: the position and the name of the parameter that gets the class.
ASKERS: Mapping[str, tuple[int, str]] = {
    "attr.validators.instance_of": _VALIDATOR,
    "attr.validators.subclass_of": _VALIDATOR,
    "attrs.validators.instance_of": _VALIDATOR,
    "attrs.validators.subclass_of": _VALIDATOR,
    "beartype.door.die_if_unbearable": (1, "hint"),
    "beartype.door.is_bearable": (1, "hint"),
    "hamcrest.instance_of": (0, "atype"),
    "lightning_utilities.core.apply_func.apply_to_collection": (1, "dtype"),
    "multipledispatch.dispatch": (0, "types"),
    "pydantic.TypeAdapter": _VALIDATOR,
    "pydantic_core.core_schema.is_instance_schema": _FIRST,
    "pydantic_core.core_schema.is_subclass_schema": _FIRST,
    "torch.utils._pytree.tree_all_only": (0, "type_or_types_or_pred"),
    "torch.utils._pytree.tree_any_only": (0, "type_or_types_or_pred"),
    "torch.utils._pytree.tree_map_only": (0, "type_or_types_or_pred"),
    "torch.utils._pytree.tree_map_only_": (0, "type_or_types_or_pred"),
    "traitlets.Instance": (0, "klass"),
    "typeguard.check_type": (1, "expected_type"),
    "unittest.mock.MagicMock": _SPEC,
    "unittest.mock.Mock": _SPEC,
    "unittest.mock.NonCallableMagicMock": _SPEC,
    "unittest.mock.NonCallableMock": _SPEC,
    "unittest.mock.create_autospec": _SPEC,
}
ANY_POSITION = frozenset({"multipledispatch.dispatch"})


def only_ask(functions: Set[str], call: ast.Call, node: ast.AST) -> bool:
    """Whether each of `functions`, when called so, asks for instances of the class `node`."""
    return bool(functions) and all(_asks(name, call, node) for name in functions)


def _asks(function: str, call: ast.Call, node: ast.AST) -> bool:
    known = ASKERS.get(function)
    if known is None:
        return False
    position, parameter = known
    if any(keyword.arg == parameter and keyword.value is node for keyword in call.keywords):
        return True
    if node not in call.args or any(isinstance(each, ast.Starred) for each in call.args):
        return False
    return function in ANY_POSITION or call.args.index(node) == position

"""The layout of what new code has made too long."""

from __future__ import annotations

from support.programs import dedent
from support.texts import expression

LONG = "options=StateDictOptions(full_state_dict=True, cpu_offload=True)"


def test_a_call_that_is_too_long_gets_lines_of_its_own() -> None:
    text = "state = model.state_dict()\n"
    result = expression(text, "model.state_dict()", f"get_model_state_dict({{0}}, {LONG})", "model")
    assert result == f"state = get_model_state_dict(\n    model, {LONG}\n)\n"


def test_the_call_around_it_is_broken_up_first() -> None:
    text = 'if x:\n    torch.save(net.state(), "model.pt")  # why\n'
    result = expression(text, "net.state()", f"get({{0}}, {LONG})", "net")
    assert result == dedent(
        f"""
        if x:
            torch.save(
                get(net, {LONG}),
                "model.pt",
            )  # why
        """
    )


def test_a_dict_around_it_gets_an_item_a_line() -> None:
    text = 'state = {"model": net.state(), "step": 3}\n'
    result = expression(text, "net.state()", f"get({{0}}, {LONG})", "net")
    assert result == dedent(
        f"""
        state = {{
            "model": get(net, {LONG}),
            "step": 3,
        }}
        """
    )


def test_a_line_that_was_long_already_is_left_alone() -> None:
    text = f"x = f({', '.join(f'argument_{i}' for i in range(12))}, g(a))\n"
    assert expression(text, "g(a)", "h(a)") == text.replace("g(a)", "h(a)")

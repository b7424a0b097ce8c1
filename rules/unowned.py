"""Names of FSDP1 that no other rule has anything to say about."""

from __future__ import annotations

from fsdp_migrate.rule.rule import Example, Rule, no_uses

RULE = Rule(
    code="FSDP900",
    name="unowned",
    summary="a name of FSDP1 that no rule covers: from its inside, of another version, or gone",
    why=(
        "FSDP1 has names for its own use, and some that were there in a few versions of torch "
        "only.  What such a name does for a program isn't known, so it is never taken for "
        "something harmless: it stays, and the model that the code works on stays with it.  "
        "`default_auto_wrap_policy` went with torch 1.11; code that imports it can't run, and "
        "holds nothing back."
    ),
    fix_safety=(
        "There is no fix.  Remove the use, or write it with FSDP2: a sharded parameter is a "
        "DTensor, so `p.to_local()` is a rank's share and `p.full_tensor()` is all of it; "
        "`module.unshard()` and `module.reshard()` take the place of FSDP1's handles.  Where the "
        "code is right as it is, say so with `# fsdp-migrate: ignore[FSDP900] reason`."
    ),
    references=("https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html",),
    examples=(
        Example(
            before=(
                "from torch.distributed.fsdp.wrap import default_auto_wrap_policy\n\n"
                "print(default_auto_wrap_policy)\n"
            ),
            after=None,
        ),
    ),
    left=(
        "Always.  The name is from FSDP1's inside, of another version, or gone: find what it is"
        " for, and write that with fully_shard and torch.distributed.checkpoint."
    ),
    check=no_uses,
)

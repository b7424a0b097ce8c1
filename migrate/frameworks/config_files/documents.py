"""One document of a configuration file: whose it is, and what becomes of it."""

from __future__ import annotations

from pathlib import Path

from fsdp_migrate.findings.finding import Finding, Tier
from fsdp_migrate.frameworks import settings
from fsdp_migrate.frameworks.config_files import accelerate, transformers
from fsdp_migrate.frameworks.config_files.decision import Decision
from fsdp_migrate.frameworks.config_files.editor import Editor
from fsdp_migrate.frameworks.config_files.tables import Edit, Entry, Table, place

AXOLOTL = (
    "Axolotl's FSDP2 is `fsdp_version: 2` at the top, no `fsdp`, and in fsdp_config the names "
    "without `fsdp_`, with reshard_after_forward (true for FULL_SHARD, false for SHARD_GRAD_OP) "
    "instead of sharding_strategy"
)
COMPOSER = (
    "Composer reads such a table as FSDP2's if FSDP_VERSION=2 is set, and then leaves "
    "sharding_strategy out of account: say reshard_after_forward (true for FULL_SHARD, false for "
    "SHARD_GRAD_OP; it has no hybrid sharding), and state_dict_type: full if it isn't said"
)
COMPOSER_ONLY = frozenset(
    {
        "activation_checkpointing_reentrant",
        "activation_cpu_offload",
        "data_parallel_replicate_degree",
        "data_parallel_shard_degree",
        "load_monolith_rank0_only",
    }
)


def convert(
    document: object, path: Path, code: str, *, trusted: bool = True
) -> tuple[list[Edit], list[Finding]]:
    """The edits and the findings of one document."""
    if (
        isinstance(document, Table)
        and document.json
        and transformers.is_config(document)
        and (trusted or transformers.is_certain(document))
    ):
        decision = Decision(document, path, code)
        transformers.decide(decision, None)
        return _done(decision)
    edits: list[Edit] = []
    findings: list[Finding] = []
    todo = [document]
    seen: set[int] = set()  # what aliases repeat is looked at once
    while todo:
        value = todo.pop(0)
        if id(value) in seen:
            continue
        if isinstance(value, list | Table):
            seen.add(id(value))
        if isinstance(value, list):
            todo += value
        elif isinstance(value, Table):
            some, said = _once(value, *_convert(value, path, code, trusted), path, code)
            edits += some
            findings += said
            if not said:
                todo += (e.value for e in value.entries if e.key != "fsdp_config")
    return edits, findings


def _once(
    top: Table, edits: list[Edit], said: list[Finding], path: Path, code: str
) -> tuple[list[Edit], list[Finding]]:
    """The answer for a table, unless it says something twice: programs go by the last, or fail."""
    if not edits and not said:
        return edits, said
    config = top.entry("fsdp_config")
    inner = config.value if config is not None else None
    for table in [top, *([inner] if isinstance(inner, Table) else [])]:
        keys = [entry.key for entry in table.entries]
        for entry in table.entries:
            if keys.count(entry.key) > 1:
                message = f"the key {entry.key} stands here twice; leave one of them, then migrate"
                return [], [_finding(table, entry, path, code, message)]
    return edits, said


def _convert(top: Table, path: Path, code: str, trusted: bool) -> tuple[list[Edit], list[Finding]]:
    """The same, for a table that may be a configuration."""
    config = top.entry("fsdp_config")
    if accelerate.is_accelerate(top) and (trusted or accelerate.is_certain(top)):
        return _accelerate(top, config, path, code)
    if "fsdp" in top and (trusted or transformers.are_arguments(top)):
        return _training_arguments(top, config, path, code)
    if config is not None and isinstance(config.value, Table) and _is_composer(config.value):
        return [], [_finding(top, config, path, code, COMPOSER)]
    return [], []


def _is_composer(table: Table) -> bool:
    precision = table.get("mixed_precision")
    named = isinstance(precision, str) and precision.upper() in {"DEFAULT", "FULL", "PURE"}
    return "reshard_after_forward" not in table and (named or bool(COMPOSER_ONLY & set(table)))


def _done(decision: Decision) -> tuple[list[Edit], list[Finding]]:
    edits = [] if decision.is_manual else decision.editor.edits()
    return edits, decision.settled()


def _finding(top: Table, entry: Entry, path: Path, code: str, message: str) -> Finding:
    line, col = place(top.text, entry.key_start)
    return Finding(path, line, col, code, message, Tier.MANUAL)


def _odd(entry: Entry, text: str) -> bool:
    """Whether an anchor, an alias or a tag stands where a value is expected."""
    between = text[entry.key_end : entry.start].strip(" \t\r\n:")
    if entry.start < entry.key_end or (between and not between.startswith("#")):
        return True
    return text[entry.start : entry.start + 1] in ("&", "*", "!")


def _is_plain(table: Table) -> bool:
    """Whether all settings of a table are written where they stand."""
    return not any(entry.key == "<<" or _odd(entry, table.text) for entry in table.entries)


# ---------------------------------------------------------------------- Accelerate
def _accelerate(
    top: Table, config: Entry | None, path: Path, code: str
) -> tuple[list[Edit], list[Finding]]:
    if config is None or not isinstance(config.value, Table):
        kind = top.entry("distributed_type")
        message = (
            "FSDP without an fsdp_config is FSDP1 with its defaults; give it one with "
            "fsdp_version: 2 and fsdp_state_dict_type: FULL_STATE_DICT"
        )
        entry = config or kind
        assert entry is not None
        return [], [_finding(top, entry, path, code, message)]
    table = config.value
    if _odd(config, top.text) or not _is_plain(table):
        message = "the settings come by an anchor, an alias or a merge key; migrate them by hand"
        return [], [_finding(top, config, path, code, message)]
    decision = Decision(table, path, code)
    mesh = accelerate.decide(decision, top)
    if decision.is_manual or not decision.editor.changed:
        return [], decision.settled()
    outer = Editor(top)
    if top.flow:
        outer.values[config] = decision.editor.rendered()
        if mesh is not None:
            parts = ", ".join(f'"{key}": {value}' for key, value in mesh.items())
            outer.added.append(("parallelism_config", f"{{{parts}}}"))
        return outer.edits(), decision.settled()
    edits = decision.editor.edits()
    if mesh is not None:
        lines = "".join(f"{top.newline}  {key}: {value}" for key, value in mesh.items())
        empty = top.entry("parallelism_config")
        if empty is not None:
            outer.drop(empty)
        outer.added.append(("parallelism_config", lines))
        edits += outer.edits()
    return edits, decision.settled()


# ---------------------------------------------------------------------- Transformers
def _training_arguments(
    top: Table, config: Entry | None, path: Path, code: str
) -> tuple[list[Edit], list[Finding]]:
    fsdp = top.entry("fsdp")
    assert fsdp is not None
    if "base_model" in top:  # Axolotl's
        new = str(top.get("fsdp_version")) == "2"
        return [], [] if new or not fsdp.value else [_finding(top, fsdp, path, code, AXOLOTL)]
    words = settings.words_of(fsdp.value)
    if words is None or not words:
        return [], []  # something else of that name, or FSDP is off
    if config is not None and isinstance(config.value, str):
        return _beside_a_file(top, fsdp, config.value, words, path, code)
    if config is not None and isinstance(config.value, Table):
        if _odd(config, top.text) or not _is_plain(config.value):
            message = "the settings come by an anchor, an alias or a merge key; migrate by hand"
            return [], [_finding(top, config, path, code, message)]
        decision = Decision(config.value, path, code, prefix="")
        if not transformers.decide(decision, words):
            return [], []
    else:
        nowhere = Table(top.text, fsdp.key_start, fsdp.key_start, flow=True, json=True)
        decision = Decision(nowhere, path, code, prefix="")
        transformers.decide(decision, words)
    return _with_words(top, fsdp, config, decision)


def _with_words(
    top: Table, fsdp: Entry, config: Entry | None, decision: Decision
) -> tuple[list[Edit], list[Finding]]:
    """The settings changed, and `fsdp: true` instead of its words."""
    if fsdp.value is not True:
        decision.say("the words of fsdp stand in fsdp_config now", fsdp, Tier.NATIVE)
    if decision.is_manual:
        return [], decision.settled()
    outer = Editor(top)
    outer.put("fsdp", True)
    if config is not None and isinstance(config.value, Table):
        if top.flow:
            outer.values[config] = decision.editor.rendered()
            return outer.edits(), decision.settled()
        return [*outer.edits(), *decision.editor.edits()], decision.settled()
    added = sorted(decision.editor.added, key=lambda pair: pair[0] != "version")
    if top.flow:
        text = "{" + ", ".join(f'"{key}": {value}' for key, value in added) + "}"
    else:
        plain = ((key, value.strip('"')) for key, value in added)
        text = "".join(f"{top.newline}  {key}: {value}" for key, value in plain)
    if config is not None:
        outer.drop(config)
    outer.added.append(("fsdp_config", text))
    return outer.edits(), decision.settled()


def _beside_a_file(
    top: Table, fsdp: Entry, name: str, words: list[str], path: Path, code: str
) -> tuple[list[Edit], list[Finding]]:
    """The settings stand in a file of their own, which is migrated as such."""
    plain = set(words) <= {"full_shard", "auto_wrap", "any_wrap"} and len(words) > 1
    if not plain:
        message = (
            f"say what the words of fsdp say in {name}: reshard_after_forward (true for "
            "full_shard, false for shard_grad_op), cpu_offload: true for offload, "
            "auto_wrap_policy: NO_WRAP without auto_wrap; then fsdp: true here; "
            f"{transformers.HYBRID}"
        )
        return [], [_finding(top, fsdp, path, code, message)]
    decision = Decision(top, path, code)
    if fsdp.value is True:
        return [], []
    decision.editor.put("fsdp", True)
    message = f"the words of fsdp are the defaults of FSDP2; {name} needs version: 2"
    decision.say(message, fsdp, Tier.NATIVE)
    return _done(decision)

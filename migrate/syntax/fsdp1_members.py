"""What an FSDP1 model has that can be asked for, and who accounts for it under FSDP2.

Each member is the same under FSDP2, or has a rule, or gets a finding.  The members that a model
shares with every `nn.Module` are listed apart: most of them do what they did.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """What becomes of a member."""

    SAME = "it does what it did"
    RULE = "a rule rewrites it, or says why it can't"
    FINDING = "a person has to decide: the finding says what to take instead"


@dataclass(frozen=True)
class Account:
    """Who answers for a member: the code of a rule, and nobody where nothing changes."""

    kind: Kind
    rule: str = ""


SAME = Account(Kind.SAME)


def _rule(code: str, names: str) -> Iterable[tuple[str, Account]]:
    return ((name, Account(Kind.RULE, code)) for name in names.split())


def _finding(code: str, names: str) -> Iterable[tuple[str, Account]]:
    return ((name, Account(Kind.FINDING, code)) for name in names.split())


# ---------------------------------------------------------------------- attributes of an object
UNWRAPPED = frozenset({"module", "_fsdp_wrapped_module"})  # the module inside
# Those that FSDP1's constructor sets, by the name that a program asks for.
ATTRIBUTES: Mapping[str, Account] = dict(
    (
        *_rule("FSDP402", "module _fsdp_wrapped_module"),
        *_rule("FSDP410", "rank world_size process_group compute_device"),
        *_rule("FSDP410", "mixed_precision cpu_offload forward_prefetch limit_all_gathers"),
        *_finding("FSDP410", "sharding_strategy backward_prefetch params"),
        *_finding("FSDP406", "training_state flat_param"),
    )
)
# Private ones; the calls of the first two go, where they stand alone.
PRIVATE: Mapping[str, Account] = dict(
    (
        *_rule("FSDP406", "_lazy_init _reset_lazy_init"),
        *_finding(
            "FSDP406",
            "_all_fsdp_states _all_gather_stream _all_handles _all_reduce_stream _assert_state "
            "_buffer_name_to_orig_dtype _buffer_names _comm_hook _comm_hook_state _debug_level "
            "_default_stream _deregister_orig_params_ctx _device_handle _device_mesh "
            "_exec_order_data _flat_param _flat_param_handle _free_event_queue _fsdp_extension "
            "_fully_sharded_module_to_handle _gradient_postdivide_factor "
            "_gradient_predivide_factor _handle _handles _has_params _ignored_buffer_names "
            "_ignored_modules _ignored_params _inter_node_pg _inter_node_state _is_root "
            "_is_using_optim_input _low_precision_hook_enabled "
            "_mixed_precision_enabled_for_buffers _needs_buffer_dtype_restore_check "
            "_optim_state_dict_config _optim_state_dict_impl _optim_state_dict_to_load_impl "
            "_post_backward_callback_queued _post_backward_stream _post_forward_handles "
            "_pre_forward_handles _pre_unshard_stream _reshard _root_pre_forward_handles "
            "_state_dict_config _state_dict_type _streams _sync_gradients _unshard "
            "_unshard_event _unshard_params_ctx _unshard_stream _use_full_prec_in_eval "
            "_use_orig_params _use_training_state _wait_unshard_streams_on_current_stream "
            "_warn_legacy_optim_state_dict _warn_optim_input _zero_scalar",
        ),
    )
)

# ---------------------------------------------------------------------- methods of its own
METHODS: Mapping[str, Account] = dict(
    (
        *_rule("FSDP409", "check_is_root"),
        *_rule("FSDP202", "clip_grad_norm_"),
        *_rule("FSDP403", "fsdp_modules summon_full_params"),
        *_rule("FSDP201", "no_sync"),
        *_rule("FSDP404", "register_comm_hook"),
        *_rule("FSDP301", "get_state_dict_type set_state_dict_type state_dict_type"),
        *_rule(
            "FSDP303",
            "optim_state_dict optim_state_dict_to_load full_optim_state_dict "
            "sharded_optim_state_dict scatter_full_optim_state_dict shard_full_optim_state_dict "
            "flatten_sharded_optim_state_dict rekey_optim_state_dict",
        ),
    )
)

# ---------------------------------------------------------------------- what every module has
_UNCHANGED = (
    "T_destination", "add_module", "bfloat16", "buffers", "call_super_init", "compile",
    "cpu", "cuda", "double", "dump_patches", "eval", "extra_repr", "float", "get_buffer",
    "get_extra_state", "get_parameter", "get_submodule", "half", "ipu", "modules", "mtia",
    "parameters", "register_backward_hook",
    "register_buffer", "register_forward_hook", "register_forward_pre_hook",
    "register_full_backward_hook", "register_full_backward_pre_hook",
    "register_load_state_dict_post_hook", "register_load_state_dict_pre_hook", "register_module",
    "register_parameter", "register_state_dict_post_hook", "register_state_dict_pre_hook",
    "requires_grad_", "set_extra_state", "set_submodule", "share_memory", "to", "to_empty",
    "train", "training", "type", "xpu", "zero_grad",
)  # fmt: skip
# FSDP1 forwards what it lacks to the module inside; under FSDP2 that module is the model.
MODULE: Mapping[str, Account] = {
    **dict.fromkeys(_UNCHANGED, SAME),
    **dict(
        (
            *_rule("FSDP302", "state_dict load_state_dict"),
            *_rule("FSDP407", "forward"),
            *_rule("FSDP408", "apply"),
            *_finding("FSDP412", "named_parameters"),
            *_finding("FSDP405", "children named_buffers named_children named_modules"),
        )
    ),
}

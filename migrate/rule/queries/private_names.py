"""What to do instead of asking for a private name of FSDP1's."""

from __future__ import annotations

INIT = "FSDP2 initialises itself in the first forward or `unshard()`"
SHARD = "(`p.to_local()` is this rank's shard, `p.full_tensor()` the whole)"
_SAID = (
    (
        f"there is no flat parameter: `module.parameters()` are DTensors with their own names and "
        f"shapes {SHARD}",
        "FlatParameter flat_param _flat_param _flat_params _local_shard _full_param_padded",
    ),
    (
        f"there are no handles: each parameter is a DTensor of its own {SHARD}, and "
        "`module.unshard()` / `module.reshard()` gather and free a unit",
        "FlatParamHandle _handle _handles _all_handles _get_fsdp_handles _module_handle "
        "_fully_sharded_module_to_handle",
    ),
    (
        "`module.named_parameters()` gives the names, which have no wrapper's prefix",
        "_fqns _param_infos _get_param_to_fqns _get_param_to_fqn _get_fqn_to_param "
        "clean_tensor_name FSDP_PREFIX FSDP_WRAPPED_MODULE",
    ),
    ("`p.shape` is the whole shape", "_shapes _unpadded_unsharded_size"),
    ("`p.numel()` counts the whole parameter", "_numels"),
    (f"{INIT}; drop the call", "_lazy_init _reset_lazy_init"),
    (
        'a 2-D mesh stands for the groups: init_device_mesh("cuda", (nodes, devices per node), '
        'mesh_dim_names=("replicate", "shard"))',
        "_init_intra_and_inter_node_groups _init_intra_node_process_group "
        "_init_inter_node_process_group",
    ),
    (
        "there is no public flag; the root is the model that you gave to the last fully_shard "
        "call (`module is model`)",
        "_is_root _is_fsdp_root",
    ),
    ("ask `any(True for _ in module.parameters())`", "_has_params _has_fsdp_params"),
    (
        "ask `isinstance(module, FSDPModule)`, and for all units of a model "
        "[m for m in model.modules() if isinstance(m, FSDPModule)]",
        "_get_module_fsdp_state _get_fsdp_states _get_fsdp_states_with_modules "
        "_get_fsdp_root_states _FSDPState",
    ),
    ("ask `isinstance(p, DTensor)`", "_is_fsdp_flattened"),
    ("call `module.unshard()`, `module.reshard()`", "_unshard _reshard"),
    (
        "use `summon_full_params` of fsdp_migrate.runtime, or `p.full_tensor()` of each parameter",
        "_unshard_params",
    ),
    ("use `p.full_tensor()` of each parameter", "_unshard_fsdp_state_params"),
    (
        "FSDP2 has no public training state",
        "TrainingState HandleTrainingState training_state _use_training_state",
    ),
    (
        "FSDP2 keeps its streams and its order to itself; drop what tunes them",
        "_exec_order_data _streams _unshard_stream _post_backward_stream _pre_unshard_stream "
        "_all_gather_stream _default_stream _free_event_queue",
    ),
    ("call `module.set_requires_gradient_sync(...)`", "_sync_gradients"),
    ("there are no such hooks; see `set_custom_reduce_scatter`", "_comm_hook _comm_hook_state"),
    (
        "tensor parallelism needs no extension: parallelize first, then fully_shard",
        "_fsdp_extension",
    ),
    ("parameters are always the original ones", "_deregister_orig_params_ctx"),
    (
        "the mesh is what you gave to fully_shard, or that of a parameter: `p.device_mesh`",
        "_device_mesh _inter_node_pg _inter_node_state",
    ),
    ("the ignored parameters are what you gave to fully_shard", "_ignored_modules _ignored_params"),
    ("keep what you gave to the constructor", "_use_orig_params _use_full_prec_in_eval"),
    (
        "a state dict is asked for with its options each time; there is no mode",
        "_state_dict_type _state_dict_config _optim_state_dict_config",
    ),
    ("see `set_gradient_divide_factor`", "_gradient_predivide_factor _gradient_postdivide_factor"),
    (
        "`module.unshard(async_op=True).wait()` waits",
        "_wait_unshard_streams_on_current_stream",
    ),
)
ADVICE = {name: advice for advice, names in _SAID for name in names.split()}

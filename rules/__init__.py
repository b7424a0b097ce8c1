"""The migration rules: one file per FSDP1 surface, found by the registry of the engine."""

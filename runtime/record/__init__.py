"""Record what a training program trains: `python -m fsdp_migrate.runtime.record`."""

"""Move PyTorch training code from FSDP1 to FSDP2.

This file imports nothing: migrated programs import `fsdp_migrate.runtime`, and must not
load the engine, click or LibCST with it.
"""

__version__ = "0.1.0"

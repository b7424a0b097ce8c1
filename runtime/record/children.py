"""Record the processes that a program starts with multiprocessing.

A spawned child imports the program's main module before it runs anything.  It is made to import
`record.child` instead, which begins the recording and then loads the real main module.
"""

from __future__ import annotations

import json
import multiprocessing.spawn
import os
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import Any

from fsdp_migrate.runtime.record.blame import describe
from fsdp_migrate.runtime.record.settings import Settings
from fsdp_migrate.runtime.rehearse.patching import put

MAIN = "FSDP_MIGRATE_MAIN"
CHILD = "fsdp_migrate.runtime.record.child"
_KEYS = ("init_main_from_name", "init_main_from_path")


def follow(settings: Settings, finish: Callable[[str | None], None]) -> None:
    """Record the children of this process too, and end their recordings with them."""
    settings.export()
    prepare = multiprocessing.spawn.get_preparation_data
    bootstrap = BaseProcess._bootstrap  # type: ignore[attr-defined]

    def get_preparation_data(name: str) -> dict[str, Any]:
        data = prepare(name)
        os.environ[MAIN] = json.dumps({key: data.pop(key) for key in _KEYS if key in data})
        return {**data, "init_main_from_name": CHILD}

    def bootstrap_recorded(process: BaseProcess, *args: Any, **kwargs: Any) -> Any:
        run = process.run

        def run_recorded() -> None:
            error: BaseException | None = None
            try:
                run()
            except BaseException as caught:
                error = caught
                raise
            finally:
                finish(describe(error))

        put(process, run=run_recorded)  # of this object: classes may have a `run` of their own
        return bootstrap(process, *args, **kwargs)

    if prepare.__name__ == "get_preparation_data" and prepare.__module__ != __name__:
        put(multiprocessing.spawn, get_preparation_data=get_preparation_data)
        put(BaseProcess, _bootstrap=bootstrap_recorded)

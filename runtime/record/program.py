"""Run a script or module in this process, recorded."""

from __future__ import annotations

import contextlib
import faulthandler
import multiprocessing
import os
import random
import runpy
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fsdp_migrate.runtime import rehearse
from fsdp_migrate.runtime.record.blame import describe
from fsdp_migrate.runtime.record.children import follow
from fsdp_migrate.runtime.record.settings import Settings
from fsdp_migrate.runtime.verify import recording

if TYPE_CHECKING:
    from fsdp_migrate.runtime.record.recorder import Recorder


class CannotRun(Exception):
    """The program cannot be recorded as asked for."""


def run(settings: Settings, program: Sequence[str]) -> None:
    """Run `[-m] program arguments...` and record it; raises what the program raises."""
    as_module = program[0] == "-m"
    target, *arguments = program[1:] if as_module else program
    files = str(recording.files_folder(settings.out))
    arguments = [argument.replace("{out}", files) for argument in arguments]
    if any(files in argument for argument in arguments):
        Path(files).mkdir(parents=True, exist_ok=True)
    recorder = start(settings, (*program[: len(program) - len(arguments)], *arguments))
    sys.argv = [target, *arguments]
    sys.path[0] = os.getcwd() if as_module else str(Path(target).resolve().parent)
    sys.path[1:1] = map(str, settings.paths)
    try:
        if as_module:
            runpy.run_module(target, run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(target, run_name="__main__")
    except BaseException as error:
        recorder.finish(describe(error))
        raise
    recorder.finish(_trespass(settings))


def start(settings: Settings, arguments: tuple[str, ...], *, child: bool = False) -> Recorder:
    """Choose the device, begin the rehearsal if there is one, and install the recorder."""
    device = _device(settings)
    if device == "rehearsal":
        rehearse.prepare_environment()
        rehearse.start(settings.gpus or int(os.environ.get("LOCAL_WORLD_SIZE", 1)))
        warnings.filterwarnings("ignore", module=r"torch\.")
    from fsdp_migrate.runtime.record.recorder import Recorder

    recorder = Recorder(settings, arguments, device, child=child)
    if device == "rehearsal":
        recorder.notes = rehearse.NOTES
    recorder.install()
    recorder.lines.start(tracing=device == "rehearsal")
    follow(settings, recorder.finish_child)
    if settings.seed is not None:
        _seed(settings.seed)
    if settings.dump_at is not None:
        faulthandler.dump_traceback_later(max(settings.dump_at - time.time(), 0.1))
    return recorder


def _device(settings: Settings) -> str:
    """ "cuda" or "rehearsal"."""
    if settings.device != "cpu":
        from fsdp_migrate.runtime.record import gpu

        if gpu.available():
            return "cuda"
        if settings.device == "cuda":
            raise CannotRun("--device cuda: this machine has no CUDA device")
    return "rehearsal"


def _seed(seed: int) -> None:
    """Start all generators at a known point, which differs between ranks as it would without."""
    import torch

    place = sum(multiprocessing.current_process()._identity)
    seed += int(os.environ.get("RANK", place))
    torch.manual_seed(seed)
    random.seed(seed)
    with contextlib.suppress(ImportError):
        import numpy

        numpy.random.seed(seed)


def _trespass(settings: Settings) -> str | None:
    """The import that makes the run worthless: a copy was to be run, not what it is a copy of."""
    if settings.forbidden is None:
        return None
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None)
        if not path or name.partition(".")[0] in ("fsdp_migrate", "__main__"):
            continue
        parents = Path(path).parents
        installed = any(parent.name.endswith("-packages") for parent in parents)
        if settings.forbidden in parents and not installed:
            return f"{name} was imported from {path}, which is not the version under test"
    return None

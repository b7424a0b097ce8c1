"""What a recorded run looks like on disk, and as data.

A recording is a folder with one file of JSON lines per rank, one line per event, written as the
run goes: what was recorded until a crash or a hang can be read.  Only this module knows the
format; it needs neither torch nor the recorder.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

FORMAT = 1
FSDP1, FSDP2 = "FSDP1", "FSDP2"
NO_MODEL = "of no model"  # ends the name of a parameter that no module has
Groups = list[dict[str, Any]]


@dataclass(frozen=True)
class Fingerprint:
    """A tensor without its values: equal digests mean equal bits.

    The sketch is a linear map of the values to a few numbers: the norm of the difference of two
    sketches estimates the norm of the difference of the tensors, and a scaled tensor has a
    scaled sketch.
    """

    dtype: str
    shape: tuple[int, ...]
    digest: str
    sketch: tuple[float, ...] = ()

    def same(self, other: Fingerprint) -> bool:
        """Whether both have the same bits, type and shape."""
        return (self.digest, self.dtype, self.shape) == (other.digest, other.dtype, other.shape)


Prints = dict[str, Fingerprint | None]


@dataclass(frozen=True)
class Header:
    """How a rank was run."""

    rank: int
    world: int
    host: str
    torch: str
    python: str
    device: str  # the name of the GPU, or "rehearsal"
    folder: str  # the working directory
    out: str  # the recording, where it was made
    arguments: tuple[str, ...]
    deterministic: bool
    seed: int | None
    cuda: str = ""  # what torch was built with, on a GPU
    nccl: str = ""
    recorder: str = ""  # the version of this package
    started: str = ""
    format: int = FORMAT


@dataclass(frozen=True)
class Loss:
    """A tensor that `backward` was called on, before optimizer step number `step`."""

    step: int
    value: float | None  # of a scalar
    print: Fingerprint


@dataclass(frozen=True)
class Step:
    """One optimizer step: what went in and what came out, under clean names."""

    number: int
    optimizer: str
    groups: Groups  # hyperparameters by parameter group
    gradients: Prints = field(default_factory=dict)
    parameters: Prints = field(default_factory=dict)
    buffers: Prints = field(default_factory=dict)
    state: Prints = field(default_factory=dict)
    frozen: tuple[str, ...] = ()
    random: dict[str, str] = field(default_factory=dict)
    collectives: dict[str, tuple[int, int]] = field(default_factory=dict)
    seconds: float = 0.0
    peak_memory: int | None = None


@dataclass(frozen=True)
class End:
    """How a rank ended; a rank that was killed has no end."""

    error: str | None
    seconds: float
    notes: tuple[str, ...] = ()
    sharding: tuple[str, ...] = ()  # what models were sharded with: FSDP1, FSDP2
    reached: tuple[str, ...] = ()  # of the places that were watched


@dataclass
class Rank:
    """Everything that one rank recorded."""

    header: Header
    losses: list[Loss] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    end: End | None = None


@dataclass(frozen=True)
class Recording:
    """A recorded run."""

    folder: Path
    ranks: dict[int, Rank]

    @property
    def files(self) -> Path:
        """The output folder of the program (`{out}` in its arguments)."""
        return files_folder(self.folder)

    def printed(self, rank: int = 0) -> str:
        """What a rank wrote to its standard output, with names for the folders of the run."""
        return self._text(output_path(self.folder, rank), rank) or ""

    def complained(self, rank: int = 0) -> str | None:
        """What a rank wrote to its standard error; None in recordings without it."""
        return self._text(errors_path(self.folder, rank), rank)

    def _text(self, path: Path, rank: int) -> str | None:
        if not path.exists():
            return None
        header, text = self.ranks[rank].header, path.read_text(errors="replace")
        return text.replace(header.out, "<recording>").replace(header.folder, "<folder>")

    def tensors(self, rank: int, step: int) -> Path | None:
        """The full tensors of a step, if they were kept."""
        path = tensors_path(self.folder, rank, step)
        return path if path.exists() else None


class NoRecording(Exception):
    """A folder holds no recording, or one that cannot be read."""


def files_folder(folder: Path) -> Path:
    """Where `{out}` in the arguments of a recorded program points."""
    return folder / "files"


def events_path(folder: Path, rank: int) -> Path:
    """The events of a rank."""
    return folder / f"rank{rank:05d}.jsonl"


def output_path(folder: Path, rank: int) -> Path:
    """The standard output of a rank."""
    return folder / f"rank{rank:05d}.out"


def errors_path(folder: Path, rank: int) -> Path:
    """The standard error of a rank, without what libraries log and warn of."""
    return folder / f"rank{rank:05d}.err"


def watched_path(folder: Path) -> Path:
    """The lines of which a run notes down that they are executed."""
    return folder / "watched.json"


def tensors_path(folder: Path, rank: int, step: int) -> Path:
    """The full tensors of one step of a rank."""
    return folder / "tensors" / f"rank{rank:05d}" / f"step{step:06d}.pt"


def to_line(event: Header | Loss | Step | End) -> str:
    """One line of JSON."""
    data = {"event": type(event).__name__.lower(), **asdict(event, dict_factory=_plain)}
    return json.dumps(data, separators=(",", ":")) + "\n"


def read(folder: Path) -> Recording:
    """Read a recording; raises `NoRecording`."""
    ranks = {}
    for path in sorted(folder.glob("rank*.jsonl")):
        try:
            rank = _read_rank(path)
        except (LookupError, TypeError, AttributeError, ValueError, struct.error) as error:
            why = f"{type(error).__name__}: {error}"
            raise NoRecording(
                f"{path} is no recording of this version, or damaged: {why}"
            ) from error
        except OSError as error:
            raise NoRecording(f"{path} cannot be read: {error.strerror}") from error
        ranks[rank.header.rank] = rank
    if not ranks:
        raise NoRecording(f"{folder} holds no recording: no optimizer step or loss was recorded")
    return Recording(folder, ranks)


def _read_rank(path: Path) -> Rank:
    rank: Rank | None = None
    for kind, data in _events(path):
        if kind == "header":
            if data["format"] != FORMAT:
                raise NoRecording(f"{path} has format {data['format']}, not {FORMAT}")
            rank = Rank(_header(data))
        elif rank is None:
            raise NoRecording(f"{path} has no header")
        elif kind == "loss":
            rank.losses.append(_loss(data))
        elif kind == "step":
            rank.steps.append(_step(data))
        elif kind == "end":
            sharding = tuple(data.get("sharding", ()))  # which older recordings lack
            notes, reached = tuple(data["notes"]), tuple(data.get("reached", ()))
            rank.end = End(data["error"], data["seconds"], notes, sharding, reached)
    if rank is None:
        raise NoRecording(f"{path} is empty")
    return rank


def _events(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if not line.endswith("\n"):
                return  # the rank was killed while it wrote
            try:
                data = json.loads(line)
            except ValueError as error:
                raise NoRecording(f"{path} is damaged: {error}") from error
            yield data.pop("event"), data


def _header(data: dict[str, Any]) -> Header:
    _expect(data, rank=int, world=int, folder=str, out=str)
    return Header(**{**data, "arguments": tuple(data["arguments"])})


def _loss(data: dict[str, Any]) -> Loss:
    _expect(data, step=int, value=(int, float, type(None)))
    return Loss(data["step"], data["value"], _fingerprint(data["print"]))


def _expect(data: dict[str, Any], **types: Any) -> None:
    for name, kind in types.items():
        if not isinstance(data[name], kind):
            raise TypeError(f"{name} is {data[name]!r:.40}")


def _step(data: dict[str, Any]) -> Step:
    _expect(data, number=int, groups=list, random=dict, seconds=(int, float))
    for kind in ("gradients", "parameters", "buffers", "state"):
        data[kind] = {k: v and _fingerprint(v) for k, v in data[kind].items()}
    data["collectives"] = {key: (count, size) for key, (count, size) in data["collectives"].items()}
    return Step(**{**data, "frozen": tuple(data["frozen"])})


def _plain(pairs: list[tuple[str, Any]]) -> Any:
    """A fingerprint as a short list, every other data class as a dictionary."""
    if pairs and pairs[0][0] == "dtype":
        dtype, shape, digest, sketch = (value for _, value in pairs)
        packed = struct.pack(f"<{len(sketch)}d", *sketch)
        return [dtype, list(shape), digest, base64.b64encode(packed).decode()]
    return dict(pairs)


def _fingerprint(data: list[Any]) -> Fingerprint:
    dtype, shape, digest, sketch = data
    if not isinstance(dtype, str) or not isinstance(digest, str):
        raise TypeError(f"a fingerprint is {data!r:.40}")
    packed = base64.b64decode(sketch)
    return Fingerprint(dtype, tuple(shape), digest, struct.unpack(f"<{len(packed) // 8}d", packed))

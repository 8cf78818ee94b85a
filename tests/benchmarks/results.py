"""What a table is: rows and columns; and the figures that goals are held against."""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias

from tests.benchmarks.rounds import Quartiles

Cell: TypeAlias = str | int | float | Quartiles | None
Row: TypeAlias = Sequence[Cell]


@dataclass
class Table:
    title: str
    columns: Sequence[str]
    rows: list[Row] = field(default_factory=list)
    chart: int | None = None  # the column that is drawn


@dataclass
class Section:
    """The tables of one module."""

    title: str
    tables: list[Table] = field(default_factory=list)
    figures: dict[str, Cell] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)  # how the peers are set up, and what is what

    def as_json(self) -> dict[str, Any]:
        shortened: dict[str, Any] = _shortened(asdict(self))
        return shortened


@dataclass(frozen=True)
class Bench:
    """Where to measure, and how long."""

    port: int
    url: str
    quick: bool

    def rounds(self, full: int) -> int:
        return max(7, full // 8) if self.quick else full


def from_environment() -> Bench:
    port = int(os.environ["BENCH_PORT"])
    return Bench(port, os.environ["BENCH_REDIS_URL"], bool(os.environ.get("QUICK")))


def _shortened(value: Any) -> Any:
    """Leave five digits of a number: more are not measured."""
    if isinstance(value, dict):
        return {key: _shortened(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_shortened(each) for each in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value

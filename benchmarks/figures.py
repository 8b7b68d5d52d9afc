"""How a benchmark prints a figure: beside its goal, its limit, its peer and its growth."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Unit:
    """What a figure counts, and whether more of it is better."""

    name: str
    more_is_better: bool
    digits: int = 0

    def show(self, value: float) -> str:
        return f"{value:,.{self.digits}f}{self.name}"

    def ratio(self, value: float, other: float) -> float:
        """How many times better the value is."""
        return value / other if self.more_is_better else other / value

    def best(self, values: list[float]) -> float:
        return max(values) if self.more_is_better else min(values)


PER_SECOND = Unit("/s", True)
MILLISECONDS = Unit(" ms", False, 2)
SECONDS = Unit(" s", False, 2)
MEBIBYTES = Unit(" MiB", False)


def heading(text: str) -> None:
    print(f"\n{text}\n{'-' * len(text)}", flush=True)


def figure(
    label: str,
    unit: Unit,
    value: float,
    *,
    goal: float | None = None,
    peer: float | None = None,
    limit: tuple[str, float] | None = None,
    note: str = "",
) -> None:
    """Prints one; ratios above 1 are better than what they compare with."""
    parts = [f"{label:44} {unit.show(value):>12}"]
    if goal is not None:
        ratio = unit.ratio(value, goal)
        parts.append(f"goal {unit.show(goal)} {'met' if ratio >= 1 else 'MISSED'} ({ratio:.2f}x)")
    if peer is not None:
        parts.append(f"kube-apiserver {unit.show(peer)} ({unit.ratio(value, peer):.2f}x)")
    if limit is not None:
        name, most = limit
        parts.append(f"{name} {unit.show(most)} ({unit.ratio(value, most):.2f}x)")
    print("   ".join([*parts, note]).rstrip(), flush=True)


def growth(label: str, unit: Unit, sizes: tuple[int, int], values: tuple[float, float]) -> None:
    """Prints how a figure changes as there is twice as much of something."""
    (small, large), (before, after) = sizes, values
    change = after / before if before else float("inf")
    print(
        f"  {label:42} {unit.show(before):>12} -> {unit.show(after)} ({change:.2f}x) "
        f"from {small:,} to {large:,}",
        flush=True,
    )


def questions(
    text: str, sizes: tuple[int, int], found: list[dict[str, tuple[float, float]]], goal: float
) -> None:
    """Prints what questions cost, as milliseconds on the clock and of CPU, at two sizes."""
    small, large = found
    heading(text)
    for label, (value, used) in large.items():
        figure(label, MILLISECONDS, value, goal=goal, note=f"{used:.1f} ms CPU")
        growth("", MILLISECONDS, sizes, (small[label][0], value))

"""What of a run is drawn: which groups are open, and what is folded away. Pure.

A run of ten thousand steps is drawn as a few boxes. Groups are open while all fits on a screen,
then shut; a person opens and shuts them. What still is too much in one group is folded: of many
steps side by side all but the first ones, of a long chain stretches of it. A fold is a group like
any other, so it opens at a click.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Final

from kubeling.gateway.steps.model import BAD, BUSY, Step, StepTree

__all__ = ["Shown", "View", "layers", "shown"]

_FITS: Final = 60
"""How many boxes a picture begins with at most."""
_WIDE: Final = 40
_LONG: Final = 30
_MATCHES: Final = 60


@dataclass(frozen=True, slots=True)
class View:
    """What a person asked to see: groups opened and shut by hand, a search, a state."""

    open: frozenset[str] = frozenset()
    shut: frozenset[str] = frozenset()
    search: str = ""
    state: str = ""

    @property
    def filters(self) -> bool:
        return bool(self.search or self.state)

    def found(self, tree: StepTree) -> list[Step]:
        """The steps that are looked for: by their own names, or those of groups around them."""
        wanted, inside = self.search.lower(), dict[str, bool]()

        def is_inside(group: str) -> bool:
            if group not in inside:
                step = tree.by_id.get(group)
                inside[group] = step is not None and (
                    wanted in step.label.lower() or is_inside(step.parent)
                )
            return inside[group]

        return tree.matching(
            lambda step: (
                self._has_state(step) and (wanted in step.label.lower() or is_inside(step.parent))
            )
        )

    def _has_state(self, step: Step) -> bool:
        return not self.state or step.state == self.state or _alike(step.state, self.state)


@dataclass(slots=True)
class Shown:
    """A box: a step, a shut group (``tally`` says what is in it), or an open one."""

    step: Step
    tally: Counter[str] = field(default_factory=Counter)
    columns: list[list[Shown]] | None = None
    matches: bool = True

    @property
    def is_open(self) -> bool:
        return self.columns is not None


def shown(tree: StepTree, view: View) -> list[list[Shown]]:
    """The boxes at the top, by column, with what is in the open ones."""
    return _Chooser(tree, view).columns("")


def _around(tree: StepTree, view: View) -> set[str]:
    """What is looked for, with the groups around it."""
    found: set[str] = set()
    for step in view.found(tree):
        found.add(step.id)
        for group in tree.above(step):
            if group.id in found:
                break
            found.add(group.id)
    return found


class _Chooser:
    def __init__(self, tree: StepTree, view: View) -> None:
        self.view = view
        self.matching = _around(tree, view) if view.filters else None
        self.tree = folded(tree, self.matching or frozenset())
        if self.matching is not None:
            # A fold matches if what is in it does.
            folds = (s for s in self.tree.by_id.values() if s.kind == "fold")
            self.matching |= {s.id for s in folds if self._has_match(s)}
        self.open = self._opened()

    def _has_match(self, fold: Step) -> bool:
        assert self.matching is not None
        return any(step.id in self.matching for step in self.tree.children(fold.id))

    def columns(self, group: str) -> list[list[Shown]]:
        children = self.tree.children(group)
        return [[self._box(step) for step in layer] for layer in layers(children)]

    def _box(self, step: Step) -> Shown:
        matches = self.matching is None or step.id in self.matching
        if not self.tree.children(step.id):
            return Shown(step, matches=matches)
        tally = self.tree.tally(step.id)
        if step.id not in self.open:
            return Shown(step, tally, matches=matches)
        return Shown(step, tally, self.columns(step.id), matches)

    def _opened(self) -> set[str]:
        """Groups that are open: by hand, for a match in them, or because there is room."""
        found = set(self.view.open)
        if self.matching is not None and len(self.matching) <= _MATCHES:
            found |= {key for key in self.matching if self.tree.children(key)}
        room = _FITS - len(self.tree.children())
        level = [step for step in self.tree.children() if self.tree.children(step.id)]
        while level:
            deeper: list[Step] = []
            for alike in sorted(_alike_groups(level), key=self._size):
                size = self._size(alike)
                if size <= room and alike[0].kind != "fold" and self.matching is None:
                    found |= {group.id for group in alike}
                    room -= size
            for group in level:
                if group.id in found:
                    inside = self.tree.children(group.id)
                    deeper += [step for step in inside if self.tree.children(step.id)]
            level = deeper
        return found - self.view.shut

    def _size(self, groups: Sequence[Step]) -> int:
        """How many boxes they have in them; what is folded counts in full."""
        inside = [step for group in groups for step in self.tree.children(group.id)]
        return sum(len(self.tree.children(s.id)) if s.kind == "fold" else 1 for s in inside)


def _alike_groups(level: Sequence[Step]) -> list[list[Step]]:
    """Groups that open together: a loop's iterations are all open, or all shut."""
    found: dict[str, list[Step]] = {}
    for group in level:
        key = f"in {group.parent}" if group.kind == "iteration" else group.id
        found.setdefault(key, []).append(group)
    return list(found.values())


def layers(steps: Sequence[Step]) -> list[list[Step]]:
    """Siblings by how much lies before them; edges that close a cycle do not count."""
    here = {step.id: step for step in steps}
    depth: dict[str, int] = {}
    for first in steps:
        stack = [first]
        trail = {first.id}
        while stack:
            step = stack[-1]
            before = [a for a in step.after if a in here]
            todo = next((a for a in before if a not in depth and a not in trail), None)
            if todo is not None:
                trail.add(todo)
                stack.append(here[todo])
                continue
            stack.pop()
            if step.id not in depth:
                depth[step.id] = max((depth[a] + 1 for a in before if a in depth), default=0)
    found: dict[int, list[Step]] = {}
    for step in steps:
        found.setdefault(depth[step.id], []).append(step)
    ordered: list[list[Step]] = []
    position: dict[str, int] = {}
    for level in sorted(found):
        layer = sorted(found[level], key=lambda s: _mean([position.get(a, 0) for a in s.after]))
        position.update({step.id: number for number, step in enumerate(layer)})
        ordered.append(layer)
    return ordered


def folded(tree: StepTree, wanted: Set[str] = frozenset()) -> StepTree:
    """The same steps, with folds where a group has too many for one picture.

    What is wanted stays outside folds as long as there is room for it, as do failures.
    """
    groups = ["", *(s.id for s in tree.by_id.values() if tree.children(s.id))]
    crowded = [group for group in groups if len(tree.children(group)) > _LONG]
    changed: dict[str, Step] = {}
    for group in crowded:
        for step in _folded(tree, group, wanted):
            changed[step.id] = step
    return StepTree((tree.by_id | changed).values()) if changed else tree


def _folded(tree: StepTree, group: str, wanted: Set[str]) -> list[Step]:
    columns = layers(tree.children(group))
    if len(columns) > _LONG:
        return _stretches(columns, group)
    found: list[Step] = []
    for number, column in enumerate(columns):
        if len(column) > _WIDE:
            found += _rest(column, group, number, wanted)
    fold_of = {step.id: step.parent for step in found if step.parent != group}
    rejoined = [replace(s, after=_through(s.after, fold_of)) for s in found if s.id not in fold_of]
    shut = {step.id for step in found}
    beside = [
        replace(step, after=_through(step.after, fold_of))
        for step in tree.children(group)
        if step.id not in shut and not fold_of.keys().isdisjoint(step.after)
    ]
    return [*rejoined, *(step for step in found if step.id in fold_of), *beside]


def _through(after: tuple[str, ...], fold_of: Mapping[str, str]) -> tuple[str, ...]:
    """What is waited for, folds in place of what they hide."""
    return tuple(dict.fromkeys(fold_of.get(key, key) for key in after))


def _rest(column: list[Step], group: str, number: int, wanted: Set[str]) -> list[Step]:
    """A fold for all but the steps that most want to be seen, which stay in their order."""
    urgent = sorted(column, key=lambda s: 0 if s.id in wanted else 1 if s.state in BAD else 2)
    kept = {step.id for step in urgent[: _WIDE // 2]}
    hidden = [step for step in column if step.id not in kept]
    after = dict.fromkeys(a for step in hidden for a in step.after)
    return _fold(f"{group}+{number}", f"{len(hidden)} more", hidden, group, tuple(after))


def _stretches(columns: list[list[Step]], group: str) -> list[Step]:
    """Folds of a long chain, one after another; edges between folds join the folds."""
    size = max(_LONG // 3, -(-len(columns) // _LONG))
    found: list[Step] = []
    fold_of: dict[str, str] = {}
    for start in range(0, len(columns), size):
        hidden = [step for column in columns[start : start + size] for step in column]
        key = f"{group}+{start}"
        fold_of |= {step.id: key for step in hidden}
        outside = (fold_of[a] for step in hidden for a in step.after if a in fold_of)
        after = dict.fromkeys(a for a in outside if a != key)
        label = f"{hidden[0].label} … {hidden[-1].label}"
        found += _fold(key, label, hidden, group, tuple(after))
    return found


def _fold(
    key: str, label: str, hidden: list[Step], group: str, after: tuple[str, ...]
) -> list[Step]:
    states = {step.state for step in hidden}
    begun = [step.started for step in hidden if step.started is not None]
    ended = [step.finished for step in hidden if step.finished is not None]
    fold = Step(
        key,
        label,
        _worst(states),
        "fold",
        group,
        after,
        started=min(begun, default=None),
        finished=max(ended) if len(ended) == len(hidden) else None,
    )
    return [fold, *(replace(step, parent=key) for step in hidden)]


def _worst(states: set[str]) -> str:
    for kind in (BAD, BUSY, {"waiting"}):
        if found := sorted(states & kind):
            return found[0]
    return "succeeded"


def _alike(state: str, wanted: str) -> bool:
    """Failures and errors are looked for together, as are all that succeeded."""
    pairs = ({"failed", "error"}, {"succeeded", "cached"}, {"skipped", "omitted"})
    return wanted in ("failed", "succeeded", "skipped") and any(
        {state, wanted} <= pair for pair in pairs
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0

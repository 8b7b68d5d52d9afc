"""Frames: who started a node, and what happens when it ends.

Every node that calls others has a frame while it runs. A frame starts calls through the execution
and is told of each end exactly once; it never looks for work. Frames hold nothing that could not be
found again from the nodes.
"""

from __future__ import annotations

import datetime as dt
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from kubeling.kube.objects import Obj
from kubeling.workflows.resources import Inputs, Node
from kubeling.workflows.scope import Scope
from kubeling.workflows.templates import Resolved, TemplateScope

__all__ = ["MAX_DEPTH", "Call", "Frame"]

MAX_DEPTH: Final = (
    "Maximum recursion depth exceeded. See "
    "https://argo-workflows.readthedocs.io/en/latest/scaling/#maximum-recursion-depth"
)
"""Upstream's words for templates that call each other a hundred deep."""


@dataclass(slots=True)
class Call:
    """A template to run under a node's name.

    ``raw`` says which template with which arguments, ``scope`` what the arguments' tags mean and
    ``place`` where the template's name is looked up. Attempts of a retry bring their inputs along.
    """

    name: str
    display: str
    raw: Obj
    scope: Scope
    place: TemplateScope
    boundary: str = ""
    capture_result: bool = False
    hooked: bool = False
    attempt: int | None = None
    inputs: Inputs | None = None
    resolved: Resolved | None = None
    extra: dict[str, str] = field(default_factory=dict)


class Listener:
    """What a frame may hear of beside the ends of its calls; unless it says, nothing follows."""

    def joined(self, node: Node) -> None:
        """A call has got its node, new or found again."""

    def child_changed(self, node: Node) -> None:
        """The phase of a call's node has changed, and it has not ended."""

    def daemon_lost(self, node: Node) -> None:
        """A daemon that was ready has failed while it was needed."""


class Frame(Listener, ABC):
    """What a node's calls report to.

    ``exempt`` frames (exit handlers) go on while the Workflow is being stopped; ``deadline`` is
    when everything inside has to be over, ``scheduling`` where its pods go unless they say.
    """

    exempt: bool = False
    depth: int = 0
    deadline: dt.datetime | None = None
    scheduling: Mapping[str, Any] = MappingProxyType({})

    @property
    def avoided(self) -> Sequence[str]:
        """The nodes that pods of its calls had better not go to."""
        return ()

    def explain(self, name: str, problem: str) -> str:
        """How the frame puts it when a call cannot begin."""
        return problem

    @abstractmethod
    def child_done(self, node: Node) -> None:
        """A call has come to its end, or its daemon is ready."""

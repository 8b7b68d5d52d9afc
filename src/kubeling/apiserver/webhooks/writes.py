"""One write as its mutating webhooks want it."""

from __future__ import annotations

from kubeling.apiserver.options import WriteOptions
from kubeling.apiserver.scale import with_scale
from kubeling.apiserver.served import Served
from kubeling.apiserver.webhooks.attributes import of_write
from kubeling.apiserver.webhooks.dispatch import Hooks
from kubeling.kube.objects import Obj, deep_copy

__all__ = ["mutated"]


async def mutated(
    hooks: Hooks, served: Served, new: Obj, old: Obj | None, options: WriteOptions
) -> Obj:
    """The object after all of them; who owns its fields is not theirs to say."""

    def settle(obj: Obj) -> None:
        if not options.subresource:
            served.shape.settle(obj, old)

    wanted = await hooks.mutate(of_write(served, new, old, options), settle)
    if options.subresource == "scale":
        return with_scale(served, deep_copy(new), wanted)
    if wanted is None or wanted is new:
        return new
    metadata = {**(wanted.get("metadata") or {})}
    metadata.pop("managedFields", None)
    if "managedFields" in new["metadata"]:
        metadata["managedFields"] = new["metadata"]["managedFields"]
    return {**wanted, "metadata": metadata}

"""Which resource a word on the command line means."""

from __future__ import annotations

from kubeling.cli.errors import CliError
from kubeling.kube import discovery
from kubeling.kube.objects import Obj
from kubeling.kube.resources import Resource

__all__ = ["Discovery"]


class Discovery(discovery.Discovery):
    """As the room of the contract has it, with errors for people at a terminal."""

    async def resolve(self, word: str) -> Resource:
        try:
            return await super().resolve(word)
        except discovery.UnknownKind as error:
            raise CliError(str(error), error.remedy) from None

    async def of_object(self, obj: Obj) -> Resource:
        try:
            return await super().of_object(obj)
        except discovery.UnknownKind as error:
            raise CliError(str(error), error.remedy) from None

"""What the server is, and who is asking. Upstream: ``server/info/info_server.go``."""

from __future__ import annotations

import platform
from typing import Final

from aiohttp import web

from kubeling import __version__
from kubeling.kube.objects import Obj
from kubeling.workflows.api.service import Service

__all__ = ["InfoService"]

_COMPATIBLE: Final = "v4.1.2"
"""The release of Argo Workflows whose API this is; clients compare versions."""

_SERVICE_ACCOUNT: Final = "system:serviceaccount:"


class InfoService(Service):
    """Small talk."""

    async def info(self, _: web.Request) -> Obj:
        """Links and the like that the UI shows: none."""
        modals = dict.fromkeys(("feedback", "firstTimeUser", "newVersion"), False)
        return {"managedNamespace": "", "links": [], "columns": [], "modals": modals}

    async def user(self, request: web.Request) -> Obj:
        """Who the token belongs to; nothing without one."""
        caller = await self.access.caller(request)
        if caller is None:
            return {}
        found: Obj = {"subject": caller.name, "groups": list(caller.user.get("groups") or ())}
        if caller.name.startswith(_SERVICE_ACCOUNT):
            where, _, account = caller.name.removeprefix(_SERVICE_ACCOUNT).partition(":")
            found |= {"serviceAccountNamespace": where, "serviceAccountName": account}
        return found

    async def version(self, _: web.Request) -> Obj:
        """Which release of Argo this answers like, and what it is."""
        system = platform.system().lower()
        return {
            "version": _COMPATIBLE,
            "buildDate": "",
            "gitCommit": "",
            "gitTag": _COMPATIBLE,
            "gitTreeState": "clean",
            "goVersion": f"python{platform.python_version()}",
            "compiler": f"kubeling {__version__}",
            "platform": f"{system}/{platform.machine()}",
        }

    async def track(self, _: web.Request) -> Obj:
        """The UI tells what is used; nobody here wants to know."""
        return {}

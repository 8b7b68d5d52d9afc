"""Trial templates: ConfigMaps labelled as such, listed and edited as Katib's UI does.

Upstream: ``pkg/ui/v1beta1/util.go``.
"""

from __future__ import annotations

from typing import Any, Final

from aiohttp import web

from kubeling.kube.client import Client
from kubeling.kube.objects import Obj, name, namespace, new_object
from kubeling.kube.resources import CONFIG_MAPS
from kubeling.tuning.trial_templates import LABEL

__all__ = ["TrialTemplates"]

_VALUE: Final = "trial-templates"


class TrialTemplates:
    """The templates of all namespaces."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def view(self) -> Obj:
        """Upstream's ``TrialTemplatesResponse``: by namespace and ConfigMap, sorted by path."""
        found = (await self._client.list(CONFIG_MAPS, labels=f"{LABEL}={_VALUE}")).items
        by_namespace: dict[str, list[Obj]] = {}
        for entry in found:
            templates = [
                {"Path": path, "Yaml": text}
                for path, text in sorted((entry.get("data") or {}).items())
            ]
            if templates:
                shown = {"ConfigMapName": name(entry), "Templates": templates}
                by_namespace.setdefault(namespace(entry), []).append(shown)
        return {
            "Data": [
                {"ConfigMapNamespace": where, "ConfigMaps": maps}
                for where, maps in by_namespace.items()
            ]
        }

    async def change(self, action: str, sent: Obj) -> Obj:
        """Adds, edits or deletes one; a ConfigMap goes with its last template."""
        where, wanted = (
            _text(sent, field) for field in ("updatedConfigMapNamespace", "updatedConfigMapName")
        )
        path = _text(sent, "updatedConfigMapPath")
        before = await self._client.find(CONFIG_MAPS, wanted, where)
        if before is None and action != "add":
            raise web.HTTPNotFound(text=f'there is no ConfigMap "{wanted}" in "{where}"')
        data: dict[str, Any] = dict((before or {}).get("data") or {})
        if action == "edit":
            data.pop(_text(sent, "configMapPath"), None)
        if action == "delete":
            data.pop(path, None)
        else:
            data[path] = _text(sent, "updatedTemplateYaml")
        if before is None:
            made = new_object(CONFIG_MAPS, wanted, where, labels={LABEL: _VALUE}, data=data)
            await self._client.create(CONFIG_MAPS, made)
        elif data:
            await self._client.replace(CONFIG_MAPS, {**before, "data": data})
        else:
            await self._client.delete(CONFIG_MAPS, wanted, where)
        return await self.view()


def _text(sent: Obj, field: str) -> str:
    value = sent.get(field)
    if not isinstance(value, str) or not value:
        raise web.HTTPBadRequest(text=f"{field}: Required value: give it as text")
    return value

"""Reading and writing entities: synchronous, inside one transaction of the metadata database."""

from __future__ import annotations

import uuid
from itertools import islice
from typing import Any

import sqlalchemy as sa

from kubeling.registry.entities import ARTIFACT_TYPES, ENTITIES, Entity
from kubeling.registry.errors import BadRequest, Conflict, NotFound
from kubeling.registry.filters import Predicate
from kubeling.registry.queries import Page, Parent
from kubeling.registry.tables import ENTITIES as TABLE
from kubeling.registry.tables import METRIC_HISTORY

__all__ = ["RegistryStore"]

Body = dict[str, Any]

_COMPUTED = frozenset({"id", "createTimeSinceEpoch", "lastUpdateTimeSinceEpoch"})
_ORDERS = {"CREATE_TIME": TABLE.c.created, "LAST_UPDATE_TIME": TABLE.c.updated, "ID": TABLE.c.id}
_MAX_PAGE = 1000


class RegistryStore:
    """The entities, through one connection; ``now`` is the time in milliseconds since 1970."""

    def __init__(self, connection: sa.Connection, now: int) -> None:
        self._connection = connection
        self._now = now

    def get(self, entity: Entity, id: str, artifact_type: str = "") -> Body:
        """One entity; raises :class:`NotFound`."""
        row = self._row(entity, id)
        if artifact_type and row.artifact_type != artifact_type:
            raise NotFound(f"no {artifact_type} with id {id}")
        return _shown(row)

    def find(
        self, entity: Entity, name: str, external_id: str, parent_id: str, artifact_type: str = ""
    ) -> Body:
        """The entity of that name (within its parent) or external id."""
        if not name and not external_id:
            raise BadRequest("supply either name, or externalId")
        if name and entity.parent and not parent_id and not external_id:
            raise BadRequest("supply parentResourceId together with name, or externalId")
        query = sa.select(TABLE).where(TABLE.c.kind == entity.singular)
        if name:
            query = query.where(TABLE.c.name == name)
        if external_id:
            query = query.where(TABLE.c.external_id == external_id)
        if parent_id:
            query = query.where(TABLE.c.parent_id == _number(parent_id))
        if artifact_type:
            query = query.where(TABLE.c.artifact_type == artifact_type)
        row = self._connection.execute(query).first()
        if row is None:
            wanted = f'named "{name}"' if name else f'with external id "{external_id}"'
            raise NotFound(f"no {entity.title} {wanted}")
        return _shown(row)

    def page(
        self,
        entity: Entity,
        page: Page,
        *,
        parent: Parent | None = None,
        artifact_type: str = "",
        name: str = "",
        external_id: str = "",
        predicate: Predicate | None = None,
    ) -> tuple[list[Body], bool]:
        """A page of entities, and whether there are more."""
        order = _ORDERS.get(page.order_by)
        if order is None:
            raise BadRequest(f"orderBy must be one of {', '.join(_ORDERS)}, not {page.order_by}")
        query = sa.select(TABLE).where(TABLE.c.kind == entity.singular)
        if parent is not None:
            query = query.where(TABLE.c.parent_kind == parent.kind, TABLE.c.parent_id == parent.id)
        for column, value in (
            (TABLE.c.artifact_type, artifact_type),
            (TABLE.c.name, name),
            (TABLE.c.external_id, external_id),
        ):
            if value:
                query = query.where(column == value)
        size = min(max(page.size, 1), _MAX_PAGE)
        by = (order.desc(), TABLE.c.id.desc()) if page.descending else (order, TABLE.c.id)
        query = query.order_by(*by)
        if predicate is not None:
            shown = map(_shown, self._connection.execute(query))
            held = filter(predicate, shown)
            items = list(islice(held, page.offset, page.offset + size + 1))
            return items[:size], len(items) > size
        rows = self._connection.execute(query.offset(page.offset).limit(size + 1)).all()
        return [_shown(row) for row in rows[:size]], len(rows) > size

    def create(self, entity: Entity, body: Body, parent: Parent | None = None) -> Body:
        """A new entity; raises :class:`Conflict` if its name is taken."""
        content = {k: v for k, v in body.items() if v is not None and k not in _COMPUTED}
        if parent is not None and entity.parent_field:
            content[entity.parent_field] = str(parent.id)
        for field in entity.required:
            if not content.get(field):
                raise BadRequest(f"{field} is required to create a {entity.title}")
        parent = parent or self._parent(entity, content)
        self._settle(entity, content)
        content.setdefault("name", str(uuid.uuid4()))
        values = {
            "kind": entity.singular,
            "parent_kind": parent.kind,
            "parent_id": parent.id,
            "name": content["name"],
            "external_id": content.get("externalId"),
            "artifact_type": content.get("artifactType", ""),
            "created": self._now,
            "updated": self._now,
            "body": content,
        }
        try:
            with self._connection.begin_nested():
                done = self._connection.execute(sa.insert(TABLE).values(values))
        except sa.exc.IntegrityError:
            raise Conflict(f'{entity.title} named "{content["name"]}" exists already') from None
        key = done.inserted_primary_key
        assert key is not None
        return self.get(entity, str(key[0]))

    def update(self, entity: Entity, id: str, body: Body) -> Body:
        """Changes the fields given; custom properties are replaced as a whole."""
        row = self._row(entity, id)
        content = dict(row.body)
        if entity.named and body.get("name") not in (None, content.get("name")):
            raise BadRequest("name cannot be changed")
        content |= {
            k: v for k, v in body.items() if v is not None and k not in _COMPUTED | {"name"}
        }
        self._settle(entity, content)
        self._connection.execute(
            sa.update(TABLE)
            .where(TABLE.c.id == row.id)
            .values(body=content, external_id=content.get("externalId"), updated=self._now)
        )
        return self.get(entity, id)

    def record_metrics(self, run_id: str, body: Body) -> None:
        """Keeps a metric's value in the run's history."""
        self._connection.execute(
            sa.insert(METRIC_HISTORY).values(run_id=_number(run_id), body=body)
        )

    def metric_history(self, run_id: str, name: str, steps: frozenset[str]) -> list[Body]:
        """The values a run's metrics had, oldest first."""
        query = sa.select(METRIC_HISTORY).where(METRIC_HISTORY.c.run_id == _number(run_id))
        rows = self._connection.execute(query.order_by(METRIC_HISTORY.c.id)).all()
        found: list[Body] = [row.body for row in rows]
        return [
            body
            for body in found
            if (not name or body.get("name") == name)
            and (not steps or str(body.get("step", 0)) in steps)
        ]

    def _row(self, entity: Entity, id: str) -> Any:
        query = sa.select(TABLE).where(TABLE.c.kind == entity.singular, TABLE.c.id == _number(id))
        row = self._connection.execute(query).first()
        if row is None:
            raise NotFound(f"no {entity.title} with id {id}")
        return row

    def _parent(self, entity: Entity, content: Body) -> Parent:
        if not entity.parent_field:
            return Parent()
        parent = ENTITIES[entity.parent]
        self._row(parent, str(content[entity.parent_field]))
        return Parent(entity.parent, _number(str(content[entity.parent_field])))

    def _settle(self, entity: Entity, content: Body) -> None:
        if entity.singular == "artifact" and content.get("artifactType") not in ARTIFACT_TYPES:
            raise BadRequest(f"artifactType must be one of {', '.join(ARTIFACT_TYPES)}")
        if not entity.states:
            return
        state = content.setdefault(entity.state_field, entity.states[0])
        if state not in entity.states:
            listed = ", ".join(entity.states)
            raise BadRequest(f"{entity.state_field} must be one of {listed}, not {state}")


def _shown(row: Any) -> Body:
    return {
        **row.body,
        "id": str(row.id),
        "createTimeSinceEpoch": str(row.created),
        "lastUpdateTimeSinceEpoch": str(row.updated),
    }


def _number(id: str) -> int:
    if not id.isdigit() or len(id) > 9:
        raise BadRequest(f'"{id}" is not an id: ids are numbers')
    return int(id)

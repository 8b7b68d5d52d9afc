"""Asking the admission webhooks: mutating ones in turn, validating ones together.

A webhook that cannot be asked refuses or is passed over, as its ``failurePolicy`` says. A mutating
one that asked for it (``reinvocationPolicy: IfNeeded``) is asked once more where another changed
the object after it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from kubeling.apiserver.patch import json_patch
from kubeling.apiserver.rbac import Authorizer
from kubeling.apiserver.records import StoreKey
from kubeling.apiserver.served import Served
from kubeling.apiserver.storage import Store
from kubeling.apiserver.uids import new_uid
from kubeling.apiserver.webhooks.attributes import Attributes, Operation
from kubeling.apiserver.webhooks.client import WebhookCallError, WebhookClient
from kubeling.apiserver.webhooks.configuration import Webhook
from kubeling.apiserver.webhooks.conversion import Converter
from kubeling.apiserver.webhooks.index import Candidate, Candidates, WebhookIndex
from kubeling.apiserver.webhooks.matching import selects
from kubeling.apiserver.webhooks.review import (
    InvalidReview,
    Verdict,
    denial,
    request_review,
    verdict,
)
from kubeling.kube.errors import ApiError, InternalError
from kubeling.kube.objects import Obj, labels

__all__ = ["AdmissionWebhooks", "Hooks", "Settle"]

log: Final = logging.getLogger(__name__)

Settle = Callable[[Obj], None]
"""Brings an object that a webhook changed into its kind's shape."""

Change = Callable[[Attributes, Settle], Attributes]
"""Changes the object of a request before any webhook sees it: the users' policies."""


class AdmissionWebhooks:
    """The users' admission webhooks of one server."""

    def __init__(
        self,
        store: Store,
        index: WebhookIndex,
        client: WebhookClient,
        converter: Converter,
        authorizer: Authorizer,
    ) -> None:
        self._authorizer = authorizer
        self._store = store
        self._index = index
        self._client = client
        self._converter = converter

    def hooks(
        self,
        served: Served,
        operation: Operation,
        subresource: str = "",
        first: Change | None = None,
    ) -> Hooks | None:
        """Who has a say in such requests; ``None``, at no cost, where nobody has."""
        candidates = self._index.candidates(served, operation, subresource)
        if candidates is None and first is None:
            return None
        return Hooks(self, candidates or Candidates((), ()), first)

    async def mutate(
        self, candidates: Iterable[Candidate], attributes: Attributes, settle: Settle
    ) -> Obj | None:
        """The object as the mutating webhooks want it; raises where one refuses."""
        earlier: list[Candidate] = []
        again: list[Candidate] = []
        for candidate in candidates:
            changed = await self._mutate_one(candidate, attributes, settle)
            if changed is not None:
                attributes = attributes.with_object(changed)
                again += earlier
                earlier = []
            if candidate.webhook.reinvoked:
                earlier.append(candidate)
        for candidate in again:
            changed = await self._mutate_one(candidate, attributes, settle)
            if changed is not None:
                attributes = attributes.with_object(changed)
        return attributes.object

    async def validate(self, candidates: Iterable[Candidate], attributes: Attributes) -> None:
        """Raises where a validating webhook refuses; the first in order has the word."""
        outcomes = await asyncio.gather(
            *(self._validate_one(candidate, attributes) for candidate in candidates),
            return_exceptions=True,
        )
        for outcome in outcomes:
            if outcome is not None:
                raise outcome

    async def _validate_one(self, candidate: Candidate, attributes: Attributes) -> None:
        if self._selected(candidate, attributes):
            seen = await self._seen(candidate, attributes)
            await self._ask(candidate.webhook, seen, attributes, mutating=False)

    async def _mutate_one(
        self, candidate: Candidate, attributes: Attributes, settle: Settle
    ) -> Obj | None:
        """The object as one webhook changed it; ``None`` where it did not."""
        if not self._selected(candidate, attributes):
            return None
        seen = await self._seen(candidate, attributes)
        found = await self._ask(candidate.webhook, seen, attributes, mutating=True)
        if found is None or found.patch is None or seen.object is None:
            return None
        try:
            patched = json_patch(seen.object, found.patch)
        except ApiError as error:
            raise _internal(error.message) from None
        if seen is not attributes:
            [patched] = await self._converter.convert(attributes.served, [patched])
        settle(patched)
        return None if patched == attributes.object else patched

    async def _ask(
        self, webhook: Webhook, seen: Attributes, asked: Attributes, *, mutating: bool
    ) -> Verdict | None:
        """What a webhook answers; ``None`` where it failed and that is to be ignored."""
        uid = new_uid()
        review = request_review(seen, asked, uid, webhook.review_version)
        try:
            found = await self._call(webhook, review, uid, mutating=mutating)
        except WebhookCallError as error:
            message = f'failed calling webhook "{webhook.name}": {error}'
            if webhook.ignores_failure:
                log.warning("%s: passed over, as its failurePolicy says", message)
                return None
            raise _internal(message) from None
        asked.warnings.extend(found.warnings)
        if not found.allowed:
            raise denial(webhook.name, found.status)
        return found

    async def _call(self, webhook: Webhook, review: Obj, uid: str, *, mutating: bool) -> Verdict:
        try:
            answer = await self._client.post(webhook.client, review, webhook.timeout)
        except WebhookCallError as error:
            raise WebhookCallError(f"failed to call webhook: {error}") from None
        try:
            return verdict(answer, uid, webhook.review_version, mutating=mutating)
        except InvalidReview as error:
            raise WebhookCallError(f"received invalid webhook response: {error}") from None

    async def _seen(self, candidate: Candidate, attributes: Attributes) -> Attributes:
        """The request in the version that the webhook knows."""
        served = candidate.served
        if served is attributes.served or attributes.subresource == "scale":
            return attributes
        given = [obj for obj in (attributes.object, attributes.old) if obj is not None]
        converted = iter(await self._converter.convert(served, given))
        return attributes.in_version(
            served,
            next(converted) if attributes.object is not None else None,
            next(converted) if attributes.old is not None else None,
        )

    def _selected(self, candidate: Candidate, attributes: Attributes) -> bool:
        webhook = candidate.webhook
        if not selects(webhook, attributes, self._namespace_labels):
            return False
        if not webhook.conditions:
            return True
        from kubeling.apiserver.webhooks.conditions import conditions_met

        namespace = self._namespace(attributes.namespace)
        return conditions_met(webhook, attributes, candidate.served, namespace, self._authorizer)

    def _namespace(self, name: str) -> Obj | None:
        record = self._store.get(StoreKey("/namespaces", "", name)) if name else None
        return record.obj if record is not None else None

    def _namespace_labels(self, name: str) -> dict[str, str]:
        return labels(self._namespace(name) or {})


@dataclass(frozen=True, slots=True)
class Hooks:
    """Those who have a say in one request."""

    _webhooks: AdmissionWebhooks
    _candidates: Candidates
    _first: Change | None = None

    async def mutate(self, attributes: Attributes, settle: Settle) -> Obj | None:
        """The object as the mutating webhooks want it; raises where one refuses."""
        if self._first is not None:
            attributes = self._first(attributes, settle)
        return await self._webhooks.mutate(self._candidates.mutating, attributes, settle)

    async def validate(self, attributes: Attributes) -> None:
        """Raises where a validating webhook refuses."""
        await self._webhooks.validate(self._candidates.validating, attributes)

    async def review(self, attributes: Attributes) -> None:
        """Raises where any of them refuses a request that there is nothing to change about."""
        await self.mutate(attributes, lambda _: None)
        await self.validate(attributes)


def _internal(message: str) -> InternalError:
    return InternalError(
        f"Internal error occurred: {message}", details={"causes": [{"message": message}]}
    )

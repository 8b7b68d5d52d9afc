"""Uids are random UUIDs of version 4 in their usual spelling."""

import uuid

from kubeling.apiserver.uids import new_uid


def test_uids_are_random_uuids() -> None:
    made = [new_uid() for _ in range(200)]
    parsed = [uuid.UUID(one) for one in made]
    assert [str(one) for one in parsed] == made
    assert {(one.version, one.variant) for one in parsed} == {(4, uuid.RFC_4122)}
    assert len(set(made)) == len(made)

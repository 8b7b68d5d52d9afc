"""The kernel takes every filter there can be, in one step (Linux, as root)."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubeling.engine.net.nftables import commit
from kubeling.engine.netpolicy.isolation import Allow, Isolation, Ports
from kubeling.engine.netpolicy.ruleset import Filter, requests
from kubeling.engine.netpolicy.spans import united
from kubeling.engine.sandbox import linux

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="tables can be changed as root only"
)

LAST = 2**32 - 1
addresses = st.one_of(st.integers(0, LAST), st.sampled_from([0, 1, LAST - 1, LAST]))
spans = st.lists(
    st.tuples(addresses, addresses).map(lambda ends: (min(ends), max(ends))), max_size=4
).map(united)
protocols = st.sampled_from(["TCP", "UDP", "SCTP"])
numbers = st.integers(0, 65535)
ports = st.builds(
    lambda protocol, ends: Ports(protocol, min(ends), max(ends)),
    protocols,
    st.tuples(numbers, numbers),
)
allowed = st.none() | st.lists(
    st.builds(Allow, st.none() | spans, st.none() | st.lists(ports, max_size=3).map(tuple)),
    max_size=3,
).map(tuple)
filters = st.builds(
    Filter,
    st.builds(Isolation, allowed, allowed),
    st.lists(st.tuples(protocols, addresses, numbers), max_size=3, unique=True).map(tuple),
    spans,
)


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Executor]:
    """A thread in a network of its own."""
    with ThreadPoolExecutor(1, initializer=linux.unshare, initargs=(linux.CLONE_NEWNET,)) as pool:
        yield pool


@settings(max_examples=20, deadline=None)
@given(wanted=st.lists(filters, min_size=1, max_size=3))
def test_any_filter_replaces_any_other(elsewhere: Executor, wanted: list[Filter]) -> None:
    for found in [*wanted, Filter(), Filter()]:
        elsewhere.submit(commit, requests(found)).result()


def test_a_filter_may_be_large(elsewhere: Executor) -> None:
    everyone = united((n * 4, n * 4 + 1) for n in range(5000))
    allow = Allow(everyone, (Ports("TCP", 80, 90),))
    closed = tuple(("TCP", address, 80) for address in range(5000))
    found = Filter(Isolation((allow,), (allow,)), closed, everyone)
    elsewhere.submit(commit, requests(found)).result()

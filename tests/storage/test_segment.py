"""Segments: records back to back, and the Merkle tree of RFC 6962 over them."""

import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import CorruptError
from storage.merkle import CHAIN_START, chain_next, merkle_root
from storage.segment import Record, packed, unpack_all

records = st.builds(
    Record,
    st.text(st.characters(codec="utf-8"), max_size=30),
    st.binary(max_size=60),
    st.integers(-(1 << 63), (1 << 63) - 1),
)


def slow_root(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962, 2.1, word for word: split at the largest power of two smaller than n."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + slow_root(leaves[:k]) + slow_root(leaves[k:])).digest()


@given(st.lists(st.binary(max_size=8), max_size=70))
def test_the_merkle_root_is_that_of_rfc_6962(leaves: list[bytes]) -> None:
    assert merkle_root(leaves) == slow_root(leaves)


def test_the_merkle_root_of_the_certificate_transparency_example() -> None:
    """The eight leaves that the test data of the CT log implementations share."""
    leaves = [bytes.fromhex(text) for text in (
        "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
    )]  # fmt: skip
    assert merkle_root(leaves).hex() == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"


@given(st.lists(records, max_size=8))
def test_a_segment_gives_its_records_back_as_they_were_received(said: list[Record]) -> None:
    assert unpack_all(b"".join(packed(said))) == said


@given(st.lists(records, min_size=1, max_size=4), st.data())
def test_a_segment_that_was_cut_short_is_refused(said: list[Record], data: st.DataObject) -> None:
    body = b"".join(packed(said))
    whole = {0, *(len(b"".join(packed(said[:count]))) for count in range(len(said) + 1))}
    cut = (
        data.draw(st.integers(0, len(body)).filter(lambda size: size not in whole), label="cut")
        if len(body) > 1
        else 1
    )
    with pytest.raises(CorruptError):
        unpack_all(body[:cut])


def test_chain_values_differ_with_the_segment_number() -> None:
    assert chain_next(CHAIN_START, 1, bytes(32)) != chain_next(CHAIN_START, 2, bytes(32))

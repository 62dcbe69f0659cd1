"""RFC 6962 trees against the published vectors of its reference implementation, and proofs that cannot be bent."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridloop.simulators.market.ledger_merkle import holds, path, root

# entries and roots of the first 1 to 8 of them: google/certificate-transparency, merkletree/merkle_tree_test.cc
ENTRIES = [
    bytes.fromhex(entry)
    for entry in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
# the path of the sixth of eight, from the same file: its neighbour, the pair before, the first four
PATH_6_OF_8 = [
    "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
]


@pytest.mark.parametrize("count", range(1, 9))
def test_the_root_is_the_published_one(count):
    assert root(ENTRIES[:count]).hex() == ROOTS[count - 1]


def test_the_tree_of_nothing_is_the_hash_of_nothing():
    assert root([]) == sha256(b"").digest()


def test_the_path_is_the_published_one():
    assert [one.hex() for one in path(ENTRIES, 5)] == PATH_6_OF_8


@given(st.lists(st.binary(max_size=3), min_size=1, max_size=20, unique=True), st.data())
def test_a_proof_holds_for_its_entry_at_its_place_only(entries, data):
    index = data.draw(st.integers(0, len(entries) - 1))
    expected, hashes = root(entries), path(entries, index)
    assert holds(entries[index], index, len(entries), hashes, expected)
    for other in range(len(entries)):
        if other != index:
            assert not holds(entries[other], index, len(entries), hashes, expected)
            assert not holds(entries[index], other, len(entries), hashes, expected)
    assert not holds(entries[index] + b"x", index, len(entries), hashes, expected)
    assert not holds(entries[index], index, len(entries), [*hashes, expected], expected)
    assert not holds(entries[index], index, len(entries), hashes[:-1], expected) or not hashes
    assert not holds(entries[index], len(entries), len(entries), hashes, expected)
    assert not holds(entries[index], -1, len(entries), hashes, expected)


def test_a_node_is_not_taken_for_an_entry():
    left, right = (sha256(b"\x00" + entry).digest() for entry in ENTRIES[:2])
    assert root([left + right]) != root(ENTRIES[:2])

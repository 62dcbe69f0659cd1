"""The Merkle tree of RFC 6962, section 2.1: one hash for a list, and short proofs that an entry is in it.

leaf SHA-256(0x00 || entry), node SHA-256(0x01 || left || right), split at the largest power of two below the number of
entries; the tree of nothing is SHA-256 of nothing. The two prefixes keep a node from being taken for an entry.
"""

from collections.abc import Sequence
from hashlib import sha256


def root(entries: Sequence[bytes]) -> bytes:
    """The hash that stands for all entries in their order."""
    return _root([_leaf(entry) for entry in entries])


def path(entries: Sequence[bytes], index: int) -> list[bytes]:
    """The hashes beside the way from entry `index` up to the root, the nearest first (2.1.1)."""
    return _path([_leaf(entry) for entry in entries], index)


def holds(entry: bytes, index: int, count: int, hashes: Sequence[bytes], expected: bytes) -> bool:
    """Whether `entry` is number `index` of the `count` entries under the root `expected`."""
    if not 0 <= index < count:
        return False
    rest = list(hashes)
    try:
        found = _climb(_leaf(entry), index, count, rest)
    except IndexError:  # too few hashes
        return False
    return not rest and found == expected


def _climb(leaf: bytes, index: int, count: int, hashes: list[bytes]) -> bytes:
    if count == 1:
        return leaf
    split, beside = _split(count), hashes.pop()
    if index < split:
        return _node(_climb(leaf, index, split, hashes), beside)
    return _node(beside, _climb(leaf, index - split, count - split, hashes))


def _root(leaves: Sequence[bytes]) -> bytes:
    if len(leaves) < 2:
        return leaves[0] if leaves else sha256().digest()
    split = _split(len(leaves))
    return _node(_root(leaves[:split]), _root(leaves[split:]))


def _path(leaves: Sequence[bytes], index: int) -> list[bytes]:
    if len(leaves) == 1:
        return []
    split = _split(len(leaves))
    if index < split:
        return [*_path(leaves[:split], index), _root(leaves[split:])]
    return [*_path(leaves[split:], index - split), _root(leaves[:split])]


def _split(count: int) -> int:
    """The largest power of two below `count`."""
    return 1 << (count - 1).bit_length() - 1


def _leaf(entry: bytes) -> bytes:
    return sha256(b"\x00" + entry).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()

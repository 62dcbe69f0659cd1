"""Ed25519 keys of members: from a seed in simulation, from a file of their own elsewhere.

With all keys from one seed, whoever has the seed can sign for everybody: fit for studies, not for money.
"""

import os
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

DOMAIN = "gridloop ledger"


class MemberKey:
    """A private key, and the address that others know."""

    def __init__(self, secret: bytes) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(secret)
        self.address = self._private.public_key().public_bytes_raw().hex()

    def sign(self, message: bytes) -> str:
        """The signature, in hex."""
        return self._private.sign(message).hex()


def simulated(seed: int, name: str) -> MemberKey:
    """The key of a simulated member: the same in every run of the same seed."""
    return MemberKey(sha256(f"{DOMAIN}|{seed}|{name}".encode()).digest())


def create_key_file(path: Path) -> MemberKey:
    """A new random key in a file that only its owner can read; FileExistsError rather than a lost key."""
    secret = os.urandom(32)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(secret.hex() + "\n")
    return MemberKey(secret)


def read_key_file(path: Path) -> MemberKey:
    """The key in a file."""
    try:
        return MemberKey(bytes.fromhex(path.read_text(encoding="ascii").strip()))
    except ValueError as error:  # no text, no hex or another length
        raise ValueError(f"{path}: a key file holds 64 hexadecimal digits") from error


def is_signed(address: str, message: bytes, sig: str) -> bool:
    """Whether the owner of `address` signed this."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(address)).verify(bytes.fromhex(sig), message)
    except (InvalidSignature, ValueError):  # another signature, or not a key at all
        return False
    return True

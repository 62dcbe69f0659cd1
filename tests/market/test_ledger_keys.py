"""Keys and signatures."""

import stat

import pytest

from gridloop.simulators.market.ledger_keys import MemberKey, create_key_file, is_signed, read_key_file, simulated

# RFC 8032, section 7.1, tests 1 to 3: secret, public key, message, signature
VECTORS = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]


@pytest.mark.parametrize("secret, public, message, signature", VECTORS)
def test_signatures_are_those_of_the_standard(secret, public, message, signature):
    key, text = MemberKey(bytes.fromhex(secret)), bytes.fromhex(message)
    assert (key.address, key.sign(text)) == (public, signature)
    assert is_signed(public, text, signature)
    assert not is_signed(public, text + b"x", signature)
    assert not is_signed(VECTORS[0][1] if public != VECTORS[0][1] else VECTORS[1][1], text, signature)


@pytest.mark.parametrize("address, signature", [("", ""), ("zz", "00"), ("00" * 31, "00" * 64), ("ff" * 32, "00" * 64)])
def test_garbage_is_no_signature(address, signature):
    assert not is_signed(address, b"", signature)


def test_a_simulated_key_follows_from_seed_and_name():
    addresses = {simulated(seed, name).address for seed in (1, 2) for name in ("a", "b")}
    assert len(addresses) == 4
    assert simulated(1, "a").address == simulated(1, "a").address


def test_a_key_file_is_for_its_owner_and_is_not_overwritten(tmp_path):
    path = tmp_path / "house.key"
    made = create_key_file(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_key_file(path).address == made.address
    with pytest.raises(FileExistsError):
        create_key_file(path)


@pytest.mark.parametrize("text", ["", "00" * 31, "zz" * 32, "ä"])
def test_another_file_is_no_key(tmp_path, text):
    path = tmp_path / "house.key"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"house\.key: a key file holds 64 hexadecimal digits"):
        read_key_file(path)

"""The vault: what it seals opens only under its own secret, and nothing tells the number."""

import pytest

from market.vault import NONCE_BYTES, Vault, VaultBroken, mask

NUMBER = "+8613800138000"


@pytest.fixture(name="vault")
def a_vault() -> Vault:
    return Vault("a secret of more than thirty-two characters")


def test_what_was_sealed_opens_again(vault: Vault) -> None:
    assert vault.open(vault.seal(NUMBER)) == NUMBER


def test_the_same_number_never_looks_the_same_twice(vault: Vault) -> None:
    assert vault.seal(NUMBER) != vault.seal(NUMBER)


def test_a_sealed_number_shows_nothing_of_itself(vault: Vault) -> None:
    assert b"138" not in vault.seal(NUMBER)[1 + NONCE_BYTES :]
    assert NUMBER.encode() not in vault.seal(NUMBER)


def test_a_number_is_found_by_the_same_hash_on_every_machine(vault: Vault) -> None:
    twin = Vault("a secret of more than thirty-two characters")

    assert vault.lookup(NUMBER) == twin.lookup(NUMBER)
    assert vault.lookup(NUMBER) != vault.lookup("+8613800138001")
    assert vault.lookup(NUMBER) != Vault("another secret of the proper length").lookup(NUMBER)


@pytest.mark.parametrize("place", [0, 1, 5, NONCE_BYTES + 1, -1])
def test_a_changed_byte_is_noticed(vault: Vault, place: int) -> None:
    sealed = bytearray(vault.seal(NUMBER))
    sealed[place] ^= 1

    with pytest.raises(VaultBroken):
        vault.open(bytes(sealed))


@pytest.mark.parametrize("junk", [b"", b"\x01", b"\x01" + b"0" * 20])
def test_what_is_no_sealed_number_does_not_open(vault: Vault, junk: bytes) -> None:
    with pytest.raises(VaultBroken):
        vault.open(junk)


def test_another_secret_opens_nothing(vault: Vault) -> None:
    with pytest.raises(VaultBroken):
        Vault("another secret of the proper length").open(vault.seal(NUMBER))


def test_a_masked_number_keeps_three_digits_and_four() -> None:
    assert mask(NUMBER) == "138****8000"

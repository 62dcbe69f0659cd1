"""Both backends of the ledger, for what must hold on each."""

from collections.abc import Callable, Iterator

import pytest

import anvil
from ledger_cases import Market, embedded, on_evm

EVM = pytest.param("evm", marks=pytest.mark.peers(packages=["web3"], npm=["@foundry-rs/anvil/package.json"]))


@pytest.fixture(scope="session")
def chain_url() -> Iterator[str]:
    """A node of an EVM chain."""
    with anvil.node() as url:
        yield url


@pytest.fixture(params=["embedded", EVM])
def open_market(request: pytest.FixtureRequest) -> Iterator[Callable[..., Market]]:
    """Makes a market with settings of the genesis; what it did is verified when the test is over."""
    made = []

    def make(**settings):
        evm = request.param == "evm"
        made.append(on_evm(request.getfixturevalue("chain_url"), **settings) if evm else embedded(**settings))
        return made[-1]

    yield make
    for market in made:
        market.ledger.verify()
        market.ledger.close()


@pytest.fixture
def market(open_market: Callable[..., Market]) -> Market:
    """A market without settings of its own."""
    return open_market()

"""api.rates: how much each address may do, and by which part of an address a host is counted."""

import pytest

from api.rates import AddressRates, is_own_machine


def test_a_burst_passes_and_then_what_comes_back() -> None:
    """Ten at once, the eleventh waits for a token, and the wait that is told is the wait that is due."""
    rates = AddressRates(2, 10)
    for _ in range(10):
        assert rates.wait_s("10.0.0.1", 5.0) == 0
        rates.take("10.0.0.1", 1, 5.0)
    assert rates.wait_s("10.0.0.1", 5.0) == 0.5
    assert rates.wait_s("10.0.0.1", 5.25) == 0.25
    assert rates.wait_s("10.0.0.1", 5.5) == 0
    assert rates.wait_s("10.0.0.2", 5.0) == 0


def test_the_last_taker_may_overdraw_and_the_debt_is_paid_off() -> None:
    """A batch is taken whole; nobody has to wait for longer than it takes to pay for it."""
    rates = AddressRates(100, 100)
    rates.take("10.0.0.1", 1099, 0.0)
    assert rates.wait_s("10.0.0.1", 0.0) == 10
    assert rates.wait_s("10.0.0.1", 10.0) == 0


def test_a_bucket_never_holds_more_than_a_burst() -> None:
    """Who was quiet for a day has saved nothing."""
    rates = AddressRates(1, 3)
    rates.take("10.0.0.1", 1, 0.0)
    rates.take("10.0.0.1", 3, 86_400.0)
    assert rates.wait_s("10.0.0.1", 86_400.0) == 1


def test_the_table_is_bounded_and_forgets_whom_it_has_not_seen_for_longest() -> None:
    """Its size is the limit at most, whoever comes."""
    rates = AddressRates(1, 1, addresses_max=10)
    for number in range(100):
        rates.take(f"10.0.0.{number}", 5, 0.0)
        assert len(rates) <= 10
    assert rates.wait_s("10.0.0.99", 0.0) == 5
    assert rates.wait_s("10.0.0.89", 0.0) == 0
    assert len(rates) == 10


@pytest.mark.parametrize(
    ("address", "own"),
    [("127.9.9.9", True), ("::1", True), ("::ffff:127.0.0.1", True), ("10.0.0.1", False), ("", False)],
)
def test_this_machine_is_known_by_its_loopback_addresses(address: str, own: bool) -> None:
    """In either version of IP."""
    assert is_own_machine(address) is own

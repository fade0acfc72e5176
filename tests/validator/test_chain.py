"""The chain: cheap checks first, the first objection ends it; and the MD5 check itself."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vectors import MD5_TWINS, MD5_TWINS_SIGNATURE, README_RAW, README_SIGNATURE
from validator import ACCEPT, Md5Signature, Outcome, Record, ValidatorChain, Verdict, default_chain, sign

T0 = 1_800_000_000_000
TTL_MS = 1000


class Recording:
    """A validator that remembers whether it was asked."""

    def __init__(self, name: str, verdict: Verdict) -> None:
        self.name = name
        self.verdict = verdict
        self.asked = 0

    def check(self, record: Record, wall_ms: int) -> Verdict:
        self.asked += 1
        return self.verdict


IGNORE = Verdict(Outcome.IGNORE, "expired", "over")
REJECT = Verdict(Outcome.REJECT, "bad-id", "no")
RECORD = Record.of("a", "b", sign("b"), T0)


@pytest.mark.parametrize("objection", [IGNORE, REJECT])
def test_the_first_objection_is_the_answer_and_nobody_after_it_is_asked(objection: Verdict) -> None:
    """A dear check is not paid for a record that a cheap one has refused."""
    first, second, third = Recording("a", ACCEPT), Recording("b", objection), Recording("c", REJECT)
    assert ValidatorChain((first, second, third)).check(RECORD, T0) is objection
    assert (first.asked, second.asked, third.asked) == (1, 1, 0)


def test_a_record_passes_when_all_agree() -> None:
    """ACCEPT needs every validator."""
    several = [Recording(n, ACCEPT) for n in "abc"]
    assert ValidatorChain(several).check(RECORD, T0) is ACCEPT
    assert [v.asked for v in several] == [1, 1, 1]
    assert ValidatorChain(()).check(RECORD, T0) is ACCEPT


def test_a_chain_names_its_validators_in_order() -> None:
    """Peers compare the name: the same checks in another order are another chain."""
    assert ValidatorChain((Recording("x", ACCEPT), Recording("y", ACCEPT))).name == "x+y"
    assert default_chain(TTL_MS).name == "size+time+md5"


@pytest.mark.parametrize(
    ("record", "wall_ms", "code"),
    [
        (Record.of("", "b", "wrong", 0), T0, "empty-field"),
        (Record.of("a", "b", "wrong", 0), T0, "expired"),
        (Record.of("a", "b", "wrong", T0), T0, "bad-signature"),
        (RECORD, T0, ""),
    ],
)
def test_the_default_chain_asks_size_then_time_then_md5(record: Record, wall_ms: int, code: str) -> None:
    """Of several faults the cheapest to find is the one named; hashing comes last."""
    assert default_chain(TTL_MS).check(record, wall_ms).code == code


@pytest.mark.parametrize("change", [str.lower, str.upper, str.title, str.swapcase])
def test_a_signature_may_be_written_in_any_case(change: Callable[[str], str]) -> None:
    """The original compared hex digits without their case."""
    assert Md5Signature().check(Record.of("a", README_RAW, change(README_SIGNATURE), T0), T0) is ACCEPT


@pytest.mark.parametrize(
    "signature",
    [
        "0" * 32,
        README_SIGNATURE[:-1],
        README_SIGNATURE + "0",
        " " + README_SIGNATURE,
        README_SIGNATURE + " ",
        README_SIGNATURE + "\n",
        "0x" + README_SIGNATURE,
        README_SIGNATURE.replace("f", "\N{LATIN SMALL LETTER LONG S}"),
        README_SIGNATURE.translate({ord("0") + d: 0xFF10 + d for d in range(10)}),
    ],
)
def test_only_the_32_hex_digits_themselves_pass(signature: str) -> None:
    """No spaces, no prefix, no look-alike digits."""
    verdict = Md5Signature().check(Record.of("a", README_RAW, signature, T0), T0)
    assert (verdict.outcome, verdict.code) == (Outcome.REJECT, "bad-signature")


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.data())
def test_what_sign_makes_passes_and_one_changed_digit_does_not(raw: str, data: st.DataObject) -> None:
    """The check finds every single damaged digit."""
    good = sign(raw)
    place = data.draw(st.integers(0, 31))
    other = data.draw(st.sampled_from([d for d in "0123456789abcdef" if d != good[place]]))
    assert Md5Signature().check(Record.of("a", raw, good, T0), T0) is ACCEPT
    damaged = good[:place] + other + good[place + 1 :]
    assert Md5Signature().check(Record.of("a", raw, damaged, T0), T0).code == "bad-signature"


def test_md5_does_not_tell_twins_apart() -> None:
    """What the check cannot do, stated: the twins pass under one signature."""
    for raw in MD5_TWINS:
        assert Md5Signature().check(Record.of("a", raw, MD5_TWINS_SIGNATURE, T0), T0) is ACCEPT

"""The desk: what becomes of a client's record and of a peer's, edge by edge."""

from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from cluster.exports import WireRecord
from eventbus import RecordStored, RecordSuperseded
from node.admission import RUN_AHEAD_MS_MAX, Admission, Answer, PostedRecord
from node.ids import new_id
from storage import StoreLimits
from tests.node.desks import PEER, T0, TTL_MS, Desk, Published, make, wire
from tests.storage.journals import make_record, open_journal
from tests.vectors import MD5_TWINS, MD5_TWINS_SIGNATURE
from validator import FUTURE_MS_MAX, Record, default_chain, sign

# --- from a client --------------------------------------------------------------------------------------


def test_a_new_record_is_stored_stamped_and_published_once() -> None:
    """STORED: it can be read at once, carries the desk's time and rings the bell exactly once."""
    desk = Desk()
    submission = desk.admission.submit("a", "hello", sign("hello"), T0)
    assert submission.answer is Answer.STORED
    assert submission.record == make("a")
    assert desk.records() == [make("a")]
    assert desk.heard() == [RecordStored(1, make("a"), "")]
    assert desk.admission.statistics.accepted == 1


def test_the_same_again_exists_and_keeps_its_time() -> None:
    """EXISTS: a client may retry; life counts from the first acceptance and nobody is told twice."""
    desk = Desk()
    first = desk.post("a")
    desk.heard()
    again = desk.admission.submit("a", "hello", sign("hello").upper(), T0 + 5000)
    assert (again.answer, again.record) == (Answer.EXISTS, first)
    assert desk.heard() == []
    assert desk.admission.statistics.duplicate == 1


def test_another_raw_under_the_same_id_conflicts_and_the_first_stays() -> None:
    """CONFLICT: never a silent replacement; the answer shows who holds the id."""
    desk = Desk()
    first = desk.post("a", "one")
    desk.heard()
    second = desk.admission.submit("a", "two", None, T0 + 1)
    assert (second.answer, second.record) == (Answer.CONFLICT, first)
    assert desk.records() == [first]
    assert desk.heard() == []
    assert desk.admission.statistics.conflict == 1


def test_records_submitted_together_fare_as_one_by_one_and_are_published_in_order() -> None:
    """One refusal costs its neighbours nothing, and of one id posted twice the first stays."""
    desk = Desk()
    posts = [
        PostedRecord("one", "a"),
        PostedRecord("two", "b", "f" * 32),
        PostedRecord("other", "a"),
        PostedRecord("one", "a"),
        PostedRecord("three", "c"),
    ]
    submissions = desk.admission.submit_many(posts, T0)
    stored, refused, conflict, exists = Answer.STORED, Answer.REFUSED, Answer.CONFLICT, Answer.EXISTS
    assert [s.answer for s in submissions] == [stored, refused, conflict, exists, stored]
    one, three = make("a", "one", T0), make("c", "three", T0 + 4)  # each post took a stamp
    assert [s.record for s in submissions] == [one, None, one, one, three]
    assert desk.heard() == [RecordStored(1, one, ""), RecordStored(2, three, "")]
    assert desk.admission.statistics.accepted == 2


def test_an_id_is_free_again_when_its_records_life_is_over() -> None:
    """Nothing is permanent, a held id neither, swept or not."""
    desk = Desk()
    desk.post("a", "one")
    desk.wall_ms = T0 + TTL_MS - 1
    assert desk.admission.submit("a", "two", None, desk.wall_ms).answer is Answer.CONFLICT
    desk.wall_ms += 1
    assert desk.admission.submit("a", "two", None, desk.wall_ms).answer is Answer.STORED
    assert [r.raw for r in desk.records()] == ["two"]


@pytest.mark.parametrize(
    ("limits", "which"), [(StoreLimits(1, 10_000), "records"), (StoreLimits(100, 80), "bytes")]
)
def test_a_full_store_refuses_what_is_new_and_keeps_what_it_has(limits: StoreLimits, which: str) -> None:
    """FULL: no eviction; retries of what is held still succeed, and expiry makes room."""
    desk = Desk(limits=limits)
    first = desk.post("a")
    refused = desk.admission.submit("b", "y" * 50, None, T0)
    assert (refused.answer, refused.record) == (Answer.FULL, None)
    assert refused.verdict is not None
    assert refused.verdict.code == "store-full"
    assert which in refused.verdict.reason
    assert desk.records() == [first]
    assert desk.admission.submit("a", "hello", None, T0).answer is Answer.EXISTS
    assert desk.admission.submit("b", "y" * 40, None, T0 + TTL_MS).answer is Answer.STORED
    assert desk.admission.statistics.full == 1


@pytest.mark.parametrize(
    ("id", "raw", "signature", "code"),
    [
        ("", "hello", None, "empty-field"),
        ("a", "", None, "empty-field"),
        ("a", "hello", "", "empty-field"),
        ("a\n", "hello", None, "bad-id"),
        ("x" * 257, "hello", None, "too-large"),
        ("a", "hello", "0" * 32, "bad-signature"),
        ("a\ud800", "hello", None, "bad-json"),
        ("a", "hello\udfff", None, "bad-json"),
        ("a", "hello\udfff", "0" * 32, "bad-json"),
        ("a", "hello", "\ud800", "bad-json"),
    ],
)
def test_what_may_not_pass_is_refused_with_the_reason(
    id: str, raw: str, signature: str | None, code: str
) -> None:
    """REFUSED: nothing is stored, nobody is told, and the verdict says why."""
    desk = Desk()
    submission = desk.admission.submit(id, raw, signature, T0)
    assert submission.answer is Answer.REFUSED
    assert submission.verdict is not None
    assert submission.verdict.code == code
    assert submission.verdict.reason
    assert desk.records() == []
    assert desk.heard() == []
    assert desk.admission.statistics.rejected == 1


def test_without_id_and_signature_the_desk_makes_both() -> None:
    """A bare text is enough: the id sorts by time and the signature passes every node's check."""
    desk = Desk()
    ids: list[str] = []
    for _ in range(50):
        desk.wall_ms += 1
        record = desk.post(None)
        assert record.signature == sign("hello")
        ids.append(record.id)
    assert ids == sorted(set(ids))


@pytest.mark.parametrize("wall_ms", [0, T0, 2**48 - 1, 2**48])
def test_a_made_id_is_26_letters_of_an_unmistakable_alphabet(wall_ms: int) -> None:
    """Whatever the clock says the id is well formed, and two at one time differ."""
    one, other = new_id(wall_ms), new_id(wall_ms)
    assert one != other
    assert one[:10] == other[:10]
    assert len(one) == 26
    assert set(one) <= set("0123456789abcdefghjkmnpqrstvwxyz")


# --- time stamps ----------------------------------------------------------------------------------------


def stamps(desk: Desk, count: int) -> list[int]:
    return [desk.post(None).time_stamp for _ in range(count)]


def test_a_burst_of_a_thousand_in_one_millisecond_keeps_its_order() -> None:
    """Strictly increasing time stamps: the listing is the order of posting."""
    desk = Desk()
    burst = stamps(desk, 1000)
    assert burst == list(range(T0, T0 + 1000))
    assert [r.time_stamp for r in desk.records()] == burst


def test_time_stamps_run_ahead_of_the_clock_by_a_second_at_most() -> None:
    """A flood cannot carry its time stamps out of the window in which other nodes accept them."""
    desk = Desk()
    flood = stamps(desk, 3000)
    assert flood == sorted(flood)
    assert flood[RUN_AHEAD_MS_MAX:] == [T0 + RUN_AHEAD_MS_MAX] * (3000 - RUN_AHEAD_MS_MAX)
    desk.wall_ms += 1
    assert stamps(desk, 2) == [T0 + RUN_AHEAD_MS_MAX + 1] * 2
    desk.wall_ms += 5000
    assert stamps(desk, 2) == [T0 + 5001, T0 + 5002]


@pytest.mark.parametrize("back_ms", [1, RUN_AHEAD_MS_MAX, 2 * RUN_AHEAD_MS_MAX - 10])
def test_time_stamps_never_decrease_when_the_clock_wavers(back_ms: int) -> None:
    """The clock may go back a little, time stamps may not; clients are served all the same."""
    desk = Desk()
    before = stamps(desk, 3)
    desk.wall_ms -= back_ms
    after = stamps(desk, 3)
    assert all(a <= b for a, b in pairwise(before + after))


@pytest.mark.parametrize("back_ms", [3 * RUN_AHEAD_MS_MAX, FUTURE_MS_MAX + 1, TTL_MS * 2])
def test_time_stamps_follow_a_clock_that_was_set_back(back_ms: int) -> None:
    """Stamps of the old clock would be refused by other nodes, and outlive their time."""
    desk = Desk()
    stamps(desk, 3)
    desk.wall_ms -= back_ms
    after = stamps(desk, 3)
    assert after == [desk.wall_ms, desk.wall_ms + 1, desk.wall_ms + 2]


def test_a_clock_set_back_does_not_let_a_wrong_signature_pass() -> None:
    """Every record goes through the whole chain."""
    desk = Desk()
    stamps(desk, 3)
    desk.wall_ms -= 3_600_000
    submission = desk.admission.submit("id", "raw", "f" * 32, desk.wall_ms)
    assert submission.answer is Answer.REFUSED


def test_a_clock_set_back_does_not_shorten_a_records_life_elsewhere() -> None:
    """A record stamped within the run-ahead passes a node whose clock is a minute behind, less a second."""
    desk, other = Desk(), Desk(wall_ms=T0 - FUTURE_MS_MAX + RUN_AHEAD_MS_MAX)
    last = [desk.post(None) for _ in range(2000)][-1]
    other.take(last)
    assert other.records() == [last]


# --- from a peer ----------------------------------------------------------------------------------------


def test_a_peers_batch_is_sorted_into_what_became_of_each_record() -> None:
    """new, known, ignored, rejected: the engine learns about every record what it needs to know."""
    desk = Desk()
    desk.take(make("held"), make("taken", "first", T0 - 5))
    desk.heard()
    known, new = make("held"), make("new")
    late, early = make("late", time_stamp=T0 - TTL_MS), make("early", time_stamp=T0 + FUTURE_MS_MAX + 1)
    loser = make("taken", "second", T0 - 4)
    forged = Record.of("forged", "hello", "0" * 32, T0)
    batch = [wire(r) for r in (known, new, late, early, loser, forged, new)]
    batch += [WireRecord("x", "\ud800", "s", T0), WireRecord("x", "hello", sign("hello"), -1)]
    result = desk.admission.admit(batch, PEER, T0)
    assert result.stored == [new.digest]
    assert result.known == [known.digest, new.digest]
    assert result.ignored == [late.digest, early.digest, loser.digest]
    assert result.rejected == 3
    assert not result.full
    assert desk.heard() == [RecordStored(3, new, PEER)]
    totals = desk.admission.statistics
    assert (totals.relayed, totals.duplicate, totals.ignored, totals.rejected, totals.superseded) == (
        3,
        2,
        3,
        3,
        0,
    )


@pytest.mark.parametrize(
    ("age_ms", "stored"),
    [(TTL_MS, False), (TTL_MS - 1, True), (0, True), (-FUTURE_MS_MAX, True), (-FUTURE_MS_MAX - 1, False)],
)
def test_a_peers_record_is_taken_only_within_its_window(age_ms: int, stored: bool) -> None:
    """No zombies and nothing from the future: refused at the desk, so never relayed."""
    desk = Desk()
    record = make("a", time_stamp=T0 - age_ms)
    result = desk.admission.admit([wire(record)], PEER, T0)
    assert (result.stored, result.ignored) == (([record.digest], []) if stored else ([], [record.digest]))
    assert bool(desk.heard()) == stored


def test_a_smaller_key_takes_the_id_over_and_both_facts_are_told() -> None:
    """The winner is stored and published once; the loser is named, never silently dropped."""
    desk = Desk()
    later, earlier = make("a", "later", T0), make("a", "earlier", T0 - 1)
    desk.take(later)
    desk.heard()
    desk.take(earlier)
    assert desk.records() == [earlier]
    assert desk.heard() == [RecordSuperseded(earlier, later), RecordStored(2, earlier, PEER)]
    assert desk.admission.statistics.superseded == 1


def test_a_loser_that_was_never_held_is_told_to_nobody_however_often_it_is_offered() -> None:
    """It is told, once, where it is held; here nobody has seen it, and each copy is counted as not taken."""
    desk = Desk()
    earlier, later = make("a", "earlier", T0 - 1), make("a", "later", T0)
    desk.take(earlier)
    desk.heard()
    for peer in ("one", "two", "three"):
        assert desk.admission.admit([wire(later)], peer, T0).ignored == [later.digest]
    assert desk.heard() == []
    assert desk.records() == [earlier]
    assert (desk.admission.statistics.superseded, desk.admission.statistics.ignored) == (0, 3)


def test_a_journal_that_is_behind_is_not_a_full_store(tmp_path: Path) -> None:
    """It has room again in a moment; clients of a full store wait for hours."""
    with closing(open_journal(tmp_path)) as store:
        store.writer.line.records_max = 1
        store.writer.line.add(1, make_record(1))  # behind the writer's back: it waits there
        desk = Admission(store, default_chain(TTL_MS), Published())
        verdict = desk.submit("id", "raw", None, T0).verdict
        assert verdict is not None
        assert verdict.code == "not-durable"
        assert "try again soon; nothing was stored" in verdict.reason
        assert store.get("id", T0) is None


def test_a_full_store_ignores_a_peers_record_and_says_that_it_is_full() -> None:
    """The engine stops asking for more; the peer is not to blame; a takeover still fits."""
    desk = Desk(limits=StoreLimits(records_max=1))
    desk.take(make("a", "one", T0))
    result = desk.admission.admit([wire(make("b"))], PEER, T0)
    assert result.full
    assert result.ignored == [make("b").digest]
    earlier = make("a", "two", T0 - 1)
    desk.take(earlier)
    assert desk.records() == [earlier]


# --- MD5 proves nothing ---------------------------------------------------------------------------------


def test_md5_twins_under_two_ids_are_both_kept() -> None:
    """No digest confusion, from a client or from a peer."""
    desk, other = Desk(), Desk()
    for id, raw in zip("ab", MD5_TWINS, strict=True):
        desk.post(id, raw)
    other.take(*desk.records())
    for each in (desk, other):
        assert [(r.raw, r.signature) for r in each.records()] == [(t, MD5_TWINS_SIGNATURE) for t in MD5_TWINS]


def test_md5_twins_under_one_id_conflict_here_and_have_one_winner_everywhere() -> None:
    """The same signature is not the same raw."""
    one, other = Desk(), Desk()
    mine, yours = one.post("a", MD5_TWINS[0]), other.post("a", MD5_TWINS[1])
    assert one.admission.submit("a", MD5_TWINS[1], None, T0).answer is Answer.CONFLICT
    one.take(yours)
    other.take(mine)
    assert one.records() == other.records() == [min(mine, yours, key=lambda r: r.key)]

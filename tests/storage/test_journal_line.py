"""The line before the journal, against the plainest file: a set of keys."""

from hypothesis import given, settings
from hypothesis import strategies as st

from storage.journal_line import BATCH_CHARS_MAX, BATCH_RECORDS_MAX, Line
from tests.storage.journals import make_record
from validator import Record

RECORDS = [make_record(n) for n in range(6)]

steps = st.lists(
    st.one_of(
        st.tuples(st.just("change"), st.integers(0, len(RECORDS) - 1)),
        st.tuples(st.just("replace"), st.integers(0, len(RECORDS) - 1)),
        st.tuples(st.sampled_from(["write", "fail", "take"]), st.integers(0, 1)),
    ),
    max_size=60,
)


@settings(max_examples=500)
@given(script=steps)
def test_whatever_comes_goes_and_fails_the_file_ends_as_the_store(script: list[tuple[str, int]]) -> None:
    """Records come, go and come again, also while they are written; what is called safe is in the file."""
    line, seq, durable, taken = Line(0), 0, 0, None
    owed: dict[bytes, set[bytes]] = {}  # by holder: of these rows one must be there
    held: dict[bytes, tuple[int, Record]] = {}
    file: set[bytes] = set()
    for verb, number in [*script, ("write", 0), ("write", 0), ("write", 0)]:
        if verb == "change":
            record = RECORDS[number]
            if record.key in held:
                del held[record.key]
                owed.pop(record.key, None)
                line.drop(record)
            else:
                seq += 1
                held[record.key] = (seq, record)
                line.add(seq, record)
            continue
        if verb == "replace":  # of one id the smaller key wins; here it is the next that comes
            loser, winner = RECORDS[number], RECORDS[(number + 1) % len(RECORDS)]
            if loser.key in held and winner.key not in held:
                seq += 1
                group = owed.pop(loser.key, set())
                if held.pop(loser.key)[0] <= durable or group:
                    owed[winner.key] = group | {loser.key, winner.key}
                line.drop(loser, winner)
                held[winner.key] = (seq, winner)
                line.add(seq, winner)
            continue
        taken = taken or line.take(removals_first=bool(number))
        if verb == "write":
            file = (file - taken.drops.keys()) | taken.adds.keys()
            line.done()
            durable = taken.seq
            assert all(group & file for group in owed.values())
            assert {key for key, (n, _) in held.items() if n <= taken.seq} <= file
            taken = None
        elif verb == "fail":
            line.put_back()
            taken = None
    assert file == held.keys()
    assert line.empty
    assert len(line) == 0
    line.chars_max = 1
    assert line.has_room(RECORDS[0])  # nothing waits, so its size does not matter
    line.add(seq + 1, RECORDS[0])
    assert not line.has_room(RECORDS[1])
    line.chars_max = len(RECORDS[0].raw) + len(RECORDS[1].raw)
    assert line.has_room(RECORDS[1])  # the count of characters came out even


def test_a_replaced_row_goes_after_the_row_of_its_winner_has_come() -> None:
    """Not with a batch before, not when that batch fails: what was acknowledged is never without a row."""
    line, loser, winner = Line(0), make_record(9_000, id="x"), make_record(8_000, id="x")
    line.add(1, loser)
    line.take()
    line.done()
    for n in range(2, BATCH_RECORDS_MAX + 2):
        line.add(n, make_record(n))
    line.drop(loser, winner)
    line.add(BATCH_RECORDS_MAX + 2, winner)
    assert line.take(removals_first=True).drops == {}
    line.done()
    batch = line.take()
    assert (list(batch.adds), batch.drops) == ([winner.key], {})
    line.put_back()
    assert line.take(removals_first=True) == ({winner.key: (BATCH_RECORDS_MAX + 2, winner)}, {}, line.seq)
    line.done()
    assert list(line.take().drops) == [loser.key]
    line.done()
    assert line.empty


def test_a_batch_has_a_most_of_records() -> None:
    """One more than the most waits for the next batch."""
    line = Line(0)
    for n in range(1, BATCH_RECORDS_MAX + 2):
        assert line.full_batch == (n > BATCH_RECORDS_MAX)
        line.add(n, make_record(n))
    batch = line.take()
    assert (len(batch.adds), batch.seq) == (BATCH_RECORDS_MAX, BATCH_RECORDS_MAX)
    assert len(line) == BATCH_RECORDS_MAX + 1
    line.done()
    assert line.take().seq == BATCH_RECORDS_MAX + 1


def test_a_batch_has_a_most_of_characters() -> None:
    """As many as fit to the character; a record that is larger alone goes alone; removals count too."""
    half = make_record(1, "x" * (BATCH_CHARS_MAX // 2))
    other = make_record(2, "y" * (BATCH_CHARS_MAX // 2))
    small, huge = make_record(3, "z"), make_record(4, "h" * (BATCH_CHARS_MAX + 1))
    line = Line(0)
    for seq, record in enumerate((half, other, small, huge), 1):
        line.add(seq, record)
    for expected in ([half.key, other.key], [small.key], [huge.key]):
        assert list(line.take().adds) == expected
        line.done()
    for record in (half, other, small, huge):
        line.drop(record)
    for expected in ([half.key, other.key], [small.key], [huge.key]):
        assert list(line.take().drops) == expected
        line.done()


def test_the_line_is_full_at_its_limit() -> None:
    """The last record within the limit is taken, the next is not; what is in flight still counts."""
    line = Line(0)
    line.records_max = 3
    for n in range(1, 4):
        assert line.has_room(make_record(n))
        line.add(n, make_record(n))
    assert not line.has_room(make_record(4))
    line.take()
    assert not line.has_room(make_record(4))
    line.done()
    assert line.has_room(make_record(4))


def test_the_room_of_a_line_is_what_surely_fits() -> None:
    """By number and by characters, what is in flight included; nobody who asks first is refused later."""
    line = Line(0)
    line.records_max, line.chars_max = 2, len(RECORDS[0].raw) + len(RECORDS[1].raw)
    assert line.room == (2, line.chars_max)
    line.add(1, RECORDS[0])
    assert line.room == (1, len(RECORDS[1].raw))
    line.take()
    line.add(2, RECORDS[1])
    assert line.room == (0, 0)
    assert not line.has_room(RECORDS[2])

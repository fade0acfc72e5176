"""The table by digest against the plainest thing that does the same: a dict."""

import random

from storage.digests import CHAIN_RECORDS, CHAINS_MIN, DigestTable
from validator import Record, sign


def make_record(n: int) -> Record:
    return Record.of(f"{n:08x}", "hello", sign("hello"), 1_800_000_000_000 + n)


def test_the_table_answers_like_a_dict_whatever_comes_and_goes() -> None:
    """Grown past several doublings, halved and grown again: what is held is found, what is not is not."""
    table, model, rng = DigestTable(), dict[bytes, Record](), random.Random(7)
    records = [make_record(n) for n in range(6_000)]
    for some, keep in ((records[:4_000], 0.5), (records[4_000:], 0.1)):
        for record in some:
            table.add(record)
            model[record.digest] = record
        for record in list(model.values()):
            if rng.random() > keep:
                table.remove(record)
                del model[record.digest]
        for record in records:
            assert table.get(record.digest) is model.get(record.digest)


def test_the_table_grows_by_one_chain_at_a_time_with_what_it_holds() -> None:
    """No call ever rehashes all: one more chain for CHAIN_RECORDS more records, none for those that went."""
    table = DigestTable()
    records = [make_record(n) for n in range(CHAINS_MIN * CHAIN_RECORDS * 3)]
    for n, record in enumerate(records, 1):
        before = table.chain_count
        table.add(record)
        assert before <= table.chain_count <= before + 1
        assert n <= table.chain_count * CHAIN_RECORDS < n + CHAINS_MIN * CHAIN_RECORDS
    for record in records:
        table.remove(record)
        table.add(record)
    assert table.chain_count == CHAINS_MIN * 3

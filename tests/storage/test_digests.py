"""The table by digest against the plainest thing that does the same: a dict."""

import random

import pytest

from storage.digests import DigestTable
from validator import Record, sign


def make_record(n: int) -> Record:
    return Record.of(f"{n:08x}", "hello", sign("hello"), 1_800_000_000_000 + n)


@pytest.mark.parametrize("numbers", [2**64, 100, 1], ids=["as hashed", "many meet", "all meet"])
def test_the_table_answers_like_a_dict_whatever_comes_and_goes(numbers: int) -> None:
    """Filled, halved and filled again: what is held is found, what is not is not, whoever shares a number."""
    table = DigestTable(lambda digest: hash(digest) % numbers)
    model, rng = dict[bytes, Record](), random.Random(7)
    records = [make_record(n) for n in range(6_000 if numbers > 100 else 120)]
    middle = len(records) * 2 // 3
    for some, keep in ((records[:middle], 0.5), (records[middle:], 0.1)):
        table.add(*some[:10])
        for record in some[10:]:
            table.add(record)
        model |= {record.digest: record for record in some}
        for record in list(model.values()):
            if rng.random() > keep:
                table.remove(record)
                del model[record.digest]
        for record in records:
            assert table.get(record.digest) is model.get(record.digest)

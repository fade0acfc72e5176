"""Metrics as Prometheus reads them: its text format, version 0.0.4. Pure.

Written here because it is thirty lines; the client library brings registries and threads that a node, which
keeps its own counters, has no use for. tests/api/exposition.py is a strict reader of the format.

Source: prometheus.io/docs/instrumenting/exposition_formats.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Final, NamedTuple

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Sample(NamedTuple):
    """One value; `suffix` is added to the family's name."""

    value: float
    labels: Mapping[str, str] = {}
    suffix: str = ""


class Family(NamedTuple):
    """Samples of one name. `kind`: `counter`, `gauge` or `histogram`; `help`: one sentence."""

    name: str
    kind: str
    help: str
    samples: Sequence[Sample]


def counter(name: str, help: str, value: float) -> Family:
    """Make a counter without labels. `name` ends with `_total`."""
    return Family(name, "counter", help, [Sample(value)])


def gauge(name: str, help: str, value: float) -> Family:
    """Make a gauge without labels."""
    return Family(name, "gauge", help, [Sample(value)])


def labelled(name: str, kind: str, help: str, label: str, values: Mapping[str, float]) -> Family:
    """Make a family with one label, a sample for each of its values."""
    return Family(name, kind, help, [Sample(value, {label: key}) for key, value in values.items()])


def histogram(name: str, help: str, bounds: Sequence[float], counts: Sequence[int], total: float) -> Family:
    """Make a histogram.

    Args:
        bounds: largest value of each bucket, ascending.
        counts: how many values fell into each bucket and, last, above all.
        total: sum of the values.
    """
    sums = list(accumulate(counts))
    buckets = [
        Sample(count, {"le": _number(bound)}, "_bucket")
        for bound, count in zip([*bounds, math.inf], sums, strict=True)
    ]
    return Family(
        name, "histogram", help, [*buckets, Sample(total, {}, "_sum"), Sample(sums[-1], {}, "_count")]
    )


def render(families: Iterable[Family]) -> str:
    """Write families as text."""
    return "".join(line for family in families for line in _lines(family))


def _lines(family: Family) -> Iterator[str]:
    help = family.help.replace("\\", r"\\").replace("\n", r"\n")
    yield f"# HELP {family.name} {help}\n# TYPE {family.name} {family.kind}\n"
    for value, labels, suffix in family.samples:
        pairs = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items())
        yield f"{family.name}{suffix}{'{' + pairs + '}' if pairs else ''} {_number(value)}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) else repr(float(value))

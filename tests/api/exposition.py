"""A strict reader of Prometheus' text format, with the advice that `promtool check metrics` gives.

Source: prometheus.io/docs/instrumenting/exposition_formats and .../practices/naming.
"""

import re

NAME = re.compile(r"[a-z_:][a-z0-9_:]*")
SAMPLE = re.compile(r"(?P<name>[a-z_:][a-z0-9_:]*)(?:\{(?P<labels>.*)\})? (?P<value>\S+)")
LABEL = re.compile(r'([a-z_][a-z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(,|$)')
BAD_UNITS = ("_ms", "_us", "_milliseconds", "_minutes", "_kb", "_mb", "_percent")
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("",), "gauge": ("",)}

Labels = tuple[tuple[str, str], ...]
Samples = dict[tuple[str, Labels], float]


def read(text: str) -> dict[str, Samples]:
    """Return each family's samples by name and labels; fail on anything that is not as it should be."""
    assert text.endswith("\n")
    families: dict[str, Samples] = {}
    kinds: dict[str, str] = {}
    family, helped = "", ""
    for line in text.splitlines():
        if line.startswith("# HELP "):
            _, _, helped, words = line.split(" ", 3)
            assert words, line
            assert helped not in families, f"{helped} comes twice"
        elif line.startswith("# TYPE "):
            _, _, family, kind = line.split(" ")
            assert family == helped, f"{family} has no help before its type"
            _check_name(family, kind)
            families[family], kinds[family] = {}, kind
        else:
            match = SAMPLE.fullmatch(line)
            assert match is not None, line
            assert match["name"].removeprefix(family) in SUFFIXES[kinds[family]], line
            key = match["name"], _labels(match["labels"])
            assert key not in families[family], f"{line} comes twice"
            families[family][key] = float(match["value"])
    for name, samples in families.items():
        _check_values(name, kinds[name], samples)
    return families


def _labels(text: str | None) -> Labels:
    found: list[tuple[str, str]] = []
    rest = text or ""
    while rest:
        match = LABEL.match(rest)
        assert match is not None, rest
        found.append((match[1], match[2]))
        rest = rest[match.end() :]
    assert len(dict(found)) == len(found), f"a label twice in {text}"
    return tuple(found)


def _check_name(name: str, kind: str) -> None:
    assert NAME.fullmatch(name), name
    assert kind in SUFFIXES, f"{name} is a {kind}"
    assert name.endswith("_total") == (kind == "counter"), f"{name} is a {kind}"
    assert not name.removesuffix("_total").endswith(BAD_UNITS), f"{name}: base units only"
    assert not name.endswith(("_count", "_sum", "_bucket")), name


def _check_values(name: str, kind: str, samples: Samples) -> None:
    if kind == "histogram":
        buckets = [
            (float(dict(labels)["le"]), v) for (n, labels), v in samples.items() if n.endswith("_bucket")
        ]
        assert buckets == sorted(buckets), f"{name}: buckets out of order"
        assert [v for _, v in buckets] == sorted(v for _, v in buckets), f"{name}: buckets are cumulative"
        assert buckets[-1] == (float("inf"), samples[f"{name}_count", ()]), name
        assert (f"{name}_sum", ()) in samples
    if kind == "counter":
        assert all(v >= 0 for v in samples.values()), name

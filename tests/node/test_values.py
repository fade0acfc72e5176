"""What people write for durations and sizes. What is refused is in tests/node/test_config.py."""

from pathlib import Path

import pytest

from node.values import TTL_MS_MAX, duration_s, path, size_bytes, ttl_ms


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1000ms", 1), ("90", 90), ("90s", 90), ("15m", 900), ("24h", 86400), ("2d", 172800), ("1.5h", 5400)],
)
def test_a_duration_has_a_unit_or_is_in_seconds(text: str, seconds: float) -> None:
    """What people write, they may write."""
    assert duration_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize("ms", [1000, 1009, 4001, 86_400_001, TTL_MS_MAX])
def test_a_ttl_in_milliseconds_is_exact(ms: int) -> None:
    """All nodes of a cluster must agree on the ttl to the millisecond, however it was written."""
    assert ttl_ms(f"{ms}ms") == ttl_ms(f"{ms / 1000}s") == ms


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("1000", 1000), ("64KiB", 65536), ("512 MiB", 1 << 29), ("2GiB", 1 << 31)],
)
def test_a_size_has_a_binary_unit_or_is_in_bytes(text: str, size: int) -> None:
    """KiB, MiB and GiB say what they mean; KB and MB do not and are refused."""
    assert size_bytes(text) == size


def test_a_directory_may_begin_at_the_users_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """From a file or the environment, where no shell has looked at it; nothing means none."""
    monkeypatch.setenv("HOME", "/home/ash")
    assert path("~/dayfly") == Path("/home/ash/dayfly")
    assert path("here") == Path("here")
    assert path("") is None
    with pytest.raises(ValueError, match="is not a path"):
        path("a\0b")

"""Every known mistake of this field is found by the suite, and by what docs/testing.md says.

A check that cannot fail checks nothing: each bug is planted in the real product, for the time of one test.
"""

import pytest

from tests.planted.bug import ROOT, Bug, Catcher
from tests.planted.bugs import BUGS

CATCHERS = {bug.catcher.name: bug.catcher for bug in BUGS}


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_is_caught(bug: Bug, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its catcher, and with the words that belong to it."""
    with monkeypatch.context() as patch:
        # Nobody reads this failure; with CI or -v pytest would draw the diff of two long lists for minutes.
        patch.setattr("_pytest.assertion.util._reprcompare", None)
        bug.plant(patch)
        with pytest.raises((AssertionError, pytest.fail.Exception), match=bug.says):
            bug.catcher.run()


@pytest.mark.parametrize("catcher", CATCHERS.values(), ids=CATCHERS.keys())
def test_what_catches_a_bug_is_content_without_it(catcher: Catcher) -> None:
    """The catcher fails because of the bug and nothing else."""
    catcher.run()


def test_the_table_of_planted_bugs_is_the_list() -> None:
    """docs/testing.md names every bug and what catches it, and no other."""
    lines = (ROOT / "docs" / "testing.md").read_text().splitlines()
    start = lines.index("| planted bug | what goes wrong | caught by |") + 2
    table = lines[start : start + len(BUGS)]
    assert table == [f"| {b.name} | {b.what} | `{b.catcher.name}` |" for b in BUGS]
    assert not lines[start + len(BUGS)].startswith("|")

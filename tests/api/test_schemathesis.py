"""A node against its own document, by requests that nobody thought of. docs/api.md has the long run."""

import importlib.util
import os
import subprocess
import sys

import pytest

from tests.api.nodes import lone_node
from tests.processes import ROOT, wait_until

EXAMPLES = "140" if os.environ.get("DAYFLY_TEST_LONG") else "3"


@pytest.mark.skipif(
    importlib.util.find_spec("schemathesis") is None,
    reason="schemathesis is no dependency; with `pip install schemathesis==4.32.5` this runs",
)
@pytest.mark.timeout(300)
def test_no_generated_request_finds_an_answer_that_the_document_does_not_have() -> None:
    """All checks of schemathesis pass on every route."""
    with lone_node("--ttl", "1h", "--post-rate", "1000000") as node:
        wait_until(lambda: node.ask("GET", "/readyz").status == 200, "the node is ready")
        operations = sum(len(methods) for methods in node.get("/openapi.json")["paths"].values())
        operations -= 1  # it asks for the document, and does not try it
        run = subprocess.run(
            [
                sys.executable, "-m", "schemathesis.cli", "--config-file", "tests/api/schemathesis.toml",
                "run", f"{node.url}/openapi.json", "--checks", "all", "--max-examples", EXAMPLES,
                "--continue-on-failure", "--no-color", "--generation-database", "none",
            ],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert run.returncode == 0, run.stdout[-5000:]
    assert f"Tested: {operations}" in run.stdout

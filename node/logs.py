"""Logs: one JSON line each, or one readable line each on a terminal. Never a payload.

Goes to standard error, so that standard output stays for answers, and by way of `node.log_output`, so that
no line can hold up or end the process.
"""

import logging
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, TextIO, cast

from node.log_output import log_output

# Named trick, "no rich": structlog loads it for tracebacks in colour wherever it is installed, as it is here
# for the tables of commands. A node writes plain ones, starts with 50 ms of CPU less and needs 3 MB less.
_modules = cast("dict[str, Any]", sys.modules)
_rich = {name: module for name, module in _modules.items() if name == "rich"}
_modules["rich"] = None
import structlog  # noqa: E402 - see above

del _modules["rich"]
_modules.update(_rich)


@contextmanager
def logging_to_stderr(log_format: str, log_level: str) -> Generator[None]:
    """Log what is said in the block; at its end all is written, unless standard error takes nothing.

    Args:
        log_format: `json`, `text`, or `auto`: text on a terminal, else JSON.
        log_level: least level that is written: `debug`, `info`, `warning` or `error`.
    """
    text = log_format == "text" or (log_format == "auto" and sys.stderr.isatty())
    level = getattr(logging, log_level.upper())
    processors: list[structlog.types.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if text:
        processors.append(_in_letters)
        colours = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
        processors += [structlog.dev.ConsoleRenderer(colors=colours)]
    else:
        processors += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=cast("TextIO", log_output)),  # uses write and flush
        cache_logger_on_first_use=True,
    )
    # Libraries that log through the standard library (trio's accept loop) become lines of ours.
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[_Forward()], force=True)

    def notice(dropped: int) -> str:
        event: Any = {"event": "log lines before this one could not be written", "dropped": dropped}
        for processor in processors:
            event = processor(None, "warning", event)
        return f"{event}\n"

    with log_output.written_to(sys.stderr.fileno(), notice):
        yield


def _in_letters(logger: object, method: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
    """Write out control characters: a peer chooses its name and its last words, and a terminal would obey."""
    for key, value in event.items():
        if isinstance(value, str) and not value.isprintable():
            event[key] = repr(value)
    return event


class _Forward(logging.Handler):
    """Hand a library's log record to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        structlog.get_logger(record.name).log(record.levelno, record.getMessage(), exc_info=record.exc_info)

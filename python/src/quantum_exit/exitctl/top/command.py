"""`exitctl top` as a command: a screen on a terminal, one frame everywhere else."""

from __future__ import annotations

import shutil
import sys
import time
from typing import Final

from quantum_exit.exitctl.context import EXIT_COULD_NOT_RUN, EXIT_DONE, Context, say_error
from quantum_exit.exitctl.top.frame import frame
from quantum_exit.exitctl.top.reading import Reader, Watcher

EVERY_S: Final = 1.0
_FIRST_S: Final = 2.0
_SIGNALLED: Final = 128


def run(context: Context, *, once: bool) -> int:
    reader = Reader(context)
    terminal = all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))
    if once or context.json_output or not terminal:
        return _print_once(context, reader)
    import curses

    from quantum_exit.exitctl.top.screen import Ended, show

    watcher = Watcher(reader.look, EVERY_S)
    watcher.start()
    watcher.wait_first(_FIRST_S)
    try:
        show(watcher, context.environ)
    except curses.error as error:
        say_error(f"this terminal cannot be drawn on ({error}): one frame instead; is TERM set?")
        return _print_once(context, Reader(context))
    except KeyboardInterrupt:
        return EXIT_DONE
    except Ended as end:
        return _SIGNALLED + end.number
    return EXIT_DONE


def _print_once(context: Context, reader: Reader) -> int:
    seen = reader.look()
    size = shutil.get_terminal_size((80, 24))
    lines = frame(seen, None, size.columns, size.lines, time.time())
    document = {"status": seen.status or seen.host, "lately": seen.lately, "error": seen.error}
    context.emit(document, "\n".join(line.text.rstrip() for line in lines))
    return EXIT_COULD_NOT_RUN if seen.error else EXIT_DONE

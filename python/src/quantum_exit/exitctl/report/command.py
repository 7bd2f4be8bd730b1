"""`exitctl report` as a command: the page, a few lines of text, or the document behind both."""

from __future__ import annotations

import io
import os
import sys
import tempfile
from pathlib import Path

from quantum_exit.exitctl.context import CommandError, Context
from quantum_exit.exitctl.report.collect import Report, as_json, collect
from quantum_exit.exitctl.report.page import render
from quantum_exit.exitctl.report.parts import full_utc, gain, price, utc
from quantum_exit.proofs.model import overall


def run(context: Context, since_s: int, expect: str | None, out: str | None, *, html: bool) -> int:
    """The exit status is that of the proofs."""
    if out and not html:
        raise CommandError("--out is for the page: add --html")
    report = collect(context, since_s, expect)
    if html and not context.json_output:
        page = render(report)
        if out:
            _write(Path(out), page)
            context.tell(f"{out}: {len(page)} characters")
        else:
            if isinstance(sys.stdout, io.TextIOWrapper):
                sys.stdout.reconfigure(encoding="utf-8")  # as the page says of itself
            context.tell(page.rstrip("\n"))
    else:
        context.emit(as_json(report), _text(report))
    return overall(report.proofs).exit_code


def _write(path: Path, page: str) -> None:
    """At once or not at all: whoever serves the file never reads half of it."""
    try:
        path = path.resolve()  # a link goes on pointing to where the page is
        if path.exists() and not path.is_file() and not path.is_dir():
            path.write_text(page, encoding="utf-8")  # a device or a pipe stays what it is
        else:
            _replace(path, page)
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}") from None


def _replace(path: Path, page: str) -> None:
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", delete=False
    ) as file:
        fresh = Path(file.name)
        try:
            file.write(page)
            file.flush()
            mask = os.umask(0)
            os.umask(mask)
            fresh.chmod(0o666 & ~mask)
            fresh.replace(path)
        except BaseException:
            fresh.unlink()
            raise


def _text(report: Report) -> str:
    lines = [f"REPORT of {report.host} since {full_utc(report.since_epoch)}"]
    verdicts = ", ".join(f"{each.name} {each.verdict}" for each in report.proofs)
    lines.append(f"PROOFS    {verdicts} (expected: {report.expected})")
    lines.append(f"CLOSED    {len(report.positions.closed)}")
    for each in report.positions.closed:
        lines.append(
            f"  {utc(each.closed_epoch)} {each.symbol} {each.side} {price(each.entry_price)} to "
            f"{price(each.exit_price)}, gain {gain(each.gain)}: {each.exits[-1].reason or '?'}"
        )
    lines.append(f"DENIED    {len(report.denials)}, and {report.drills} of the proofs")
    lines += [f"  {count:6} {code}" for code, count in report.codes]
    lines.append(f"ALERTS    {len(report.alerts)}")
    lines += [f"UNKNOWN   {text}" for text in report.unknown]
    lines.append("The page: exitctl report --html --out FILE")
    return "\n".join(lines)

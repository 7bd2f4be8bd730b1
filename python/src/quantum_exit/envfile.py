"""Environment files in the syntax of systemd's `EnvironmentFile=`.

`render` writes values so that systemd reads back the same characters; `parse` reads what systemd
would read. Where systemd silently drops a line (`export A=1`), guesses (a quote never closed) or
where its versions differ, `parse` raises instead: a secret must not vanish. Control characters are
refused both ways; no credential has one. No message ever contains a value.

Standard library only: Ansible modules run this file on hosts that have nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
# Needs no quotes anywhere in a value. Operators edit some of these lines with sed.
_PLAIN = re.compile(r"[A-Za-z0-9_.,:/@%+=-]+\Z")
# What systemd unescapes inside double quotes; before any other character a backslash stays.
_ESCAPED_IN_QUOTES = '"\\`$'
_BLANKS = " \t"
_LINE_ENDS = "\n\r"


class EnvFileError(ValueError):
    """A name, a value or a line that systemd would not take as it is meant."""


def quote(value: str, name: str = "value") -> str:
    """Return `value` as it stands behind the `=`. `name` is for the error message only.

    Raises EnvFileError for a newline, another control character or text that is not UTF-8.
    """
    if any(char in _LINE_ENDS for char in value):
        raise EnvFileError(f"{name} contains a newline: write it on one line")
    if _has_control_character(value):
        raise EnvFileError(f"{name} contains a control character")
    if not _is_utf8(value):
        raise EnvFileError(f"{name} is not valid UTF-8")
    if _PLAIN.match(value):
        return value
    escaped = "".join(f"\\{char}" if char in _ESCAPED_IN_QUOTES else char for char in value)
    return f'"{escaped}"'


def render(variables: Mapping[str, str], comment: str = "") -> str:
    """Return the text of a file that assigns `variables`, in their order, under a comment."""
    lines = [f"# {line}".rstrip() for line in comment.splitlines()]
    for name, value in variables.items():
        if not _NAME.match(name):
            raise EnvFileError(f"{name!r} is not the name of a variable")
        lines.append(f"{name}={quote(value, name)}")
    return "\n".join(lines) + "\n"


def parse(text: str) -> dict[str, str]:
    """Return the variables that systemd would read; of two assignments of a name the last wins.

    Raises EnvFileError, naming the line, for anything that systemd would drop or guess at.
    """
    if not _is_utf8(text):
        raise EnvFileError("the file is not valid UTF-8")
    return _Reader(text).read()


class _Reader:
    """One pass over a file, character by character, with the states of systemd's own reader."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1

    def read(self) -> dict[str, str]:
        variables: dict[str, str] = {}
        while (char := self._peek()) is not None:
            if char in _BLANKS or char in _LINE_ENDS:
                self._next()
            elif char in "#;":
                self._skip_comment()
            else:
                name = self._read_name()
                value = self._read_value(name)
                if _has_control_character(value.replace("\n", "")):
                    raise self._error(f"{name} contains a control character")
                variables[name] = value
        return variables

    def _peek(self) -> str | None:
        return self._text[self._at] if self._at < len(self._text) else None

    def _next(self) -> str | None:
        char = self._peek()
        if char is not None:
            self._at += 1
            self._line += char == "\n"
        return char

    def _error(self, what: str) -> EnvFileError:
        return EnvFileError(f"line {self._line}: {what}")

    def _skip_comment(self) -> None:
        last = ""
        while (char := self._peek()) is not None and char not in _LINE_ENDS:
            last = char
            self._next()
        if last == "\\":
            # systemd before 254 goes on with the comment on the next line, later ones do not.
            raise self._error("a comment must not end with a backslash")

    def _read_name(self) -> str:
        start = self._at
        while (char := self._peek()) is not None and char not in _LINE_ENDS:
            if char == "=":
                name = self._text[start : self._at].rstrip(_BLANKS)
                if not _NAME.match(name):
                    raise self._error("what stands before the = is not the name of a variable")
                self._next()
                return name
            self._next()
        raise self._error("neither NAME=value nor a comment")

    def _read_value(self, name: str) -> str:
        """Unquoted, 'quoted' and "quoted" parts, joined; blanks around them do not count."""
        parts: list[str] = []
        while (char := self._peek()) is not None and char not in _LINE_ENDS:
            if char in _BLANKS:
                self._next()
            elif char == "'":
                parts.append(self._read_quoted(name, "'"))
            elif char == '"':
                parts.append(self._read_quoted(name, '"'))
            else:
                parts.append(self._read_unquoted(name))
                break  # once a part without quotes has begun, quotes are ordinary characters
        return "".join(parts)

    def _read_unquoted(self, name: str) -> str:
        value: list[str] = []
        kept = 0  # length of the value up to its last character that counts
        while (char := self._peek()) is not None and char not in _LINE_ENDS:
            self._next()
            if char == "\\":
                escaped = self._next()
                if escaped is None:
                    raise self._error(f"{name} ends with a backslash")
                if escaped not in _LINE_ENDS:
                    value.append(escaped)
                kept = len(value)
                continue
            value.append(char)
            if char not in _BLANKS:
                kept = len(value)
        return "".join(value[:kept])

    def _read_quoted(self, name: str, mark: str) -> str:
        self._next()
        value: list[str] = []
        while (char := self._next()) is not None:
            if char == mark:
                return "".join(value)
            if char == "\\" and mark == '"':
                escaped = self._next()
                if escaped is None:
                    break
                if escaped in _ESCAPED_IN_QUOTES:
                    value.append(escaped)
                elif escaped != "\n":
                    value.append("\\" + escaped)
            else:
                value.append(char)
        raise self._error(f"{name} has a quote that is never closed")


def _has_control_character(value: str) -> bool:
    return any((char < " " and char != "\t") or char == "\x7f" for char in value)


def _is_utf8(value: str) -> bool:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True

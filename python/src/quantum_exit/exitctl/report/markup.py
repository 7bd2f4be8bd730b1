"""HTML and SVG that are escaped by construction: text is escaped unless it is markup."""

from __future__ import annotations

import html
from collections.abc import Iterable

from quantum_exit.exitctl.plain import plain

_TEXT_LIMIT = 2_000


class Markup(str):
    """Made by `tag` alone; everything else is text of somebody else."""

    __slots__ = ()


Content = str | Iterable["Content"] | None


def tag(name: str, *content: Content, **attributes: object) -> Markup:
    """`tag("td", reason, class_="x")`. A trailing `_` of a name is dropped, `_` becomes `-`.
    An attribute that is None or False is left out."""
    head = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escaped(value)}"'
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    return Markup(f"<{name}{head}>{markup(content)}</{name}>")


def markup(content: Content) -> Markup:
    if content is None:
        return Markup("")
    if isinstance(content, Markup):
        return content
    if isinstance(content, str):
        return Markup(escaped(content))
    return Markup("".join(markup(part) for part in content))


def escaped(value: object) -> str:
    """Also without what a browser would not show as it is written: control codes and marks
    that turn the direction of the text."""
    return html.escape(plain(value, _TEXT_LIMIT), quote=True)

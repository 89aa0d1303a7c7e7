"""HTML and SVG that cannot be broken by what is written into them: all text is escaped.

>>> tag("p", "1 < 2 ", tag("b", "indeed"), class_="fact")
'<p class="fact">1 &lt; 2 <b>indeed</b></p>'
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

Attribute = str | int | float | bool | None

# They have no content and no end tag, or, in SVG, seldom any.
_SVG = frozenset({"circle", "image", "line", "path", "rect"})
_VOID = _SVG | {"br", "link", "meta"}


class Markup(str):
    """Markup that is finished: it is not escaped again."""

    __slots__ = ()


def tag(name: str, /, *children: str, **attributes: Attribute) -> Markup:
    """An element.

    Args:
        children: text, which is escaped, and `Markup`, which is not.
        attributes: by name, with "-" for "_" and without one at the end: `class_`, `text_anchor`.
            True gives an attribute without a value; None and False give none.
    """
    words = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.rstrip("_").replace("_", "-")
        if isinstance(value, float):
            value = f"{value:.6g}"
        words.append(key if value is True else f'{key}="{escape(str(value))}"')
    start = " ".join(words)
    if name in _VOID and not children:
        return Markup(f"<{start}/>" if name in _SVG else f"<{start}>")
    return Markup(f"<{start}>{join(children)}</{name}>")


def join(children: Iterable[str]) -> Markup:
    """Text and markup in a row, as one piece of markup."""
    return Markup("".join(c if isinstance(c, Markup) else escape(c) for c in children))

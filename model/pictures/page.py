"""The page of every picture and report: one file, with its style, that asks the network nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ossicle.model.pictures.markup import Markup, tag

_STYLE = Path(__file__).with_name("page.css")


def page(title: str, body: Sequence[Markup], *styles: Path) -> str:
    """An HTML document in light and dark.

    Args:
        title: of the document.
        body: its content.
        styles: more style sheets, written into it.
    """
    sheets = "".join(path.read_text(encoding="utf-8") for path in (_STYLE, *styles))
    document = tag(
        "html",
        tag(
            "head",
            tag("meta", charset="utf-8"),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("meta", name="color-scheme", content="light dark"),
            tag("title", title),
            tag("style", Markup(sheets)),
        ),
        tag("body", tag("main", *body)),
        lang="en",
    )
    return f"<!doctype html>\n{document}\n"


def facts_list(facts: Mapping[str, str]) -> Markup:
    """Facts by name, one below the other."""
    pairs = [part for name, text in facts.items() for part in (tag("dt", name), tag("dd", text))]
    return tag("dl", *pairs, class_="facts")

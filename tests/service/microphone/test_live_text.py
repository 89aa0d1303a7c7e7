"""Live text on a terminal, as its user sees it, and elsewhere."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ossicle.service.commands.live_text import LiveText, cut, wrap
from rich.cells import cell_len

_CODE_OR_TEXT = r"(\x1b\[\??\d*[A-Za-z]|\r|\n)|([^\x1b\r\n]+)"


class Terminal(io.StringIO):
    """A wide terminal, which follows the codes that move and erase and drops colours."""

    encoding = "utf-8"  # type: ignore[assignment]

    def isatty(self) -> bool:
        return True

    def screen(self) -> list[str]:
        lines = [""]
        row = 0
        for code, text in re.findall(
            r"(\x1b\[\??\d*[A-Za-z]|\r|\n)|([^\x1b\r\n]+)", self.getvalue()
        ):
            if text:
                lines[row] += text
            elif code == "\n":
                row += 1
                if row == len(lines):
                    lines.append("")
            elif code == "\r":
                assert self.erases_next
            elif code.endswith("A"):
                row -= int(code[2:-1])
            elif code == "\x1b[J":
                lines[row:] = [""]
            else:
                assert code.endswith(("m", "h", "l")), code
        return lines

    @property
    def erases_next(self) -> bool:
        """A return to the beginning of a line is always followed by erasing it."""
        return not re.search(r"\r(?!(\x1b\[\d+A)?\x1b\[J)", self.getvalue())


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    monkeypatch.setenv("LINES", "24")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)


@pytest.fixture
def terminal() -> Terminal:
    return Terminal()


def test_partials_are_rewritten_until_the_final_replaces_them(terminal: Terminal) -> None:
    text = LiveText(terminal)
    text.partial("every")
    text.partial("every day")
    assert terminal.screen() == ["every day …"]
    text.final("every day luigi")
    assert terminal.screen() == ["every day luigi", ""]
    text.partial("led")
    text.end()
    assert terminal.screen() == ["every day luigi", ""]


def test_long_partials_take_several_lines_and_finals_scroll_up_above_the_status(
    terminal: Terminal,
) -> None:
    text = LiveText(terminal)
    text.status([("listening", "31"), (" now", "")])
    text.partial("every day luigi led his flock to graze on the road")
    assert terminal.screen() == [
        "every day luigi led his flock",
        "to graze on the road …",
        "listening now",
    ]
    text.final("every day luigi led his flock to graze")
    assert terminal.screen() == ["every day luigi led his flock", "to graze", "listening now"]
    text.end()
    assert terminal.screen() == ["every day luigi led his flock", "to graze", ""]


def test_of_a_partial_that_is_too_long_the_newest_lines_are_shown(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LINES", "5")
    text = LiveText(terminal)
    text.partial(" ".join(f"word{number}" for number in range(30)))
    screen = terminal.screen()
    assert len(screen) == 3
    assert screen[-1].endswith("word29 …")


def test_a_terminal_that_became_narrower_is_cleared_of_the_wrapped_lines(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = LiveText(terminal)
    text.partial("every day luigi led his")
    monkeypatch.setenv("COLUMNS", "10")
    terminal.truncate(0)
    terminal.seek(0)
    text.final("")
    assert terminal.getvalue() == "\r\x1b[2A\x1b[J"  # 25 cells were three rows of ten


def test_what_stays_the_same_is_not_written_again(terminal: Terminal) -> None:
    text = LiveText(terminal)
    text.partial("every day")
    text.status([("on", "")])
    before = terminal.getvalue()
    text.partial("every day")
    text.status([("on", "")])
    assert terminal.getvalue() == before


def test_the_cursor_is_hidden_while_there_is_a_status(terminal: Terminal) -> None:
    text = LiveText(terminal)
    text.status([("on", "")])
    assert terminal.getvalue().count("\x1b[?25l") == 1
    text.end()
    assert terminal.getvalue().endswith("\x1b[?25h")


def test_no_color_means_none(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    text = LiveText(terminal)
    text.partial("every")
    text.status([("on", "31")])
    assert not re.search(r"\x1b\[\d*m", terminal.getvalue())


def test_an_encoding_without_a_character_gets_another(terminal: Terminal) -> None:
    terminal.encoding = "ascii"  # type: ignore[misc]
    text = LiveText(terminal)
    assert not text.can_show("█")
    text.partial("naïve")
    assert terminal.screen() == ["na?ve ..."]


@pytest.mark.parametrize("dumb", [True, False], ids=["dumb", "file"])
def test_where_lines_cannot_be_rewritten_finals_are_printed_and_partials_only_if_asked_for(
    dumb: bool, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    if dumb:
        monkeypatch.setenv("TERM", "dumb")
    quiet, full = (Terminal(), Terminal()) if dumb else (io.StringIO(), io.StringIO())
    for text in (LiveText(quiet), LiveText(full, partial_lines=True)):
        text.status([("on", "")])
        text.partial("every")
        text.final("every day " * 5)
        text.final("")
        text.end()
    assert quiet.getvalue() == "every day " * 5 + "\n"
    assert full.getvalue() == "  … every\n" + "every day " * 5 + "\n"


WORDS = st.lists(st.text(st.sampled_from("abcé漢字ｱ🙂"), min_size=1, max_size=40))


@given(WORDS, st.integers(2, 40))
def test_wrapped_lines_fit_and_only_long_words_are_cut(words: list[str], width: int) -> None:
    lines = wrap(" ".join(words), width)
    assert "".join(lines).replace(" ", "") == "".join(words)
    assert all(cell_len(line) <= width for line in lines)
    shown = {word for line in lines for word in line.split()}
    assert shown >= {word for word in words if cell_len(word) <= width}


def test_a_line_is_cut_between_its_pieces() -> None:
    pieces = [("漢字", "31"), (" on", ""), ("help", "2")]
    assert cut(pieces, 20) == pieces
    assert cut(pieces, 7) == pieces[:2]
    assert cut(pieces, 3) == []

"""The file of tokens: what it may say, how it is changed, and the commands that do."""

from __future__ import annotations

import hashlib
import json
import re
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
from ossicle.service.cli import app
from ossicle.service.security.tokens import (
    Token,
    edited_tokens,
    find_token,
    make_token,
    read_tokens,
)
from typer.testing import CliRunner

HASH = "0" * 64
runner = CliRunner()


def test_a_token_is_known_by_its_hash_alone() -> None:
    secret, token = make_token("mobile")
    assert re.fullmatch(r"ossicle_[A-Za-z0-9_-]{43}", secret)  # 256 bits
    assert token.sha256 == hashlib.sha256(secret.encode()).hexdigest()
    assert secret not in repr(token)
    others = [make_token(f"other-{number}")[1] for number in range(5)]
    assert find_token([*others, token], secret) == token
    for wrong in ("", secret[:-1], secret + "x", token.sha256, "\udcff"):
        assert find_token([*others, token], wrong) is None
    assert find_token([], secret) is None


@pytest.mark.parametrize(
    ("day", "expired"), [(None, False), ("2000-01-01", True), ("2999-12-31", False)]
)
def test_a_token_ends_on_its_day(day: str | None, expired: bool) -> None:
    assert Token("a", HASH, expires=day).expired is expired


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"name": "", "sha256": HASH}, "the name '' cannot be one"),
        ({"name": "a b", "sha256": HASH}, "the name 'a b' cannot be one"),
        ({"name": "a\n", "sha256": HASH}, "cannot be one"),
        ({"name": 5, "sha256": HASH}, "the name 5 cannot be one"),
        ({"name": "a"}, "sha256 is missing"),
        ({"name": "a", "sha256": "f00"}, "sha256 of a is not 64"),
        ({"name": "a", "sha256": HASH, "max_streams": -1}, "max_streams of a is -1"),
        ({"name": "a", "sha256": HASH, "max_streams": True}, "max_streams of a is True"),
        ({"name": "a", "sha256": HASH, "max_calls_per_minute": 1.5}, "minute of a is 1.5"),
        ({"name": "a", "sha256": HASH, "expires": "soon"}, "expires of a is 'soon'"),
        ({"name": "a", "sha256": HASH, "expires": 2027}, "expires of a is 2027"),
        ({"name": "a", "sha256": HASH, "admin": True}, "'admin' is not known"),
        ("ossicle_x", "'ossicle_x' is not an object"),
    ],
)
def test_an_entry_that_makes_no_sense_is_named(entry: Any, message: str, tmp_path: Path) -> None:
    file = tmp_path / "tokens.json"
    file.write_text(json.dumps({"tokens": [entry]}))
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        read_tokens(file)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "Expecting value"),
        (b"[]", "not an object"),
        (b'{"tokens": 5}', "not iterable"),
        (b'{"tokens": [], "more": 1}', '"tokens" alone'),
        (b"\xff\xfe", "decode"),
        (b"[" * 100_000, "no file of tokens"),
        (
            json.dumps({"tokens": [{"name": "a", "sha256": c * 64} for c in "01"]}).encode(),
            "two tokens have the name a",
        ),
        (
            json.dumps({"tokens": [{"name": n, "sha256": HASH} for n in "ab"]}).encode(),
            "two tokens have the sha256",
        ),
    ],
)
def test_what_is_no_file_of_tokens_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    file = tmp_path / "tokens.json"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_tokens(file)


def test_a_changed_file_replaces_the_old_one_and_keeps_its_mode(tmp_path: Path) -> None:
    file = tmp_path / "tokens.json"
    with edited_tokens(file, create=True) as tokens:
        tokens.append(Token("a", HASH, 4, 60, "2027-01-31"))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.chmod(0o640)
    with edited_tokens(file) as tokens:
        tokens.append(Token("b", "1" * 64))
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert read_tokens(file) == (Token("a", HASH, 4, 60, "2027-01-31"), Token("b", "1" * 64))
    assert [path.name for path in tmp_path.iterdir()] == ["tokens.json"]


def test_an_error_while_it_is_changed_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "tokens.json"
    with edited_tokens(file, create=True) as tokens:
        tokens.append(Token("a", HASH))

    def fail() -> None:
        with edited_tokens(file) as tokens:
            tokens.clear()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert read_tokens(file) == (Token("a", HASH),)
    assert [path.name for path in tmp_path.iterdir()] == ["tokens.json"]
    with pytest.raises(FileNotFoundError), edited_tokens(tmp_path / "missing.json"):
        pass


def test_of_two_who_change_it_at_once_one_is_told(tmp_path: Path) -> None:
    file = tmp_path / "tokens.json"
    inside, leave = threading.Event(), threading.Event()

    def slowly() -> None:
        with edited_tokens(file, create=True) as tokens:
            tokens.append(Token("slow", HASH))
            inside.set()
            leave.wait(20)

    thread = threading.Thread(target=slowly)
    thread.start()
    assert inside.wait(20)
    with pytest.raises(OSError, match="somebody else is changing"), edited_tokens(file):
        pass
    leave.set()
    thread.join()
    assert [token.name for token in read_tokens(file)] == ["slow"]


def test_a_file_behind_a_link_is_changed_and_the_link_stays(tmp_path: Path) -> None:
    file, link = tmp_path / "tokens.json", tmp_path / "link.json"
    with edited_tokens(file, create=True) as tokens:
        tokens.append(make_token("one")[1])
    link.symlink_to(file)
    with edited_tokens(link) as tokens:
        tokens.append(make_token("two")[1])
    assert link.is_symlink()
    assert [token.name for token in read_tokens(file)] == ["one", "two"]


def test_the_commands_make_list_and_remove_tokens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "tokens.json"
    monkeypatch.setenv("OSSICLE_TOKENS", str(file))
    monkeypatch.setenv("COLUMNS", "120")
    limits = ["--max-streams", "4", "--max-calls-per-minute", "60", "--expires", "2999-02-03"]
    added = runner.invoke(app, ["token", "add", "mobile", *limits])
    assert (added.exit_code, added.stderr) == (0, "")
    secret = added.stdout.strip()
    token = find_token(read_tokens(file), secret)
    assert token is not None
    assert (token.name, token.max_streams, token.max_calls_per_minute) == ("mobile", 4, 60)
    assert secret not in file.read_text()

    again = runner.invoke(app, ["token", "add", "mobile"])
    assert (again.exit_code, again.stdout) == (1, "")
    assert "has a token mobile; choose another name" in again.stderr
    assert runner.invoke(app, ["token", "add", "desktop"]).exit_code == 0

    file.write_text(file.read_text().replace("2999", "2001"))
    listed = runner.invoke(app, ["token", "list"])
    assert listed.exit_code == 0
    assert re.search(r"mobile\W+4\W+60\W+2001-02-03 \(it has\)", listed.stdout)
    assert re.search(r"desktop\W+any\W+any\W+never", listed.stdout)
    assert token.sha256 not in listed.stdout

    assert runner.invoke(app, ["token", "remove", "mobile"]).exit_code == 0
    assert [token.name for token in read_tokens(file)] == ["desktop"]
    missing = runner.invoke(app, ["token", "remove", "mobile"])
    assert missing.exit_code == 1
    assert "has no token mobile" in missing.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["add", "a b"], "the name 'a b' cannot be one"),
        (["add", "a", "--expires", "never"], "expires of a is 'never'"),
        (["add", "a", "--expires", "2001-02-03"], "--expires 2001-02-03 has come"),
        (["list"], "tokens.json: No such file"),
        (["remove", "a"], "tokens.json: No such file"),
    ],
)
def test_the_commands_fail_in_one_line(arguments: list[str], message: str, tmp_path: Path) -> None:
    file = tmp_path / "tokens.json"
    result = runner.invoke(app, ["token", *arguments, "--tokens", str(file)])
    assert (result.exit_code, result.stdout) == (1, "")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())

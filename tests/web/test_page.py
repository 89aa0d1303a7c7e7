"""What people do with the page besides speaking, and what it tells them when something is wrong."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from heard import shown, write_microphone
from ossicle.data.audio import read_audio
from ossicle.data.sample import sample_path
from ossicle.service import Recognizer
from ossicle.service.formats import Transcript, format_transcript
from ossicle.service.security.tokens import edited_tokens, make_token
from ossicle.service.values import Recognition
from processes import Served, serve, stop

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.timeout(400)

DROP = """([name, content]) => {
    const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File([bytes], name));
    for (const kind of ["dragover", "drop"]) {
        document.body.dispatchEvent(new DragEvent(kind, { dataTransfer, bubbles: true }));
    }
}"""

# The end of a recording is there once a final is shown, and then it cannot be read.
NO_END = """() => {
    const slice = Blob.prototype.slice;
    Blob.prototype.slice = function (start, end) {
        if (end < this.size) return slice.call(this, start, end);
        return { arrayBuffer: async () => {
            while (!document.querySelector("#finals p")) {
                await new Promise((resolve) => { setTimeout(resolve, 50); });
            }
            throw new DOMException("The file has changed.", "NotReadableError");
        } };
    };
}"""

# People think about whether they allow the microphone until window.allow() is called.
UNDECIDED = """() => {
    const devices = navigator.mediaDevices;
    const ask = devices.getUserMedia.bind(devices);
    const allowed = new Promise((resolve) => { window.allow = resolve; });
    devices.getUserMedia = async (wanted) => {
        await allowed;
        window.media = await ask(wanted);
        return window.media;
    };
}"""

ALLOWED_AND_CLOSED = """async () => {
    window.allow();
    while (!window.media?.getTracks().every(({ readyState }) => readyState === "ended")) {
        await new Promise((resolve) => { setTimeout(resolve, 50); });
    }
}"""


@pytest.fixture(scope="module")
def expected() -> Recognition:
    """What this process understands of the bundled recording."""
    with Recognizer(threads=1) as recognizer:
        return recognizer.recognize(sample_path(), words=True)


def drop(page: Page, content: bytes, name: str = "talk.flac") -> None:
    page.evaluate(DROP, [name, base64.b64encode(content).decode()])


def until_idle(page: Page) -> None:
    page.locator('body[data-state="idle"]').wait_for()


def drop_sample(page: Page) -> None:
    drop(page, sample_path().read_bytes())
    page.locator("#finals p").last.wait_for()
    until_idle(page)


def notice(page: Page) -> str:
    page.locator("#notice").wait_for()
    return page.locator("#notice-text").inner_text()


def press_start(page: Page) -> None:
    page.get_by_role("button", name="Start").click()


def bring_back(page: Page) -> None:
    page.get_by_role("button", name="Bring it back").click()


def test_a_dropped_file_becomes_the_text_of_this_process(
    page: Page, served: Served, expected: Recognition
) -> None:
    page.goto(served.page)
    drop_sample(page)
    assert shown(page) == [segment.text for segment in expected.segments]
    assert page.locator("#status").inner_text() == "Done"
    assert page.locator("#time").inner_text() == "0:09"
    assert page.locator("#speed").inner_text().endswith("×")
    assert page.locator("#partial").inner_text() == ""
    doubtful = [w.text for s in expected.segments for w in s.words if w.confidence < 0.5]
    assert page.locator("#finals i").all_inner_texts() == doubtful


def test_a_file_is_opened_by_its_button_and_a_new_one_takes_its_place(
    page: Page, served: Served, expected: Recognition
) -> None:
    page.goto(served.page)
    for _ in range(2):
        page.get_by_label("Open a recording").set_input_files(sample_path())
        page.locator("#finals p").wait_for()
        until_idle(page)
    assert shown(page) == [segment.text for segment in expected.segments]
    page.get_by_role("button", name="Clear").click()
    assert shown(page) == []
    assert page.get_by_role("button", name="Copy").is_disabled()
    bring_back(page)
    assert shown(page) == [segment.text for segment in expected.segments]
    assert page.locator("#notice").is_hidden()


def test_a_transcript_is_brought_back_only_when_nothing_is_transcribed(
    page: Page, served: Served, expected: Recognition
) -> None:
    page.goto(served.page)
    drop_sample(page)
    page.evaluate("Blob.prototype.slice = () => ({ arrayBuffer: () => new Promise(() => {}) })")
    drop(page, sample_path().read_bytes())
    bring_back(page)
    assert notice(page) == "Stop first; then it can be brought back."
    assert shown(page) == []
    page.get_by_role("button", name="Stop").click()
    until_idle(page)
    bring_back(page)
    assert shown(page) == [segment.text for segment in expected.segments]


def test_downloads_are_the_files_of_the_command_line(
    page: Page, served: Served, expected: Recognition
) -> None:
    page.goto(served.page)
    drop_sample(page)
    transcript = Transcript("", expected.duration, "", "", expected.segments)
    for button, form in (("text", "txt"), ("SRT", "srt"), ("VTT", "vtt")):
        with page.expect_download() as download:
            page.get_by_role("button", name=f"Download as {button}").click()
        assert download.value.suggested_filename == f"transcript.{form}"
        content = Path(download.value.path()).read_text(encoding="utf-8")
        assert content == format_transcript(transcript, form)


def test_the_text_is_copied(browser: Browser, served: Served, expected: Recognition) -> None:
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto(served.page)
    drop_sample(page)
    page.get_by_role("button", name="Copy").click()
    page.get_by_text("Copied").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.splitlines() == [segment.text for segment in expected.segments]
    context.close()


def test_words_to_expect_and_the_theme_are_remembered(page: Page, served: Served) -> None:
    page.emulate_media(color_scheme="light")
    page.goto(served.page)
    page.get_by_role("button", name="Dark colours").click()
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Words to expect").fill("Palestrina\nLuigi")
    page.get_by_role("button", name="Done").click()
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    sent: list[str] = []
    page.on(
        "websocket",
        lambda socket: socket.on(
            "framesent", lambda frame: sent.append(frame) if isinstance(frame, str) else None
        ),
    )
    drop_sample(page)
    config = json.loads(sent[0])["streamingConfig"]["config"]
    assert config["speechContexts"] == [{"phrases": ["Palestrina", "Luigi"]}]


def test_only_finals_are_read_aloud(page: Page, served: Served) -> None:
    page.goto(served.page)
    live = page.locator("[aria-live], [role=log]")
    told = {part.get_attribute("id"): part.get_attribute("aria-live") for part in live.all()}
    assert told == {"finals": "polite", "partial": "off"}


def test_everything_is_reached_by_the_keyboard(page: Page, served: Served) -> None:
    page.goto(served.page)
    drop_sample(page)
    reached = []
    for _ in range(14):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate("document.activeElement.id || document.activeElement.dataset.format")
        )
    wanted = ["captions", "theme", "settings", "page", "file", "start"]
    wanted += ["copy", "txt", "srt", "vtt", "clear"]
    assert [name for name in reached if name in wanted][: len(wanted)] == wanted
    page.locator("#captions").focus()
    page.keyboard.press("Enter")
    assert page.locator("#captions").get_attribute("aria-pressed") == "true"
    page.keyboard.press("Escape")
    assert page.locator("#captions").get_attribute("aria-pressed") == "false"


@pytest.mark.parametrize("width", [320, 390, 700, 1280])
def test_nothing_is_wider_than_the_window(page: Page, served: Served, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 700})
    page.goto(served.page)
    drop_sample(page)
    for captions in (False, True):
        if captions:
            page.get_by_role("button", name="Captions").click()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for button in page.locator("button, .button").all():
            if (box := button.bounding_box()) is not None:
                assert 0 <= box["x"] <= box["x"] + box["width"] <= width
                assert box["height"] >= 44


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_axe_finds_nothing_serious(page: Page, served: Served, theme: Any, width: int) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()

    def check(state: str) -> None:
        found = axe.run(page).response["violations"]
        serious = [(v["id"], v["help"]) for v in found if v["impact"] in ("serious", "critical")]
        assert serious == [], state

    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=theme, reduced_motion="reduce")
    page.goto(served.page)
    check("empty")
    drop_sample(page)
    check("transcript")
    page.get_by_role("button", name="Clear").click()
    check("notice")
    bring_back(page)
    page.get_by_role("button", name="Captions").click()
    check("captions")
    page.get_by_role("button", name="Settings").click()
    check("settings")


def test_a_file_that_is_no_recording_is_told(page: Page, served: Served) -> None:
    page.goto(served.page)
    drop(page, b"This is a text, and no recording of anybody." * 9, "talk.txt")
    assert notice(page).startswith("The server says: ")
    until_idle(page)


def test_a_file_of_which_nothing_is_understood_takes_no_transcripts_place(
    page: Page, served: Served, expected: Recognition
) -> None:
    page.goto(served.page)
    drop_sample(page)
    drop(page, b"This is a text, and no recording of anybody." * 9, "talk.txt")
    page.get_by_text("The server says: ").wait_for()
    until_idle(page)
    assert shown(page) == [segment.text for segment in expected.segments]
    assert page.get_by_role("button", name="Bring it back").is_hidden()


def test_a_file_that_fails_later_leaves_both_transcripts(
    page: Page, served: Served, expected: Recognition, tmp_path: Path
) -> None:
    speech = read_audio(sample_path())[: 6 * 16_000]
    pause = np.zeros(3 * 16_000, np.float32)
    recording = write_microphone(np.concatenate([speech, pause]), tmp_path / "talk.wav")
    page.goto(served.page)
    drop_sample(page)
    page.evaluate(NO_END)
    drop(page, recording.read_bytes(), "talk.wav")
    page.get_by_text("The recording cannot be read").wait_for()
    until_idle(page)
    understood = shown(page)
    assert understood
    bring_back(page)
    assert shown(page) == [segment.text for segment in expected.segments]
    bring_back(page)
    assert shown(page) == understood


def test_a_file_that_cannot_be_read_is_told(page: Page, served: Served) -> None:
    page.goto(served.page)
    page.evaluate(
        "Blob.prototype.slice = () => ({ arrayBuffer: () => Promise.reject("
        "new DOMException('The file has changed.', 'NotReadableError')) })"
    )
    drop(page, sample_path().read_bytes(), "talk.flac")
    assert notice(page).startswith("The recording cannot be read: The file has changed. Drop it")
    until_idle(page)


def test_a_refused_microphone_is_explained(launch: Callable[..., Browser], served: Served) -> None:
    browser = launch(refused=True)
    page = browser.new_page()
    page.goto(served.page)
    press_start(page)
    assert "The microphone was refused. Allow it" in notice(page)
    until_idle(page)
    browser.close()


def test_who_has_cancelled_is_not_heard_any_more(page: Page, served: Served) -> None:
    page.goto(served.page)
    page.evaluate(UNDECIDED)
    press_start(page)
    page.get_by_role("button", name="Cancel").click()
    until_idle(page)
    page.evaluate(ALLOWED_AND_CLOSED)
    assert page.locator("#status").inner_text() == "Ready"
    assert page.locator("#time").inner_text() == "0:00"
    assert page.locator("#notice").is_hidden()


def test_an_insecure_page_says_why_there_is_no_microphone(
    launch: Callable[..., Browser], served: Served
) -> None:
    browser = launch(names="MAP ossicle.example 127.0.0.1")
    page = browser.new_page()
    page.goto(served.page.replace("127.0.0.1", "ossicle.example"))
    press_start(page)
    assert "only to pages over https, or on localhost" in notice(page)
    drop(page, sample_path().read_bytes())
    page.get_by_text("--http-origin http://ossicle.example").wait_for()
    browser.close()


def test_a_server_that_is_away_is_told_and_nothing_is_lost(
    page: Page, expected: Recognition
) -> None:
    server = serve("--http", "0", "--threads", "1")
    page.goto(server.page)
    drop_sample(page)
    assert stop(server) == 0
    press_start(page)
    assert "The server does not answer. What is here stays here" in notice(page)
    assert shown(page) == [segment.text for segment in expected.segments]
    until_idle(page)
    page.get_by_role("button", name="Download as SRT").click()
    page.get_by_text("TXT needs no server").wait_for()


def test_a_full_server_and_a_missing_token_are_told(
    page: Page, browser: Browser, tmp_path: Path
) -> None:
    secret, token = make_token("page", max_streams=1)
    with edited_tokens(tmp_path / "tokens.json", create=True) as tokens:
        tokens.append(token)
    server = serve("--http", "0", "--threads", "1", "--tokens", str(tmp_path / "tokens.json"))
    page.goto(server.page)
    press_start(page)
    page.get_by_text("This server answers only those who have a token").wait_for()
    page.get_by_label("Token").fill(secret)
    page.get_by_role("button", name="Done").click()
    drop_sample(page)
    assert shown(page)
    press_start(page)
    page.locator('body[data-state="live"]').wait_for()
    page.locator("#time", has_text="0:1").wait_for()
    other = page.context.new_page()
    other.goto(server.page)
    other.get_by_role("button", name="Settings").click()
    other.get_by_label("Token").fill(secret)
    other.get_by_role("button", name="Done").click()
    drop(other, sample_path().read_bytes())
    assert notice(other).startswith("The server is busy: the token page has 1 stream open")
    page.get_by_role("button", name="Stop").click()
    until_idle(page)
    assert stop(server) == 0

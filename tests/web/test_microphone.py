"""A person speaks into the page: Chromium's microphone plays a recording."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import jiwer
import numpy as np
import pytest
from heard import PATIENCE_MS, Sent, fidelity, shifted, shown, transcript, write_microphone
from ossicle.data.audio import read_audio
from ossicle.data.pcm import to_linear16
from ossicle.data.sample import sample_path
from processes import Served, serve, stop

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

playwright = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.timeout(400)
# Below this the browser had no time to play the recording without gaps.
CLEAN_DECIBELS = 25.0
TRIES = 3

CLOSE_TWICE = """async () => {
    const { Microphone } = await import("/page/audio.js");
    const microphone = await Microphone.open("", () => {}, () => {});
    await Promise.all([microphone.close(), microphone.close()]);
    await microphone.close();
    return microphone.context.state;
}"""


def finish(page: Page) -> None:
    page.get_by_role("button", name="Stop").click()
    page.locator('body[data-state="idle"]').wait_for()


def test_finals_are_those_of_this_process_for_the_same_recording(
    page: Page, served: Served
) -> None:
    """Word for word for what the page has sent, which is the recording, a little later.

    The sound card of a browser is not the file: it begins when it likes, and its samples lie
    between those of the file. So the words for what was sent must be equal, what was sent must be
    the recording, and its words those of the recording at the same delay, but for a few that the
    model is not sure about.
    """
    original = read_audio(sample_path())
    for _ in range(TRIES):
        page.goto(served.page)
        sent = Sent(page)
        page.get_by_role("button", name="Start").click()
        # The recording is over in 10 s; a final follows 1.2 s after its end.
        with suppress(playwright.TimeoutError):
            page.locator("#finals p").wait_for(timeout=40_000)
        finish(page)
        (audio,) = sent.connections
        words = shown(page)
        assert words == transcript(audio)
        assert re.fullmatch(r"\d+ ms", page.locator("#speed").inner_text())
        delay, decibels = fidelity(audio, original)
        if decibels > CLEAN_DECIBELS:
            same = shifted(original, delay, len(audio) // 2)
            expected = transcript(to_linear16(same))
            assert jiwer.wer(" ".join(expected), " ".join(words)) < 0.2
            return
    pytest.skip(f"the browser could not play the recording without gaps in {TRIES} tries")


def test_a_microphone_that_is_closed_stays_closed(page: Page, served: Served) -> None:
    page.goto(served.page)
    # Browsers have no sound for a page that nobody has touched.
    page.get_by_role("button", name="Captions").click()
    assert page.evaluate(CLOSE_TWICE) == "closed"


def test_a_stream_goes_on_when_its_server_is_killed_and_started_again(
    launch: Callable[..., Browser], tmp_path: Path
) -> None:
    """Nothing is lost and nothing comes twice: the words are those of one stream of all audio."""
    speech = read_audio(sample_path())[: 6 * 16_000]
    pause = np.zeros(3 * 16_000, np.float32)
    spoken = write_microphone(np.concatenate([speech, pause, speech]), tmp_path / "twice.wav")
    server = serve("--http", "0", "--threads", "1")
    browser = launch(microphone=spoken)
    page = browser.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.goto(server.page)
    sent = Sent(page)
    page.get_by_role("button", name="Start").click()
    page.locator("#finals p").wait_for()
    # In the midst of what comes after the first final.
    page.locator("#partial", has_text=re.compile(r"\w+ \w+")).wait_for()
    server.kill()
    page.get_by_text("Connection lost; going on from").wait_for()
    port = server.page.rstrip("/").rpartition(":")[2]
    server = serve("--http", port, "--threads", "1")
    page.locator("#status", has_text="Listening").wait_for()
    page.locator("#finals p").nth(1).wait_for()
    finish(page)
    words = shown(page)
    browser.close()
    assert stop(server) == 0
    first, last = sent.connections[0], sent.connections[-1]
    config = sent.configs[-1]
    assert config["previousTranscripts"] == words[:1]
    # The last connection begins where the first final ended.
    begin = 2 * round(16_000 * sent.ends[0])
    assert first[begin : begin + 3200] == last[:3200]
    assert len(first) > begin + 3200
    assert words == transcript(bytes(first[:begin]) + bytes(last))

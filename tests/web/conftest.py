"""A real Chromium whose microphone plays a recording."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from heard import PATIENCE_MS, write_microphone
from ossicle.data.audio import read_audio
from ossicle.data.sample import sample_path
from processes import Served, serve, stop

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

POLICY = "Content Security Policy"
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="session")
def microphone_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the microphone hears: the bundled recording, at the rate of a sound card."""
    path = tmp_path_factory.mktemp("microphone") / "luigi.wav"
    return write_microphone(read_audio(sample_path()), path)


# Stopped after each file: tests that run after these, in the same process, need its event loop.
@pytest.fixture(scope="module")
def launch(microphone_file: Path) -> Iterator[Callable[..., Browser]]:
    """Starts a browser: its microphone plays a file or is refused, names are as in DNS."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is missing: pip install 'ossicle[dev]'"
    )
    named = os.environ.get("OSSICLE_CHROMIUM")
    found = named or next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        pytest.skip("Chromium is missing: install it, or name it by OSSICLE_CHROMIUM")
    with playwright.sync_playwright() as running:

        def start(
            *, refused: bool = False, names: str = "", microphone: Path = microphone_file
        ) -> Browser:
            ui = ["--deny-permission-prompts"] if refused else ["--use-fake-ui-for-media-stream"]
            browser: Browser = running.chromium.launch(
                executable_path=found,
                args=[
                    *ui,
                    f"--host-resolver-rules={names}",
                    "--no-sandbox",
                    "--use-fake-device-for-media-stream",
                    f"--use-file-for-fake-audio-capture={microphone}%noloop",
                ],
            )
            return browser

        yield start


@pytest.fixture(scope="module")
def browser(launch: Callable[..., Browser]) -> Iterator[Browser]:
    browser = launch()
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def served() -> Iterator[Served]:
    server = serve("--http", "0", "--threads", "1")
    yield server
    assert stop(server) == 0


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh page, in which no script may fail and nothing may break the policy."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, accept_downloads=True)
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    wrong: list[Any] = []
    page.on("pageerror", lambda error: wrong.append(error))
    page.on("console", lambda line: wrong.append(line.text) if POLICY in line.text else None)
    yield page
    context.close()
    assert wrong == []

"""The recording of a page: it is heard from where the picture is clicked."""

from __future__ import annotations

import wave
from base64 import b64encode
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from ossicle.data.pcm import to_linear16
from ossicle.model.config import SAMPLE_RATE
from ossicle.model.pictures.markup import Markup, join, tag

# A click in the picture plays from there, and a line follows what is heard.
_SCRIPT = """
const sound = document.querySelector("audio");
const picture = document.querySelector(".scroll svg");
const line = picture.querySelector(".playhead");
const pixels = Number(picture.dataset.pixels);
picture.addEventListener("click", event => {
  sound.currentTime = (event.clientX - picture.getBoundingClientRect().left) / pixels;
  sound.play();
});
const follow = () => {
  const x = sound.currentTime * pixels;
  line.setAttribute("x1", x);
  line.setAttribute("x2", x);
  line.setAttribute("visibility", "visible");
  if (!sound.paused) requestAnimationFrame(follow);
};
sound.addEventListener("play", follow);
sound.addEventListener("seeked", follow);
"""


def player(samples: NDArray[np.float32]) -> Markup:
    """Plays samples (N,) at 16 kHz, and moves the line of the page's timeline along.

    It may stand before or after the timeline.
    """
    sound = tag("audio", controls=True, src=_sound(samples), aria_label="The recording")
    return join([sound, tag("script", Markup(_SCRIPT), type="module")])


def _sound(samples: NDArray[np.float32]) -> str:
    """The samples as a WAV file in a data URI."""
    file = BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(SAMPLE_RATE)
        out.writeframes(to_linear16(samples))
    return f"data:audio/wav;base64,{b64encode(file.getvalue()).decode()}"

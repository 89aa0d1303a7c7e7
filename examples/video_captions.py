"""Captions for a video, or any recording, of any length: film.mkv gets film.vtt.

python examples/video_captions.py film.mkv
"""

import sys
from pathlib import Path

from ossicle.data.audio import stream_audio
from ossicle.service import Recognizer
from ossicle.service.formats import Transcript, segment_of, to_vtt

film = Path(sys.argv[1])
segments = []
seconds = 0.0
with Recognizer() as speech:
    model = speech.list_models().models[0]
    # Samples are decoded as they are needed: hours need no more memory than minutes.
    chunks = stream_audio(film)
    for result in speech.stream(chunks, encoding="linear16", sample_rate=16_000, words=True):
        seconds = result.audio_processed
        if result.text:
            segments.append(segment_of(result.alternatives))
            print(f"{segments[-1].start:8.2f}  {result.text}")

transcript = Transcript(film.name, seconds, model.languages[0], model.name, tuple(segments))
film.with_suffix(".vtt").write_text(to_vtt(transcript), encoding="utf-8")

"""Captions while somebody speaks: into the microphone, or, here, from a recording.

python examples/live_captions.py                          # needs: pip install 'ossicle[mic]'
python examples/live_captions.py data/sample/luigi.flac
"""

import sys
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from ossicle.data.audio import stream_audio
from ossicle.service import Recognizer

RATE = 16_000


def microphone() -> Iterator[NDArray[np.float32]]:
    """Samples (1600,), a tenth of a second at a time."""
    import sounddevice

    with sounddevice.InputStream(RATE, RATE // 10, channels=1, dtype="float32") as stream:
        while True:
            samples, _ = stream.read(RATE // 10)
            yield samples[:, 0]


chunks = stream_audio(sys.argv[1], 0.1) if len(sys.argv) > 1 else microphone()
with Recognizer() as speech:
    results = speech.stream(chunks, encoding="linear16", sample_rate=RATE, interim_results=True)
    for result in results:
        # A partial is written over the one before; a final stays.
        print(f"\r\x1b[K{result.text}", end="\n" if result.is_final else "", flush=True)

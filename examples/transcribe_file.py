"""Transcribe a recording in this process, with the time and the confidence of every word.

python examples/transcribe_file.py data/sample/luigi.flac
"""

import sys

from ossicle.service import OssicleError, Recognizer

with Recognizer() as speech:
    try:
        heard = speech.recognize(sys.argv[1], words=True, timeout=None)
    except (OssicleError, OSError) as error:
        sys.exit(f"{sys.argv[1]}: {error}")

print(heard.text)
for segment in heard.segments:
    for word in segment.words:
        print(f"{word.start:7.2f} {word.end:7.2f} {word.confidence:5.2f}  {word.text}")

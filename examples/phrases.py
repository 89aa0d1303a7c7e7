"""Hear the same recording with and without phrases to expect, and what else it could have been.

python examples/phrases.py data/sample/luigi.flac "road that leads" Palestrina
"""

import sys

from ossicle.service import Recognizer, SpeechContext

file, *phrases = sys.argv[1:]
with Recognizer() as speech:
    print("without", speech.recognize(file).text, sep="\t")
    for boost in (5, 10, 20):
        expected = [SpeechContext(phrases, boost=boost)]
        heard = speech.recognize(file, speech_contexts=expected, alternatives=3)
        print(f"boost {boost}", heard.text, sep="\t")
        for segment in heard.segments:
            for other in segment.alternatives[1:]:
                print("or", other.text, sep="\t")

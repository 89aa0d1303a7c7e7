"""Many recordings, several at a time as one batch: a folder of texts beside a list of failures.

    python examples/batch.py texts/ recordings/*.flac

`ossicle transcribe -o texts/ recordings/` does this and more: it goes on where it was interrupted,
shows how far it is, and writes subtitles too.
"""

import sys
from pathlib import Path

from ossicle.model.folder import LoadedModel
from ossicle.model.runtime import find_model
from ossicle.service.formats import Transcript, to_txt
from ossicle.service.transcribe import transcribe

folder, recordings = Path(sys.argv[1]), sys.argv[2:]
folder.mkdir(parents=True, exist_ok=True)
loaded = LoadedModel.load(find_model(), threads=2)
failed = 0
for outcome in transcribe(recordings, loaded.network, loaded.decoding, slots=8):
    if isinstance(outcome, Transcript):
        target = folder / f"{Path(outcome.file).stem}.txt"
        target.write_text(to_txt(outcome), encoding="utf-8")
        print(f"{target}: {outcome.duration:.1f} s")
    else:
        failed += 1
        print(f"{outcome.file}: {outcome.message}", file=sys.stderr)
sys.exit(failed > 0)

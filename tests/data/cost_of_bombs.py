"""What decoding each bomb takes: a line of JSON for each, measured in a process of its own.

In one that runs other tests, the peak of memory would be theirs.
"""

from __future__ import annotations

import json
import random
import re
import time
from pathlib import Path

from bombs import bombs
from hostile_media import HostileMedia
from ossicle.data.audio import AudioError, open_decoder

LONGEST = 120.0


def decoded_seconds(data: bytes, rng: random.Random) -> float:
    """Decode bytes in pieces as a server does; what is refused has lasted until then."""
    samples = 0
    with open_decoder(max_seconds=LONGEST) as decoder:
        try:
            while data:
                size = rng.choice((1, 100, 4000, 100_000, 1 << 20))
                piece, data = data[:size], data[size:]
                samples += sum(len(block) for block in decoder.feed_blocks(piece))
            samples += sum(len(block) for block in decoder.finish_blocks())
        except AudioError:
            pass
    return samples / 16_000


def memory(what: str) -> float:
    """A line of this process' memory, in MiB."""
    found = re.search(rf"{what}:\s+(\d+) kB", Path("/proc/self/status").read_text("ascii"))
    assert found
    return int(found[1]) / 1024


def main() -> None:
    """Decode them one after the other."""
    for name, data in bombs(HostileMedia().recordings).items():
        before = memory("VmRSS")
        Path("/proc/self/clear_refs").write_text("5", "ascii")  # the peak is counted from now on
        began = time.process_time()
        cost = {
            "name": name,
            "decoded_seconds": decoded_seconds(data, random.Random(1)),
            "mebibytes": memory("VmHWM") - before,
            "processor_seconds": time.process_time() - began,
        }
        print(json.dumps(cost))


if __name__ == "__main__":
    main()

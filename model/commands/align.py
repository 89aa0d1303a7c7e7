"""The command `align`, mounted into `ossicle` by `service/cli.py`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from ossicle.model.commands.errors import fail, one_line
from ossicle.model.commands.options import ModelOption, ThreadsOption, thread_count
from rich.console import Console
from rich.progress import track

_out = Console()
_err = Console(stderr=True)


def align_command(
    manifest: Annotated[Path, typer.Argument(help="JSONL manifest of recordings and their texts.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The manifest to write.")],
    model: ModelOption = None,
    threads: ThreadsOption = 0,
    missing: Annotated[
        bool,
        typer.Option("--missing", help="Only lines without word times; the others stay."),
    ] = False,
) -> None:
    """Find when each word of known texts is said, and write that into a manifest.

    Each line gets `word_times`, the start and end in seconds of each word of its text in normal
    form. Lines whose text is not what the model hears get none, nor those whose recording cannot
    be decoded: these are listed, and the exit code is then 1.

    Ctrl-C writes what was found so far, unless that would replace another manifest; go on from it
    with `--missing`.

    Example: `ossicle align train.jsonl -o aligned.jsonl`
    """
    from dataclasses import replace

    from ossicle.data.manifest import ManifestError, Utterance, read_manifest, write_manifest
    from ossicle.model.decoding.decoders import Decoding
    from ossicle.model.decoding.known_text import Aligner
    from ossicle.model.runtime import AcousticModel, ModelError, find_model

    if not output.parent.is_dir():
        raise fail(f"--output {output}: there is no folder {output.parent}", code=2)
    if output.is_dir():
        raise fail(f"--output {output} is a folder; name a file", code=2)
    failures = []
    utterances: list[Utterance] = []
    try:
        folder = find_model(model)
        acoustic = AcousticModel.load(folder, threads=thread_count(threads))
        utterances = read_manifest(manifest)
        places = [i for i, each in enumerate(utterances) if not (missing and each.word_times)]
        sought = [replace(utterances[place], word_times=()) for place in places]
        for place, utterance in zip(places, sought, strict=True):
            utterances[place] = utterance
        align = Aligner(acoustic, Decoding.load(folder, acoustic.info))
        for number, aligned, failure in track(
            align(sought),
            "aligning",
            total=len(sought),
            console=_err,
            transient=True,
            disable=not sys.stderr.isatty(),
        ):
            utterances[places[number]] = aligned
            if failure:
                failures.append(failure)
        usable = not failures or len(failures) < len(utterances)
        if usable:
            write_manifest(output, utterances)
    except (ManifestError, ModelError, OSError) as error:
        raise fail(one_line(error)) from error
    except KeyboardInterrupt:
        goes_on = missing and output.exists() and output.samefile(manifest)
        if not any(each.word_times for each in utterances) or (output.exists() and not goes_on):
            raise fail("stopped; nothing was written", code=130) from None
        write_manifest(output, utterances)
        command = f"ossicle align {output} -o {output} --missing"
        raise fail(f"stopped; what was found is written; go on with: {command}", code=130) from None
    for failure in failures:
        _err.print(one_line(failure), highlight=False, markup=False, soft_wrap=True)
    if usable:
        found = sum(bool(utterance.word_times) for utterance in utterances)
        _out.print(
            f"{output}: the words of {found} of {len(utterances)} recordings have times",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    if failures:
        raise fail(f"{len(failures)} of {len(utterances)} recordings cannot be decoded")

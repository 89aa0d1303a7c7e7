"""The page of a report: what an evaluation found, for people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from ossicle.model.evaluation.breakdown import Breakdown, Confusion, confusions
from ossicle.model.evaluation.charts import (
    error_bars,
    interval_plot,
    noise_plot,
    percent,
    shared_ceiling,
)
from ossicle.model.evaluation.record import Record, reliability
from ossicle.model.evaluation.reliability import Curve, bins, reliability_svg
from ossicle.model.evaluation.scoring import RESAMPLES, Edit, EditKind, Recognized
from ossicle.model.pictures.markup import Markup, join, tag
from ossicle.model.pictures.page import facts_list, page

RECORD = "report.json"
SPEAKERS = 25  # shown of a set
CONFUSED_WORDS = 12  # shown of a kind and a set


def render(record: Record, sounds: Mapping[Path, str]) -> str:
    """The page.

    Args:
        sounds: links to recordings, by their path.
    """
    title = f"{record.settings.model}: evaluation"
    anchors = [(part, f"set-{i}") for i, part in enumerate(record.sets, 1)]
    body = [
        _head(record, anchors),
        _overview(record),
        _noise(record),
        _cost(record),
        *(_set(part, anchor, sounds) for part, anchor in anchors),
        _settings(record),
    ]
    return page(title, body, Path(__file__).with_name("report_page.css"))


def _head(record: Record, anchors: Sequence[tuple[Breakdown, str]]) -> Markup:
    settings = record.settings
    words = sum(part.score.words for part in record.sets)
    return tag(
        "header",
        tag("h1", settings.model),
        tag(
            "p",
            f"{settings.precision}, {settings.decoder}, streamed by {settings.chunk_ms} ms. "
            f"{words} words in {_counted(len(record.sets), 'set')}, {settings.date}.",
            class_="lead",
        ),
        tag("nav", *(tag("a", p.name, href=f"#{a}") for p, a in anchors), aria_label="Sets"),
    )


def _overview(record: Record) -> Markup:
    scores = {part.name: part.score for part in record.sets}
    heads = ("set", "recordings", "words", "WER", "CER", "substituted", "deleted", "inserted")
    rows = [
        tag(
            "tr",
            tag("td", name),
            tag("td", str(s.utterances)),
            tag("td", str(s.words)),
            _rate(s.wer, s.wer_low, s.wer_high, s.utterances),
            _rate(s.cer, s.cer_low, s.cer_high, s.utterances),
            *(tag("td", str(n)) for n in (s.substitutions, s.deletions, s.insertions)),
        )
        for name, s in scores.items()
    ]
    table = tag(
        "table",
        tag(
            "caption",
            f"In brackets: 95 % intervals, from {RESAMPLES} resamplings of the recordings.",
        ),
        tag("thead", tag("tr", *(tag("th", head, scope="col") for head in heads))),
        tag("tbody", *rows),
    )
    return tag(
        "section",
        tag("h2", "How much is understood"),
        tag("div", table, class_="scroll"),
        interval_plot("Word error rate, with 95 % intervals", scores),
        error_bars(
            "Kinds of errors in % of the words said: S substituted, D deleted, I inserted", scores
        ),
        tag(
            "p",
            "An interval tells what other recordings of the same speakers could have given. Where "
            "there are few speakers, others may be farther off than it says.",
            class_="note",
        ),
    )


def _noise(record: Record) -> Markup:
    noisy = [part for part in record.sets if part.by_snr]
    if not noisy:
        return Markup()
    top = shared_ceiling([s for p in noisy for s in (p.score, *p.by_snr.values())])
    plots = [noise_plot(p.name, p.score, p.by_snr, top) for p in noisy]
    return tag(
        "section",
        tag("h2", "In noise"),
        tag("p", "Word error rate with noise mixed in at signal-to-noise ratios, and without."),
        tag("div", *plots, class_="columns"),
    )


def _cost(record: Record) -> Markup:
    cost, settings = record.cost, record.settings
    facts = {
        "network": f"{cost.network:.4f} s of one core for a second of audio",
        "decoder": f"{cost.decoder:.4f} s of one core for a second of audio",
        "speed": f"{cost.speed:.0f} times real time, of {cost.audio_seconds:.0f} s of audio",
        "measured": f"{_counted(settings.batch, 'recording')} stepping together on "
        f"{_counted(settings.threads, 'thread')}; decoding of audio files not counted",
    }
    return tag("section", tag("h2", "What it costs"), facts_list(facts))


def _set(part: Breakdown, anchor: str, sounds: Mapping[Path, str]) -> Markup:
    blocks = [interval_plot("Word error rate by length of the recording", part.by_length)]
    if len(part.by_source) > 1:
        blocks.append(interval_plot("Word error rate by source", part.by_source))
    if len(part.by_speaker) > 1:
        blocks.append(_speakers(part))
    return tag(
        "section",
        tag("h2", part.name, id=anchor),
        tag(
            "p",
            f"{percent(part.score.wer)} word errors in {part.score.words} words.",
            class_="lead",
        ),
        *blocks,
        _confusions(part),
        _reliability(part),
        _worst(part, sounds),
    )


def _speakers(part: Breakdown) -> Markup:
    most = sorted(part.by_speaker.items(), key=lambda item: (-item[1].words, item[0]))[:SPEAKERS]
    rows = dict(sorted(most, key=lambda item: (-item[1].wer, item[0])))
    title = "Word error rate by speaker"
    if len(part.by_speaker) > SPEAKERS:
        title += f", of the {SPEAKERS} with the most words; all {len(part.by_speaker)} in {RECORD}"
    return interval_plot(title, rows)


def _confusions(part: Breakdown) -> Markup:
    tables = [
        _confusion_table("Most substituted", ("said", "heard"), _most(part, "substitute")),
        _confusion_table("Most deleted", ("said",), _most(part, "delete")),
        _confusion_table("Most inserted", ("heard",), _most(part, "insert")),
    ]
    return join([tag("h3", "Confused words"), tag("div", *tables, class_="columns")])


def _most(part: Breakdown, kind: EditKind) -> list[Confusion]:
    return confusions(part.recognized, kind, CONFUSED_WORDS)


def _confusion_table(title: str, heads: Sequence[str], rows: Sequence[Confusion]) -> Markup:
    if not rows:
        return tag("p", f"{title}: none.", class_="note")
    return tag(
        "table",
        tag("caption", title),
        tag("thead", tag("tr", *(tag("th", h, scope="col") for h in (*heads, "times")))),
        tag(
            "tbody",
            *(
                tag(
                    "tr",
                    *(tag("td", w) for w in (row.reference, row.hypothesis) if w),
                    tag("td", str(row.count)),
                )
                for row in rows
            ),
        ),
        class_="words",
    )


def _reliability(part: Breakdown) -> Markup:
    found = reliability(part)
    if found is None:
        return Markup()
    confidences, right = part.confidences()
    plot = reliability_svg([Curve(part.name, bins(confidences, right))])
    # Where all words are right, or all wrong, nothing is left to be told of them.
    entropy = f"normalised cross entropy {found.nce:.3f}, " if math.isfinite(found.nce) else ""
    return join(
        [
            tag("h3", "Confidence"),
            tag(
                "p",
                f"Of words heard with confidence 0.8, eight in ten should be right: on the "
                f"diagonal. Expected calibration error {found.ece:.3f}, {entropy}"
                f"{_counted(found.words, 'word')}, {percent(found.accuracy)} right.",
            ),
            tag("figure", plot, class_="reliability"),
        ]
    )


def _worst(part: Breakdown, sounds: Mapping[Path, str]) -> Markup:
    worst = part.worst()
    if not worst:
        return tag("p", "Every recording was understood without an error.")
    key = tag(
        "p",
        "The recordings with the most word errors. Above what was said, below what was heard: ",
        tag("span", tag("span", "substituted", class_="heard"), class_="substitute"),
        " ",
        tag("span", tag("del", "deleted"), class_="delete"),
        " ",
        tag("span", tag("ins", "inserted"), class_="insert"),
        class_="key",
    )
    return join(
        [
            tag("h3", "Worst recordings"),
            key,
            *(_utterance(item, sounds[item.utterance.audio_filepath]) for item in worst),
        ]
    )


def _utterance(item: Recognized, sound: str) -> Markup:
    said = len(item.reference.split())
    return tag(
        "article",
        tag(
            "header",
            tag(
                "audio",
                controls=True,
                preload="none",
                src=sound,
                aria_label=f"Recording: {item.reference}",
            ),
            tag("span", f"{_counted(item.errors, 'error')} in {_counted(said, 'word')}"),
            tag("span", f"{item.utterance.duration:.1f} s"),
            tag("span", item.utterance.speaker or "speaker unknown"),
            tag("a", item.utterance.audio_filepath.name, href=sound),
        ),
        tag("ol", *(_edit(edit) for edit in item.edits), class_="alignment"),
        class_="utterance",
    )


def _edit(edit: Edit) -> Markup:
    none = tag("span", "–", class_="none", aria_label="nothing")
    said = tag("del" if edit.kind == "delete" else "span", edit.reference)
    heard = tag("ins" if edit.kind == "insert" else "span", edit.hypothesis, class_="heard")
    return tag(
        "li",
        said if edit.reference else none,
        heard if edit.hypothesis else none,
        class_=edit.kind,
    )


def _settings(record: Record) -> Markup:
    s = record.settings
    facts = {
        "model": f"{s.model} {s.precision}, graph {s.model_digest}",
        "decoder": s.decoder,
        "streaming": f"steps of {s.chunk_ms} ms, {_counted(s.batch, 'recording')} together",
        "made": f"{s.date} by Ossicle {s.version}",
        **{f"manifest {part.name}": part.digest for part in record.sets},
    }
    if s.silence:
        facts["silence before each recording"] = f"{s.silence:g} s"
    if s.noise_digest:
        facts["noise manifest"] = s.noise_digest
    return tag(
        "section",
        tag("h2", "How it was measured"),
        tag("p", "References and hypotheses are compared in normal form. Digests are SHA-256."),
        facts_list(facts),
        tag("p", "All numbers and transcripts: ", tag("a", RECORD, href=RECORD), class_="note"),
    )


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _rate(rate: float, low: float, high: float, utterances: int) -> Markup:
    told = tag("span", percent(rate), class_="rate")
    if utterances == 1:  # resampling one recording tells nothing
        return tag("td", told)
    return tag("td", told, " ", tag("small", f"({percent(low)} to {percent(high)})"))

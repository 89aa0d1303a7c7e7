"""Words cut into graphones, and the model that pronounces and spells by them."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ossicle.model.evaluation.scoring import align_words
from ossicle.model.ngram.file import NgramError, write_trie
from ossicle.model.ngram.text import TextSource
from ossicle.model.ngram.training import NgramTrainingConfig, train_ngrams
from ossicle.model.pronunciation.alignment import Graphone, align
from ossicle.model.pronunciation.graphones import Graphones, train_graphones

DICTIONARY = """
able Ebxl  abroad xbrod  account xkWnt  active Aktiv  advice AdvQs  after AftR  agent Ejxnt
alice Alxs  allowed xlWd  along xloN  already olredI  amazon Amxzan  amidst xmidst  ancient EnCxnt
animal Anxmxl  another xnXDR  anxious ANkSxs  anyone enIwXn  appear xpir  armed armd  arose ROz
aside xsQd  asleep xslIp  attempt xtempt  away xwE  badly bAdlI  bare ber  bearing beriN
beauty byUtI  become bikXm  been bin  begin bigin  being bIiN  belongs biloNz  bent bent
best best  beyond biand  birds bRdz  block blak  blue blU  bodies badIz  books buks  both bOT
boys bYz  bravo bravO  breath breT  broad brod  brother brXDR  built bilt  burning bRniN  call kol
calling koliN  calmly kamlI  cancel kAnsxl  card kard  carry kArI  cast kAst  cause kaz
ceased sIst  chamber CEmbR  changed CEnjd  charlie CarlI  chief CIf  church CRC  class klAs
clearly klirlI  closed klOzd  clouds klWdz  coffee kafI  colonel kRnxl  comes kXmz  coming kXmiN
company kXmpxnI  console kansOl  cool kUl  count kWnt  course kors  cover kXvR  crept krept
crime krQm  crowd krWd  cure kyur  dance dAns  dark dark  deal dIl  decided disQdid  delight dilQt
dick dik  dinner dinR  divine divQn  dogs dagz  don't dOnt  done dXn  doth doT  down dWn
drawn dron  dress dres  drink driNk  drop drap  during duriN  eagerly IgRlI  ears irz  east Ist
echo ekO  effort efRt  eighth EtT  eleven ilevxn  ended endxd  english iNgliS  entered entRd
equally IkwxlI  even Ivin  ever evR  exactly igzAktlI  exist igzist  eyes Qz  faces fEsxz
failed fEld  faith fET  falls folz  fancy fAnsI  fast fAst  faye fE  feeling fIliN  fellow felO
field fIld  fifth fifT  figure figyR  finally fQnxlI  fine fQn  firmly fRmlI  fishing fiSiN
flame flEm  flesh fleS  floda flOdx  flowers flWRz  folk fOk  fool fUl  forced forst
forest forxst  form form  forth forT  forward forwRd  four for  frank frANk  freely frIlI
friday frQdI  from frXm  fully fulI  game gEm  gave gEv  gazing gEziN  gently jentlI
getting getiN  give giv  giving giviN  glanced glAnst  gods gadz  gold gOld  good gud  grand grAnd
gravely grEvlI  greater grEtR  grew grU  ground grWnd  growing grOiN  guards gardz  hair her
hand hAnd  hanging hANiN  hard hard  hate hEt  having hAviN  health helT  hearing hIriN
heaven hevxn  held held  help help  here hIr  hide hQd  higher hQR  hills hilz  hold hOld
home hOm  hope hOp  horse hors  hour WR  houses hWsxz  hundred hXndrxd  hurried hRId
husband hXzbxnd  indeed indId  instead insted  iron QRn  jack jAk  joey jOI  joined jYnd
juliet jUlIet  jumped jXmpt  just jXst  keeping kIpiN  killed kild  kindly kQndlI  kissed kist
know nO  knows nOz  laid lEd  land lAnd  late lEt  laughed lAft  leader lIdR  leaned lInd
learned lRnd  leaving lIviN  less les  letters letRz  life lQf  light lQt  lighted lQtxd  like lQk
lima lQmx  lines lQnz  little litxl  lives livz  lock lak  london lXndxn  look luk  looks luks
lose lUz  loved lXvd  lower lOR  lunch lXnC  madam mAdxm  mail mEl  make mEk  manner mAnR
mark mark  mary merI  match mAC  maybe mEbI  means mInz  medical medxkxl  members membRz
merely mirlI  might mQt  miles mQlz  mind mQnd  minute minxt  miss mis  mistake mistEk
moment mOmxnt  monster manstR  moon mUn  morning morniN  mother mXDR  mouth mWT  moving mUviN
music myUzik  name nEm  natural nACRxl  nearer nirR  neck nek  needs nIdz  never nevR  nice nQs
ninety nQntI  nobody nObadI  none nXn  note nOt  notice nOtxs  object abjekt  offered ofRd
often ofxn  ones wXnz  opened Opxnd  order ordR  oscar oskR  ought ot  paid pEd  pale pEl
papers pEpRz  parts parts  passage pAsxj  passion pASxn  paul pol  peace pIs  perfect pRfekt
person pRsxn  pick pik  piece pIs  pity pitI  places plEsxz  plane plEn  plants plAnts
playing plEiN  pocket pakxt  points pYnts  port port  poured pord  pray prE  pressed prest
prince prins  process prases  proof prUf  proved prUvd  pulled puld  purpose pRpxs  putting pXtiN
queen kwIn  quiet kwQxt  quite kwQt  rain rEn  rang rAN  reach rIC  reading rIdiN  really rilI
refused rxfyUzd  related rilEtid  remains rimEnz  replied riplQd  require rIkwQR  rest rest
results rizXlts  return ritRn  ride rQd  ring riN  risk risk  robert rabRt  rocket rakxt  roll rOl
romeo rOmIO  rose rOz  six siks
"""
"""Common English words, each with its pronunciation; here, phonemes are written in ASCII."""

PAIRS = [(word, sounds) for word, sounds in zip(*[iter(DICTIONARY.split())] * 2, strict=True)]
SOUNDS = "".join(sorted({sound for _, sounds in PAIRS for sound in sounds}))
LETTERS = "abcdefghijklmnopqrstuvwxyz'"


@pytest.fixture(scope="module")
def graphones(tmp_path_factory: pytest.TempPathFactory) -> Graphones:
    return train_graphones(PAIRS, tmp_path_factory.mktemp("graphones") / "graphones.ngram")


def test_letters_are_aligned_with_their_phonemes() -> None:
    cut = dict(zip((word for word, _ in PAIRS), align(PAIRS).words, strict=True))
    assert cut["light"] == (("l", "l"), ("igh", "Q"), ("t", "t"))
    assert cut["six"] == (("s", "s"), ("i", "i"), ("x", "ks"))
    assert cut["another"][-2:] == (("th", "D"), ("er", "R"))


def test_every_cut_word_is_whole() -> None:
    alignment = align(PAIRS)
    assert alignment.dropped == 0
    for (word, sounds), graphones in zip(PAIRS, alignment.words, strict=True):
        assert "".join(graphone.letters for graphone in graphones) == word
        assert "".join(graphone.phonemes for graphone in graphones) == sounds


def test_what_cannot_be_cut_is_dropped_and_counted() -> None:
    alignment = align([("w", "dXbxlyU"), ("so", "sO"), ("", "s"), ("ha", "hA")])
    assert alignment.dropped == 2
    assert alignment.words == [
        (Graphone("s", "s"), Graphone("o", "O")),
        (Graphone("h", "h"), Graphone("a", "A")),
    ]
    assert align([]).words == []


def test_long_words_are_cut() -> None:
    """Each letter and phoneme of the long word is so rare that the word's probability is none."""
    rare = "".join(map(chr, range(1000, 1090)))
    alignment = align([*PAIRS * 5, (rare, rare), ("a" * 101, "e" * 101)])
    assert alignment.dropped == 1
    assert "".join(graphone.letters for graphone in alignment.words[-1]) == rare


def test_known_words_come_back(graphones: Graphones) -> None:
    pronounced = sum(graphones.pronounce(word) == sounds for word, sounds in PAIRS)
    spelt = sum(graphones.spell(sounds) == word for word, sounds in PAIRS)
    assert pronounced > 0.9 * len(PAIRS)
    assert spelt > 0.9 * len(PAIRS)


def test_time_and_memory_do_not_grow_with_the_length_of_a_word(graphones: Graphones) -> None:
    """Longer words than there are are answered piece by piece."""
    letters = "".join(word for word, _ in PAIRS).replace(" ", "")[:3000]
    tracemalloc.start()
    sounds = graphones.pronounce(letters)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(sounds) > 0.5 * len(letters)
    assert sounds.startswith(graphones.pronounce(letters[:30]))
    assert peak < 20e6


def test_unknown_words_are_guessed(tmp_path: Path) -> None:
    model = train_graphones(
        [pair for place, pair in enumerate(PAIRS) if place % 10], tmp_path / "graphones.ngram"
    )
    heard = [(model.pronounce(word), sounds) for word, sounds in PAIRS[::10]]
    spelt = [(model.spell(sounds), word) for word, sounds in PAIRS[::10]]
    assert _error_rate(heard) < 0.35
    assert _error_rate(spelt) < 0.35


def _error_rate(guesses: list[tuple[str, str]]) -> float:
    """Characters inserted, left out and mistaken, to each character that is right."""
    edits = [
        edit
        for guess, right in guesses
        for edit in align_words(" ".join(right), " ".join(guess))
        if edit.kind != "equal"
    ]
    return len(edits) / sum(len(right) for _, right in guesses)


def test_phonemes_may_be_any_characters(graphones: Graphones, tmp_path: Path) -> None:
    other = {ord(sound): chr(0x250 + ord(sound)) for sound in SOUNDS}
    pairs = [(word, sounds.translate(other)) for word, sounds in PAIRS]
    model = train_graphones(pairs, tmp_path / "graphones.ngram")
    assert model.phonemes == SOUNDS.translate(other)
    for word in ("nation", "ossicle", "don't"):
        sounds = graphones.pronounce(word)
        assert model.pronounce(word) == sounds.translate(other)
        assert model.spell(sounds.translate(other)) == graphones.spell(sounds)


def test_the_file_is_the_model(tmp_path: Path) -> None:
    path = tmp_path / "graphones.ngram"
    pairs = [*PAIRS, ("naïve", "nAIv"), ("w", "dXbxlyU"), ("hm", ""), ("", "x")]
    trained = train_graphones(pairs, path, order=3, megabytes=0.015)
    first = path.read_bytes()
    assert len(first) <= 15_000
    assert trained.about == {"order": 3, "words": len(PAIRS), "left_out": 4}
    loaded = Graphones.load(path)
    assert loaded.about == trained.about
    assert loaded.pronounce("nation") == trained.pronounce("nation")
    train_graphones(pairs, path, order=3, megabytes=0.015)
    assert path.read_bytes() == first


def test_what_is_no_model_of_graphones_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NgramError, match="no words"):
        train_graphones([("w", "dXbxlyU")], tmp_path / "graphones.ngram")
    with pytest.raises(NgramError, match="words alone take"):
        train_graphones(PAIRS, tmp_path / "graphones.ngram", megabytes=0.01)
    assert not (tmp_path / "graphones.ngram").exists()
    (tmp_path / "text.txt").write_text("a model of words\n")
    words = train_ngrams([TextSource(tmp_path / "text.txt")], NgramTrainingConfig(order=2))
    write_trie(words, tmp_path / "lm.ngram")
    with pytest.raises(NgramError, match="not of graphones"):
        Graphones.load(tmp_path / "lm.ngram")


def test_other_characters_are_named(graphones: Graphones) -> None:
    with pytest.raises(ValueError, match="'É'"):
        graphones.pronounce("cafÉ")
    with pytest.raises(ValueError, match="' '"):
        graphones.pronounce("two words")
    with pytest.raises(ValueError, match="'!'"):
        graphones.spell("s!")


def test_nothing_is_nothing(graphones: Graphones) -> None:
    assert graphones.pronounce("") == ""
    assert graphones.spell("") == ""


@pytest.mark.parametrize("letter", LETTERS)
def test_a_letter_alone_is_something(graphones: Graphones, letter: str) -> None:
    assert graphones.pronounce(letter)


@pytest.mark.parametrize("word", ["x", "a", "'", "axa", "zzz"])
@pytest.mark.parametrize("sounds", ["ks", "k", "sk", "ss"])
def test_a_model_of_one_graphone_says_what_it_can(tmp_path: Path, word: str, sounds: str) -> None:
    model = train_graphones([("x", "ks")], tmp_path / "graphones.ngram")
    assert model.pronounce(word) == "ks"
    assert model.spell(sounds) == "x"


@given(word=st.text(LETTERS, min_size=1, max_size=30))
@settings(max_examples=150)
def test_any_letters_are_pronounced(graphones: Graphones, word: str) -> None:
    sounds = graphones.pronounce(word)
    assert 0 < len(sounds) <= 2 * len(word)
    assert set(sounds) <= set(graphones.phonemes)


@given(sounds=st.text(SOUNDS, min_size=1, max_size=30))
@settings(max_examples=150)
def test_any_phonemes_are_spelt(graphones: Graphones, sounds: str) -> None:
    word = graphones.spell(sounds)
    assert 0 < len(word) <= 3 * len(sounds) + 2 * (len(sounds) + 1)
    assert set(word) <= set(LETTERS)

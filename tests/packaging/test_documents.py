"""The documents that repeat what the code says must say the same."""

import re
import shlex
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from ossicle.model.runtime import list_models
from ossicle.service.limits import Limits, environment_variable, flag

REPOSITORY = Path(__file__).resolve().parents[2]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")


FOLDERS = sorted(
    str(path.parent.relative_to(REPOSITORY))
    for top in ("data", "model", "service")
    for path in (REPOSITORY / top).rglob("__init__.py")
    if path.parent.name != "sample"  # data alone
)


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_map_names_every_module_and_no_other(folder: str) -> None:
    section = CONTRIBUTING.split(f"### {folder}/", 1)[1].split("###", 1)[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("|")]
    mapped = set(re.findall(r"`(\w+\.py)`", " ".join(rows)))
    modules = {path.name for path in (REPOSITORY / folder).glob("*.py")} - {"__init__.py"}
    assert mapped == modules


def test_the_table_of_limits_is_the_servers() -> None:
    rows = re.findall(r"^\| `(--\S+)` \| `(\S+)` \| (\S+) \|", README, flags=re.MULTILINE)
    assert rows == [
        (flag(limit), environment_variable(limit), str(limit.default)) for limit in fields(Limits)
    ]


def test_compose_passes_every_limit_on() -> None:
    compose = (REPOSITORY / "docker-compose.yml").read_text(encoding="utf-8")
    for limit in fields(Limits):
        assert f"      {environment_variable(limit)}:\n" in compose


def test_every_bundled_model_has_a_row_in_the_readme() -> None:
    models = list_models()
    assert models
    for model in models:
        assert re.search(rf"^\| `?{re.escape(model.name)}`? \|", README, flags=re.MULTILINE)


DOCUMENTS = [
    REPOSITORY / "README.md",
    REPOSITORY / "CONTRIBUTING.md",
    *REPOSITORY.glob("docs/*.md"),
]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", text):
        path = document.parent / target if target else document
        assert path.exists(), target
        if anchor and path.suffix == ".md":
            headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = [re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings]
            assert anchor in slugs, f"{target}#{anchor}"


def test_the_handbook_has_every_chapter() -> None:
    contents = (REPOSITORY / "docs/README.md").read_text(encoding="utf-8")
    for chapter in REPOSITORY.glob("docs/*.md"):
        assert chapter.name == "README.md" or f"]({chapter.name})" in contents, chapter.name


def test_the_page_of_commands_says_what_they_say_of_themselves(tmp_path: Path) -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8").replace("\\\n", "")
    written = re.search(r"bin/typer (.+ --output) (\S+)\n", makefile)
    assert written
    command, page = written.groups()
    new = tmp_path / "commands.md"
    subprocess.run(
        [sys.executable, "-m", "typer", *shlex.split(command), str(new)], check=True, timeout=120
    )
    said = new.read_text(encoding="utf-8")
    assert said == (REPOSITORY / page).read_text(encoding="utf-8"), "run make docs"

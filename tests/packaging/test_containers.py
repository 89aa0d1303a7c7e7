"""What no engine has built here is at least what engines read: the schema, the linter, the paths.

`docs/operations.md` tells which of the steps were run by hand.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml
from ossicle.service.cli import app

REPOSITORY = Path(__file__).resolve().parents[2]
DOCKERFILE = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8")
COMPOSE = sorted(
    str(path.relative_to(REPOSITORY))
    for folder in (REPOSITORY, REPOSITORY / "deploy")
    for path in folder.glob("*.yml")
)
HADOLINT = shutil.which("hadolint", path=str(Path(sys.executable).parent))


def validated(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", path],
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("file", COMPOSE)
def test_compose_files_are_what_the_specification_says(file: str) -> None:
    checked = validated(REPOSITORY / file)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_misspelt_key_would_be_found(tmp_path: Path) -> None:
    text = (REPOSITORY / "docker-compose.yml").read_text(encoding="utf-8")
    wrong = tmp_path / "docker-compose.yml"
    wrong.write_text(text.replace("stop_grace_period", "stop_grace_time"), encoding="utf-8")
    assert "stop_grace_time" in validated(wrong).stdout


@pytest.mark.skipif(HADOLINT is None, reason="there is no hadolint for this system")
def test_the_dockerfile_has_nothing_that_its_linter_dislikes() -> None:
    assert HADOLINT is not None
    linted = subprocess.run([HADOLINT, REPOSITORY / "Dockerfile"], capture_output=True, text=True)
    assert (linted.returncode, linted.stdout) == (0, "")


def test_what_is_copied_is_there_and_all_that_a_build_needs() -> None:
    copied = {
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, flags=re.MULTILINE)
        for source in line.split()[:-1]
    }
    for source in copied:
        assert (REPOSITORY / source).exists(), source
    project = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    folders = project.split("[tool.setuptools.package-dir]")[1].split("[tool.")[0]
    needed = set(re.findall(r'= "(\w+)', folders)) | {"pyproject.toml", "constraints.txt"}
    assert len(needed) > 4
    assert needed <= copied


# What compose.yml and deploy/tls.yml set by themselves, and what a container has no use for.
_NOT_ASKED_FOR = {"HOST", "PORT", "HEALTH_PORT", "METRICS_HOST", "METRICS_PORT"} | {
    "TOKENS",
    "TLS_CERT",
    "TLS_KEY",
    "TLS_CLIENT_CA",
}


def test_every_option_of_the_server_can_be_set_in_compose() -> None:
    text = (REPOSITORY / "docker-compose.yml").read_text(encoding="utf-8")
    passed = set(yaml.safe_load(text)["services"]["server"]["environment"])
    command = typer.main.get_command(app).commands["serve"]  # type: ignore[attr-defined]
    known = {option.envvar for option in command.params if option.envvar}
    assert len(known) > 20
    assert known - passed == {f"OSSICLE_{name}" for name in _NOT_ASKED_FOR}


def test_compose_files_build_the_stages_that_there_are() -> None:
    stages = set(re.findall(r"^FROM .+ AS (\S+)$", DOCKERFILE, flags=re.MULTILINE))
    for file in COMPOSE:
        text = (REPOSITORY / file).read_text(encoding="utf-8")
        assert set(re.findall(r"target: (\S+)", text)) <= stages

"""The committed stubs and the contract they come from."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROTO = Path(__file__).resolve().parents[2] / "proto"


def run(*command: str, cwd: Path = PROTO) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60)


def test_stubs_describe_the_present_contract() -> None:
    check = run(sys.executable, "generate.py", "--check")
    assert check.returncode == 0, check.stderr


def test_check_fails_and_says_what_to_do_when_the_contract_has_changed(tmp_path: Path) -> None:
    changed = tmp_path / "proto"
    shutil.copytree(PROTO, changed)
    contract = changed / "ossicle/speech/v1/speech.proto"
    text = contract.read_text(encoding="utf-8")
    contract.write_text(text.replace("bool single_utterance = 3;", "bool one_utterance = 3;"))
    check = run(sys.executable, "generate.py", "--check", cwd=changed)
    assert check.returncode == 1
    assert "speech_pb2.py" in check.stderr
    assert "python proto/generate.py" in check.stderr


def test_the_reference_is_made_of_the_present_comments(tmp_path: Path) -> None:
    check = run(sys.executable, "reference.py", "--check")
    assert check.returncode == 0, check.stderr
    changed = tmp_path / "proto"
    shutil.copytree(PROTO, changed)
    shutil.copytree(PROTO.parent / "docs", tmp_path / "docs")
    contract = changed / "ossicle/speech/v1/speech.proto"
    text = contract.read_text(encoding="utf-8")
    contract.write_text(text.replace("// One word.", "// A word."), encoding="utf-8")
    check = run(sys.executable, "reference.py", "--check", cwd=changed)
    assert check.returncode == 1
    assert "run python proto/reference.py" in check.stderr
    assert run(sys.executable, "reference.py", cwd=changed).returncode == 0
    assert "\nA word.\n" in (tmp_path / "docs/grpc.md").read_text(encoding="utf-8")


def test_the_packages_required_are_as_new_as_the_stubs_demand() -> None:
    stubs = PROTO / "ossicle/speech/v1"
    messages = (stubs / "speech_pb2.py").read_text(encoding="utf-8")
    services = (stubs / "speech_pb2_grpc.py").read_text(encoding="utf-8")
    protobuf = re.search(r"Domain\.PUBLIC,\s+(\d+),\s+(\d+),\s+(\d+)", messages)
    grpcio = re.search(r"GRPC_GENERATED_VERSION = '([\d.]+)'", services)
    assert protobuf
    assert grpcio
    project = (PROTO.parent / "pyproject.toml").read_text(encoding="utf-8")
    assert f'"protobuf>={".".join(protobuf.groups())}"' in project
    assert f'"grpcio>={grpcio[1]}"' in project


def test_contract_is_lint_clean() -> None:
    buf = shutil.which("buf", path=str(Path(sys.executable).parent)) or shutil.which("buf")
    if buf is None:
        pytest.skip("needs buf: pip install buf-bin")
    lint = run(buf, "lint")
    assert lint.returncode == 0, lint.stdout + lint.stderr


def test_every_field_and_value_is_documented() -> None:
    previous = ""
    for line in (PROTO / "ossicle/speech/v1/speech.proto").read_text(encoding="utf-8").split("\n"):
        stripped = line.strip()
        declares = stripped.startswith(("message ", "enum ", "rpc ", "service ", "oneof ")) or (
            " = " in stripped and stripped.endswith(";") and not stripped.startswith("syntax")
        )
        if declares and not stripped.startswith("//"):
            assert previous.startswith("//"), f"no comment above: {stripped}"
        previous = stripped

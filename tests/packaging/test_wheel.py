"""What an installed Ossicle consists of."""

import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path, PurePosixPath

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDERS = ("data", "model", "service", "proto")
FILES = ("pyproject.toml", "README.md", "LICENSE", "NOTICE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel of a copy of the tree: building leaves traces beside the sources."""
    source = tmp_path_factory.mktemp("source")
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for folder in FOLDERS:
        shutil.copytree(REPOSITORY / folder, source / folder, ignore=ignore)
    for file in FILES:
        shutil.copy(REPOSITORY / file, source)
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [*build, "--wheel-dir", str(source / "out"), str(source)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return zipfile.ZipFile(next((source / "out").glob("*.whl")))


def test_every_module_is_installed_under_one_name(wheel: zipfile.ZipFile) -> None:
    modules = {
        f"ossicle/{path.relative_to(REPOSITORY).as_posix()}"
        for folder in ("data", "model", "service")
        for path in (REPOSITORY / folder).rglob("*.py")
    }
    assert modules <= set(wheel.namelist())
    assert {PurePosixPath(name).parts[0] for name in wheel.namelist()} == {
        "ossicle",
        f"{Path(wheel.filename or '').name.rsplit('-', 3)[0]}.dist-info",
    }


@pytest.mark.parametrize(
    "name",
    [
        "ossicle/data/py.typed",
        "ossicle/data/sample/luigi.flac",
        "ossicle/data/sample/sample.jsonl",
        "ossicle/data/sample/README.md",
        "ossicle/model/configs/tiny.yaml",
        "ossicle/model/py.typed",
        "ossicle/service/py.typed",
        "ossicle/speech/v1/py.typed",
        "ossicle/speech/v1/speech.proto",
        "ossicle/speech/v1/speech_pb2.pyi",
        "ossicle/speech/v1/speech_pb2_grpc.py",
    ],
)
def test_what_is_no_module_is_installed_too(wheel: zipfile.ZipFile, name: str) -> None:
    assert name in wheel.namelist()


def test_of_a_model_only_what_serving_needs_is_installed(wheel: zipfile.ZipFile) -> None:
    models = [path for path in (REPOSITORY / "model/pretrained").iterdir() if path.is_dir()]
    assert models
    for model in models:
        installed = f"ossicle/model/pretrained/{model.name}/"
        names = {n.removeprefix(installed) for n in wheel.namelist() if n.startswith(installed)}
        # Not every model has them.
        words = {"lm.ngram", "lm.lstm.onnx", "pronunciations.txt.gz", "graphones.ngram"}
        wanted = {name for name in words | {"decoding.json"} if (model / name).is_file()}
        assert names == {"config.json", "model.int8.onnx", "MODEL_CARD.md"} | wanted


def test_base_install_brings_no_training_packages(wheel: zipfile.ZipFile) -> None:
    metadata = next(n for n in wheel.namelist() if n.endswith(".dist-info/METADATA"))
    required = Parser().parsestr(wheel.read(metadata).decode()).get_all("Requires-Dist", [])
    base = [requirement for requirement in required if "extra ==" not in requirement]
    assert any(requirement.startswith("onnxruntime") for requirement in base)
    for package in ("torch", "librosa", "pytorch-lightning", "onnx>", "dacite", "pyyaml"):
        assert not [r for r in base if r.lower().startswith(package)]


def test_serving_and_transcribing_import_no_training_package() -> None:
    training = ("torch", "torchaudio", "librosa", "pytorch_lightning", "onnx", "dacite", "yaml")
    # A None in sys.modules makes the import fail as if the package were not installed.
    without = f"import sys; sys.modules.update(dict.fromkeys({training!r}))"
    modules = ("service.cli", "service.server", "service.client", "service.transcribe")
    imports = "; ".join(f"import ossicle.{module}" for module in modules)
    done = subprocess.run(
        [sys.executable, "-c", f"{without}; {imports}"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr

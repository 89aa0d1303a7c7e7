"""Check that the base install needs no compiler: every dependency has a wheel everywhere.

    python tests/packaging/check_wheels.py

Lets pip resolve the base dependencies, from wheels only, for each Python version and platform that
is promised, and downloads no more than that takes. Exits with 1 if a wheel is missing or if torch
or another training package has crept in. Needs Python 3.11 and the package index, and is therefore
no test.

pip judges environment markers (``python_version < "3.11"``) by the Python it runs on, not by the
one it resolves for.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import tomllib

PROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"
VERSIONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
# pip does not know that a newer system runs an older one's wheels, so each tag is listed.
PLATFORMS = {
    "Linux x86_64": [
        f"manylinux{tag}_x86_64" for tag in ("_2_28", "_2_27", "_2_24", "_2_17", "2014")
    ],
    "Linux ARM64": [
        f"manylinux{tag}_aarch64" for tag in ("_2_28", "_2_27", "_2_24", "_2_17", "2014")
    ],
    "macOS ARM64": [
        *(f"macosx_{major}_0_arm64" for major in (14, 13, 12, 11)),
        *(f"macosx_{version}_universal2" for version in ("14_0", "11_0", "10_15", "10_9")),
    ],
    "Windows x86_64": ["win_amd64"],
}
FOR_TRAINING = {"torch", "torchaudio", "librosa", "pytorch-lightning", "onnx"}


def resolve(requirements: list[str], version: str, tags: list[str]) -> list[str]:
    """Names and versions of all that would be installed.

    Raises:
        RuntimeError: with pip's words, if wheels alone do not satisfy the requirements.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed"]
        command += ["--quiet", "--report", str(report), "--target", folder]
        command += ["--only-binary", ":all:", "--python-version", version]
        command += [option for tag in tags for option in ("--platform", tag)]
        done = subprocess.run([*command, *requirements], capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(done.stderr.strip())
        chosen = [item["metadata"] for item in json.loads(report.read_text())["install"]]
    return sorted(f"{package['name'].lower()} {package['version']}" for package in chosen)


def main() -> int:
    """Check every version on every platform; the result is the exit code."""
    requirements = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["dependencies"]
    failed = False
    for platform, tags in PLATFORMS.items():
        for version in VERSIONS:
            try:
                packages = resolve(requirements, version, tags)
            except RuntimeError as error:
                failed = True
                print(f"Python {version} on {platform}: {error}")
                continue
            unwanted = FOR_TRAINING & {package.split()[0] for package in packages}
            failed |= bool(unwanted)
            verdict = f"brings {', '.join(sorted(unwanted))}" if unwanted else "wheels only"
            print(f"Python {version} on {platform}: {len(packages)} packages, {verdict}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())

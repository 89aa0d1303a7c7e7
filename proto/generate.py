"""Generate the Python stubs beside ``ossicle/speech/v1/speech.proto``, or check them.

    python proto/generate.py            write the stubs; installs the generator temporarily
    python proto/generate.py --check    exit 1 if they do not describe the present contract

Stubs demand at run time a protobuf and a grpcio at least as new as their generator. They are
therefore made by one fixed, older release, whatever is installed here, so that the service can be
installed beside other packages. The check needs only the installed ``grpcio-tools`` of any
version: it compares what the contract says, not how a generator words it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import venv
from importlib import import_module
from pathlib import Path

GENERATOR = "grpcio-tools==1.74.0"
PROTO_ROOT = Path(__file__).resolve().parent
CONTRACT = "ossicle/speech/v1/speech.proto"


def protoc(python: str, *outputs: str) -> None:
    """Run the protocol buffer compiler of ``python``'s ``grpcio-tools`` on the contract.

    Raises:
        subprocess.CalledProcessError: if the compiler fails; it has said why on stderr.
    """
    command = [python, "-m", "grpc_tools.protoc", f"-I{PROTO_ROOT}", *outputs, CONTRACT]
    subprocess.run(command, check=True)


def generate() -> None:
    """Write ``speech_pb2.py``, ``speech_pb2.pyi`` and ``speech_pb2_grpc.py``."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        scripts = "Scripts" if sys.platform == "win32" else "bin"
        python = str(Path(folder) / scripts / "python")
        subprocess.run([python, "-m", "pip", "install", "--quiet", GENERATOR], check=True)
        kinds = ("python", "pyi", "grpc_python")
        protoc(python, *(f"--{kind}_out={PROTO_ROOT}" for kind in kinds))


def difference() -> str | None:
    """What the committed stubs get wrong about the contract, or None."""
    from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

    stubs = import_module("ossicle.speech.v1.speech_pb2")
    services = import_module("ossicle.speech.v1.speech_pb2_grpc")
    with tempfile.TemporaryDirectory() as folder:
        described = Path(folder) / "contract"
        protoc(sys.executable, f"--descriptor_set_out={described}")
        contract = FileDescriptorSet.FromString(described.read_bytes()).file[0]

    committed = FileDescriptorProto.FromString(stubs.DESCRIPTOR.serialized_pb)
    # Names for JSON follow from the field names; generators differ in writing them down.
    for file in (contract, committed):
        for message in file.message_type:
            for field in message.field:
                field.ClearField("json_name")
    if committed != contract:
        return "speech_pb2.py describes another contract than speech.proto"

    interface = Path(stubs.__file__ or "").with_suffix(".pyi").read_text(encoding="utf-8")
    for message in contract.message_type:
        if f"class {message.name}(" not in interface:
            return f"speech_pb2.pyi has no {message.name}"
    for service in contract.service:
        servicer = getattr(services, f"{service.name}Servicer", None)
        for method in service.method:
            if not hasattr(servicer, method.name):
                return f"speech_pb2_grpc.py has no {service.name}.{method.name}"
    return None


def main() -> int:
    """Generate or check; the result is the exit code."""
    parser = argparse.ArgumentParser(description="Generate or check the gRPC stubs.")
    parser.add_argument("--check", action="store_true", help="exit 1 if the stubs are not current")
    if not parser.parse_args().check:
        generate()
        return 0
    wrong = difference()
    if wrong:
        print(f"{wrong}: run python proto/generate.py and commit the result", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

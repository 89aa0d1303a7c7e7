"""Write ``docs/grpc.md`` from the comments of ``ossicle/speech/v1/speech.proto``, or check it.

    python proto/reference.py            write it
    python proto/reference.py --check    exit 1 if it does not say what the contract says

Needs the installed ``grpcio-tools`` of any version.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

from generate import CONTRACT, PROTO_ROOT, protoc
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)

DOCUMENT = PROTO_ROOT.parent / "docs/grpc.md"

# Numbers of fields in descriptor.proto, of which the paths of comments consist.
_MESSAGES, _ENUMS, _SERVICES, _SYNTAX = 4, 5, 6, 12
_MEMBERS = 2  # fields of a message, values of an enum, methods of a service
_SCALARS = {
    number: name.removeprefix("TYPE_").lower() for name, number in FieldDescriptorProto.Type.items()
}
_DOCUMENTED_BY_GOOGLE = "https://protobuf.dev/reference/protobuf/google.protobuf/"

Path_ = tuple[int, ...]


def contract() -> FileDescriptorProto:
    """The contract with its comments.

    Raises:
        subprocess.CalledProcessError: the compiler fails; it has said why on stderr.
    """
    with tempfile.TemporaryDirectory() as folder:
        described = Path(folder) / "contract"
        protoc(sys.executable, f"--descriptor_set_out={described}", "--include_source_info")
        return FileDescriptorSet.FromString(described.read_bytes()).file[0]


def document(file: FileDescriptorProto) -> str:
    """The reference, in Markdown."""
    comments = {
        tuple(location.path): "".join(location.leading_detached_comments)
        + location.leading_comments
        for location in file.source_code_info.location
    }
    lines = [
        "# The gRPC API",
        "",
        f"Package `{file.package}`. Made by `make stubs` from the comments of "
        f"[`speech.proto`](../proto/{CONTRACT}), where they are to be changed. Python "
        "programs need not know it: [`ossicle.service`](python.md) has clients.",
        "",
        *_prose(comments[(_SYNTAX,)]),
    ]
    for i, service in enumerate(file.service):
        lines += _service(service, (_SERVICES, i), comments)
    lines += ["## Messages", ""]
    for i, message in enumerate(file.message_type):
        lines += _message(message, (_MESSAGES, i), comments)
    lines += ["## Enumerations", ""]
    for i, enum in enumerate(file.enum_type):
        lines += _enum(enum, (_ENUMS, i), comments)
    return "\n".join(lines).rstrip() + "\n"


def _service(
    service: ServiceDescriptorProto, path: Path_, comments: dict[Path_, str]
) -> Iterator[str]:
    yield from (f"## {service.name}", "", *_prose(comments[path]))
    for i, method in enumerate(service.method):
        asked = f"{'stream of ' * method.client_streaming}{_link(method.input_type)}"
        answered = f"{'stream of ' * method.server_streaming}{_link(method.output_type)}"
        yield from (f"### {method.name}", "", f"{asked} → {answered}", "")
        yield from _prose(comments[(*path, _MEMBERS, i)])


def _message(message: DescriptorProto, path: Path_, comments: dict[Path_, str]) -> Iterator[str]:
    yield from (f"### {message.name}", "", *_prose(comments[path]))
    if not message.field:
        return
    yield from ("| field | type | number | |", "|---|---|---|---|")
    for i, field in enumerate(message.field):
        kind = _link(field.type_name) if field.type_name else _SCALARS[field.type]
        if field.label == FieldDescriptorProto.LABEL_REPEATED:
            kind = f"repeated {kind}"
        elif field.proto3_optional:
            kind = f"optional {kind}"
        elif field.HasField("oneof_index"):
            kind = f"{kind}, one of `{message.oneof_decl[field.oneof_index].name}`"
        text = _cell(comments[(*path, _MEMBERS, i)])
        yield f"| `{field.name}` | {kind} | {field.number} | {text} |"
    yield ""


def _enum(enum: EnumDescriptorProto, path: Path_, comments: dict[Path_, str]) -> Iterator[str]:
    yield from (f"### {enum.name}", "", *_prose(comments[path]), "| value | number | |")
    yield "|---|---|---|"
    for i, value in enumerate(enum.value):
        yield f"| `{value.name}` | {value.number} | {_cell(comments[(*path, _MEMBERS, i)])} |"
    yield ""


def _link(type_name: str) -> str:
    name = type_name.rsplit(".", 1)[1]
    if type_name.startswith(".google.protobuf."):
        return f"[{name}]({_DOCUMENTED_BY_GOOGLE}#{name.lower()})"
    return f"[{name}](#{name.lower()})"


def _cell(comment: str) -> str:
    """A comment in one line of a table."""
    return "<br>".join(" ".join(part) for part in _paragraphs(comment)).replace("|", "\\|")


def _prose(comment: str) -> Iterator[str]:
    """A comment as paragraphs and lists, and, where it is indented, as it stands."""
    for lines in _paragraphs(comment):
        first = next((i for i, line in enumerate(lines) if line.startswith(" ")), len(lines))
        yield from lines[:first]
        if first < len(lines):
            indented = dedent("\n".join(lines[first:]))
            yield indented if indented.startswith("- ") else f"\n```text\n{indented}\n```"
        yield ""


def _paragraphs(comment: str) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    for line in comment.splitlines():
        text = line.removeprefix(" ").rstrip()
        if text:
            parts[-1].append(text)
        elif parts[-1]:
            parts.append([])
    return [part for part in parts if part]


def main() -> int:
    """Write or check; the result is the exit code."""
    parser = argparse.ArgumentParser(description="Write or check docs/grpc.md.")
    parser.add_argument("--check", action="store_true", help="exit 1 if it is not current")
    text = document(contract())
    if not parser.parse_args().check:
        DOCUMENT.write_text(text, encoding="utf-8")
    elif not DOCUMENT.is_file() or DOCUMENT.read_text(encoding="utf-8") != text:
        print(
            f"{DOCUMENT.name} is not what {CONTRACT} says: run python proto/reference.py and "
            "commit the result",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

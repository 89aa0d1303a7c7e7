"""The commands ``ossicle token``: who may call a server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from ossicle.model.commands.tables import print_table
from ossicle.service.commands.output import errors_in_one_line, fail

token_app = typer.Typer(
    help="Tokens that a server started with --tokens answers.",
    no_args_is_help=True,
)

FileOption = Annotated[
    Path,
    typer.Option(
        "--tokens", envvar="OSSICLE_TOKENS", metavar="FILE", help="The server's file of tokens."
    ),
]
NameArgument = Annotated[
    str, typer.Argument(help="What logs call its holder: letters, digits and . _ -")
]


@token_app.command("add")
def add_command(
    name: NameArgument,
    tokens: FileOption,
    max_streams: Annotated[
        int, typer.Option(min=0, help="Streams and recordings at the same time; 0: no limit.")
    ] = 0,
    max_calls_per_minute: Annotated[
        int, typer.Option(min=0, help="Calls in a minute; 0: no limit.")
    ] = 0,
    expires: Annotated[
        str | None,
        typer.Option(metavar="DAY", help="First day on which it does not count, as 2027-01-31."),
    ] = None,
) -> None:
    """Make a token and print it, this once: the file holds its hash alone.

    A server that runs knows it from the next call on.

    Example: `ossicle token add phone --tokens tokens.json --max-streams 4 > phone.token`
    """
    from ossicle.service.security.tokens import edited_tokens, make_token

    with errors_in_one_line(OSError, ValueError):
        secret, token = make_token(name, max_streams, max_calls_per_minute, expires)
        if token.expired:
            fail(f"--expires {expires} has come, so that it would never count; give a later day")
        with edited_tokens(tokens, create=True) as known:
            if any(other.name == name for other in known):
                fail(f"{tokens} has a token {name}; choose another name, or remove that one first")
            known.append(token)
    print(secret)


@token_app.command("list")
def list_command(tokens: FileOption) -> None:
    """List tokens by name, with their limits; the tokens themselves are not known.

    Example: `ossicle token list --tokens tokens.json`
    """
    from ossicle.service.security.tokens import read_tokens
    from rich.table import Table

    table = Table("name", "streams", "calls a minute", "expires")
    with errors_in_one_line(OSError, ValueError):
        for token in read_tokens(tokens):
            table.add_row(
                token.name,
                str(token.max_streams or "any"),
                str(token.max_calls_per_minute or "any"),
                f"{token.expires or 'never'}{' (it has)' if token.expired else ''}",
            )
    print_table(table)


@token_app.command("remove")
def remove_command(name: NameArgument, tokens: FileOption) -> None:
    """Forget a token: calls with it are refused from now on, running ones go on to their end.

    Example: `ossicle token remove phone --tokens tokens.json`
    """
    from ossicle.service.security.tokens import edited_tokens

    with errors_in_one_line(OSError, ValueError), edited_tokens(tokens) as known:
        kept = [token for token in known if token.name != name]
        if len(kept) == len(known):
            fail(f"{tokens} has no token {name}; ossicle token list shows those it has")
        known[:] = kept

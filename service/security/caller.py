"""Who makes the call that is being answered, as far as a token tells."""

from contextvars import ContextVar

caller: ContextVar[str] = ContextVar("ossicle_caller", default="")
"""The name of the token that the running call came with; "" if it needed none."""

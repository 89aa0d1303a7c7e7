"""The environment of a server that another command starts for itself."""

from __future__ import annotations

import os


def without_settings() -> dict[str, str]:
    """This process's environment without what `ossicle serve` would read of it.

    Such a server is one's own: what is set for another, in a container's image for example, would
    open it to other machines, or ask its client for a token.
    """
    return {name: value for name, value in os.environ.items() if not name.startswith("OSSICLE_")}

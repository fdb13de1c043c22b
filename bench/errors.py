"""The one exception for bad input."""


class UserError(Exception):
    """Something the user can put right: the command line prints it as one line and exits with code 2.

    The message says what is wrong and what would be right. Bugs are never wrapped in it.
    """


def unknown(kind: str, name: str, known: "list[str] | tuple[str, ...]") -> UserError:
    """Return the error for an unknown name, with the list of known ones."""
    return UserError(f"unknown {kind} {name!r}; known: {', '.join(known)}")

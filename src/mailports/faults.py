"""What can go wrong, by whose fault it is. One base, so that no traceback reaches a user.

A Finding isn't a fault: it is what the program was asked for.
"""

from __future__ import annotations


class Fault(Exception):  # noqa: N818 -- some are the machine's, some the user's; Error is what it isn't
    """Mailports couldn't do what was asked.

    Attributes:
        hint: what would help, as a sentence or a command; null where nothing is known to.
    """

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class HostError(Fault):
    """The machine wouldn't answer: which call, its errno, and what is limited by that.

    Attributes:
        call: the call that failed, with its argument, such as `open /run/docker.sock`.
        errno: the errno's name, such as `EACCES`; empty where there is none.
        reason: the system's words.
    """

    def __init__(self, call: str, errno: str, reason: str, hint: str | None = None) -> None:
        super().__init__(f"can't {call}: {reason}", hint)
        self.call = call
        self.errno = errno
        self.reason = reason

    @property
    def is_permission(self) -> bool:
        """Whether more privilege would help."""
        return self.errno in ("EACCES", "EPERM")


class InputError(Fault):
    """What was given isn't what can be read: where, and what was expected.

    Attributes:
        path: the file, or the option, that it was given by.
        line: line in it, from 1.
        column: column in it, from 1.
    """

    def __init__(
        self,
        message: str,
        *,
        path: str | None = None,
        line: int | None = None,
        column: int | None = None,
        hint: str | None = None,
    ) -> None:
        place = ":".join(str(part) for part in (path, line, column) if part is not None)
        super().__init__(f"{place}: {message}" if place else message, hint)
        self.path = path
        self.line = line
        self.column = column

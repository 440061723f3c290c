"""Which verb was meant, and what becomes of an exception. Imports nothing that the verb doesn't need."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

VERBS = {
    "status": "mail ports of this host: who holds each, and what is wrong",
    "why": "the whole story of a port (`mailports 25` is the same)",
    "audit": "everything that is wrong, with evidence and ways out",
    "explain": "what a pasted text really says: error lines, tables, logs",
    "snapshot": "write what was seen to a file, to be judged elsewhere",
    "rule": "the manual page of a finding",
    "schema": "the JSON Schema of an output",
    "demo": "stage a conflict in a namespace of its own, and show it",
}
"""The verbs, the most used first; each is a module of this package with `run(argv) -> int`."""

USAGE = """usage: mailports [VERB] [OPTIONS]     what holds the mail ports, and what is in the way

{verbs}

mailports alone is `mailports status`; `mailports 25`, `mailports imaps` and `mailports [::]:587`
are `mailports why …`. `mailports VERB --help` has the options.

exit status: 0 nothing to report, 1 findings, 2 it couldn't be done, 3 something unseen may hide one
"""


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    words = sys.argv[1:] if argv is None else argv
    try:
        verb, rest = _verb(words)
        return 0 if verb in ABOUT and _has_said(ABOUT[verb]) else _run(verb, rest)
    except BrokenPipeError:  # the reader has gone: `mailports | head`
        from mailports.cli.output import give_up_output

        give_up_output()
        return 2
    except KeyboardInterrupt:
        return 130


def _verb(words: list[str]) -> tuple[str, list[str]]:
    first = words[0] if words else ""
    if first in ("--version", "-V", "--help", "-h", "help"):
        return ("version" if first in ("--version", "-V") else "help"), []
    if first in VERBS:
        return first, words[1:]
    if not first or first.startswith("-"):
        return "status", words
    return "why", words


def _run(verb: str, rest: list[str]) -> int:
    from importlib import import_module

    from mailports.faults import Fault

    debug = "--debug" in rest
    if debug:
        rest = [word for word in rest if word != "--debug"]
    try:
        if verb in ABOUT:
            from mailports.cli.output import show

            show([ABOUT[verb]()])  # fails as it did, and is said as all faults are
        return int(import_module(f"mailports.cli.{verb}").run(rest))
    except Fault as fault:
        if debug:
            raise
        _say(str(fault), fault.hint)
        return 2
    except (BrokenPipeError, KeyboardInterrupt):
        raise
    except Exception as error:
        if debug:
            raise
        from mailports import __version__

        what = f"{type(error).__name__}: {error}"
        _say(f"this is a bug in mailports {__version__}: {what}", "run it again with --debug and report what it prints")
        return 2


def _version() -> str:
    from mailports import __version__

    return f"mailports {__version__}"


def _help() -> str:
    return USAGE.format(verbs="\n".join(f"  {name:<10} {text}" for name, text in VERBS.items())).rstrip("\n")


ABOUT = {"version": _version, "help": _help}


def _has_said(text: Callable[[], str]) -> bool:
    try:
        print(text(), flush=True)
    except BrokenPipeError:
        raise
    except OSError:
        return False
    return True


def _say(message: str, hint: str | None) -> None:
    from mailports.cli.output import style_of
    from mailports.model.facts import printable
    from mailports.report.diagnostic import render_fault

    for line in render_fault(printable(message), hint, style_of(sys.stderr, "auto")):
        print(line, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())

"""The ``provenance`` command: verify, sign, label, keys, watermark, registry, log.

Results go to stdout, errors to stderr as one line. Exit codes: ``provenance.report``; wrong usage is 2.
"""

import argparse
import io
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from provenance.errors import ProvenanceError


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    # The products here are small: threads only cost start-up time and fight over the cores.
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    arguments = _parser().parse_args(argv)
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character gets its escape instead of an exception.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = arguments.run(arguments)
        print(end="", flush=True)  # what cannot be written is to be said here, not while Python shuts down
        return code
    except ProvenanceError as error:
        from provenance.report import escape

        print(f"provenance: {escape(str(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("provenance: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        _drop_output()
        return 141
    except OSError as error:  # nobody foresaw it; still a line and not a traceback
        from provenance.report import escape

        what = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, (str, bytes)) else ""
        print(f"provenance: {escape(f'{what}{error.strerror or error}')}", file=sys.stderr)
        try:
            print(end="", flush=True)
        except OSError:
            _drop_output()
        return 2


def _drop_output() -> None:
    """Let what stdout did not take go nowhere, or Python tries once more at its end, and complains."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    from provenance import __version__
    from provenance.commands import keys, label, log, registry, sign, verify, watermark

    parser = _Parser(prog="provenance", description="Where does a video come from? Verify, sign, mark.")
    parser.add_argument("--version", action="version", version=f"provenance {__version__}")
    group = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (verify, sign, label, keys, watermark, registry, log):
        command.add_commands(group)
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""``provenance verify``."""

import argparse
import contextlib
import sys
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provenance.commands.trust import add_trust_options, trust_of
from provenance.errors import InputError

if TYPE_CHECKING:
    from provenance.exhibits import Exhibit
    from provenance.report import Report


def add_commands(commands: Any) -> None:
    """Add ``verify`` to the subparsers of ``provenance``."""
    command = commands.add_parser(
        "verify",
        help="say whether files are what they claim to be",
        epilog="Exit codes: 0 authentic, 1 altered, 2 unreadable, 3 absent, 4 untrusted, 5 recovered; "
        "of several files the worst, from best to worst 0 5 4 3 2 1.",
    )
    _add_files(command)
    _add_output(command)
    _add_options(command)
    command.set_defaults(run=_verify)


def _add_files(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("files")
    group.add_argument("files", nargs="*", metavar="FILE", help="a file, a pattern such as 'clips/**/*.mp4', or - for "
                       "a list of files on standard input")  # fmt: skip
    group.add_argument(
        "--files-from", metavar="LIST", help="also the files that LIST names, one a line or ended by NUL"
    )
    group.add_argument("-r", "--recursive", action="store_true", help="of a folder, every media file in and below it")
    group.add_argument("--jobs", type=int, metavar="N", help="files at a time; default: as many as there are cores")
    group.add_argument("--timeout", type=float, metavar="SECONDS", help="for one file, then it is stopped and counts "
                       "as unreadable; default: 60 where there are several files")  # fmt: skip


def _add_output(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("output")
    group.add_argument("--json", action="store_true", help="one JSON object a line; the summary goes to stderr")
    group.add_argument("--html", metavar="FILE", help="also write a report that a browser shows, with small pictures")
    group.add_argument("--overwrite", action="store_true", help="replace the --html file if it exists")
    group.add_argument("--unordered", action="store_true", help="results as they come, not in the order of the files")
    group.add_argument(
        "--progress",
        action=argparse.BooleanOptionalAction,
        help="show a progress bar on stderr; default: if that is a terminal and there are several files",
    )


def _add_options(command: argparse.ArgumentParser) -> None:
    """What ``_options`` reads."""
    command.add_argument("--manifest", metavar="FILE", help="the credentials of FILE, which are not in it or beside it")
    add_trust_options(command)
    command.add_argument(
        "--registry", metavar="PLACE", help="where signed clips are registered: a folder, a database URL, or off"
    )
    command.add_argument(
        "--resolver", metavar="URL", help="ask this C2PA soft binding resolver about watermarks; else nobody is asked"
    )


def _options(arguments: argparse.Namespace) -> dict[str, Any]:
    """The keyword arguments of ``provenance.verify``. They are pickled: plain values and paths, nothing opened."""
    return {
        "trust": trust_of(arguments),
        "manifest": arguments.manifest,
        "registry": arguments.registry,
        "resolver": arguments.resolver,
    }


@dataclass(frozen=True)
class Check:
    """What is done with one file, here or in a process of its own."""

    options: dict[str, Any]
    """Keyword arguments of ``provenance.verify``."""
    exhibits: bool = False
    """Whether pictures are wanted too."""

    def __call__(self, path: str) -> "tuple[Report, Exhibit]":
        from provenance.verification import verify

        report = verify(path, **self.options)
        from provenance import exhibits

        if not self.exhibits:
            return report, exhibits.Exhibit()
        recovered = report.recovered
        return report, exhibits.take(path, [copy for copy, _ in recovered.pairs] if recovered else None)


def _verify(arguments: argparse.Namespace) -> int:
    from provenance import listing
    from provenance.report import worst_exit_code

    _check(arguments)
    paths = listing.expand(arguments.files, files_from=arguments.files_from, recursive=arguments.recursive)
    if arguments.manifest is not None and len(paths) > 1:
        raise InputError("--manifest is about one file; verify the others by themselves")
    several = len(paths) > 1
    reports, exhibits = [], []
    with contextlib.closing(_checked(arguments, paths)) as found, _bar(arguments, len(paths)) as advance:
        for report, exhibit in found:
            reports.append(report)
            exhibits.append(exhibit)
            with advance():
                if arguments.json:
                    print(report.to_json(), flush=True)
                elif several:
                    print(report.to_line(), flush=True)
                else:
                    print(report.to_text(), flush=True)
    if arguments.html is not None:
        from provenance import page

        page.write(Path(arguments.html), reports, exhibits, overwrite=arguments.overwrite)
    if several:
        print(_summary(reports), file=sys.stderr if arguments.json else sys.stdout, flush=True)
    return worst_exit_code(reports)


def _check(arguments: argparse.Namespace) -> None:
    """What is wrong with the arguments, before any file is touched."""
    if not arguments.files and arguments.files_from is None:
        raise InputError("no FILE is given; name files, or a list of them with --files-from (see --help)")
    if arguments.jobs is not None and arguments.jobs < 1:
        raise InputError(f"--jobs {arguments.jobs} is not possible; give 1 or more")
    if arguments.timeout is not None and not 0 < arguments.timeout < 1e6:
        raise InputError(f"--timeout {arguments.timeout:g} is not possible; give seconds above 0")
    if arguments.html is not None:
        from provenance import outputs

        outputs.check(Path(arguments.html), overwrite=arguments.overwrite)


def _checked(arguments: argparse.Namespace, paths: list[str]) -> "Generator[tuple[Report, Exhibit], None, None]":
    """One file is verified right here, for a process costs its start; several, or one with a time limit, in others."""
    check = Check(_options(arguments), exhibits=arguments.html is not None)
    if len(paths) == 1 and arguments.timeout is None and arguments.jobs is None:
        yield check(paths[0])
        return
    from provenance import batch
    from provenance.exhibits import Exhibit
    from provenance.report import Report

    timeout = batch.TIMEOUT if arguments.timeout is None else arguments.timeout
    jobs = arguments.jobs or batch.default_jobs()
    outcomes = batch.run(check, paths, jobs=jobs, timeout=timeout, ordered=not arguments.unordered)
    with contextlib.closing(outcomes):
        for number, outcome in outcomes:
            if isinstance(outcome, batch.Failed):
                yield Report(path=paths[number], status="unreadable", findings=(outcome.reason,)), Exhibit()
            else:
                yield outcome


@contextlib.contextmanager
def _bar(arguments: argparse.Namespace, total: int) -> Iterator[Any]:
    """A progress bar on stderr. ``with advance(): print(...)`` takes it out of the way and moves it on."""
    shown = arguments.progress
    if shown is None:
        shown = total > 1 and sys.stderr.isatty()
    if not shown:
        yield contextlib.nullcontext
        return
    from tqdm import tqdm

    with tqdm(desc="verifying", unit=" files", total=total, file=sys.stderr, leave=False) as bar:

        @contextlib.contextmanager
        def advance() -> Iterator[None]:
            with tqdm.external_write_mode(file=sys.stdout):
                yield
            bar.update()

        yield advance


def _summary(reports: "list[Report]") -> str:
    """Counts by status, the worst first."""
    from provenance.report import BEST_TO_WORST

    counts = Counter(report.status for report in reports)
    parts = [f"{counts[status]:,} {status}" for status in reversed(BEST_TO_WORST) if counts[status]]
    return f"{len(reports):,} files: {', '.join(parts)}"

"""``provenance label``."""

import argparse
from pathlib import Path
from typing import Any


def add_commands(commands: Any) -> None:
    """Add ``label`` to the subparsers of ``provenance``."""
    command = commands.add_parser(
        "label",
        help="burn a visible label into a video",
        description="Writes a copy that says, for everybody to see, that it was AI-generated, or what you want it to "
        "say. Sound, subtitles, tags and timing stay as they are. Label first, then mark, then sign.",
    )
    command.add_argument("source", metavar="SRC", help="MP4, MOV, MKV, WebM or AVI")
    command.add_argument("-o", "--output", required=True, metavar="DST", help=".mp4, .m4v, .mov, .mkv or .webm")
    command.add_argument("--style", metavar="STYLE", default="corner", help="corner (default), moving or credits")
    command.add_argument("--text", metavar="TEXT", help="default: AI-generated, in the language")
    command.add_argument("--language", metavar="CODE", default="en", help="en (default), es, zh, ar, hi, ...")
    command.add_argument(
        "--font", metavar="FILE", help="a font file; default: one of this machine that has the letters"
    )
    for name in ("title", "model", "signer", "date"):
        command.add_argument(f"--{name}", metavar="TEXT", default="", help=f"a line of the credits: the {name}")
    command.add_argument("--seconds", type=float, metavar="N", default=3.0, help="how long credits last; default 3")
    command.add_argument("--overwrite", action="store_true", help="replace DST if it exists")
    command.add_argument(
        "--drop-credentials", action="store_true", help="leave out C2PA credentials, which would break"
    )
    command.set_defaults(run=_label)


def _label(arguments: argparse.Namespace) -> int:
    from provenance.commands.watermark import progress_bar
    from provenance.label import Credits, Label, label_file
    from provenance.report import escape

    said = Credits(
        title=arguments.title,
        model=arguments.model,
        signer=arguments.signer,
        date=arguments.date,
        seconds=arguments.seconds,
    )
    label = Label(
        style=arguments.style,
        text=arguments.text,
        language=arguments.language,
        credits=said,
        font=Path(arguments.font) if arguments.font else None,
    )
    with progress_bar("labelling", "picture") as bar:
        made = label_file(
            arguments.source,
            arguments.output,
            label,
            overwrite=arguments.overwrite,
            drop_credentials=arguments.drop_credentials,
            progress=bar,
        )
    print(f"{escape(made.path)}: labelled, {made.frames} pictures of {made.width}x{made.height}")
    for note in made.notes:
        print(f"  - {escape(note)}")
    return 0

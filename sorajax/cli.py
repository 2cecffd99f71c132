"""The ``sorajax`` command: generate, train, export and plan.

Results go to stdout; stderr holds a progress bar, or one line that says what is wrong. Exit codes: 0, 2 for what a
user can mend, 130 after Ctrl-C, 1 when another process of the same job was lost.
"""

import argparse
import contextlib
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from sorajax import __version__
from sorajax.errors import InputError, SorajaxError


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    arguments = _parser().parse_args(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # the compiler's own log lines
    warnings.showwarning = lambda message, *_: print(f"sorajax: {message}", file=sys.stderr)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    from provenance.errors import ProvenanceError
    from sorajax.hosts.links import exit_now
    from sorajax.hosts.start import join

    several = None
    try:
        job = join(arguments.coordinator, arguments.processes, arguments.process)
        with job if arguments.joins else contextlib.nullcontext() as several:
            arguments.writes = several is None or several.process == 0
            return arguments.run(arguments)
    except (SorajaxError, ProvenanceError, OSError, KeyboardInterrupt) as error:
        code = _report(error)
    if several is not None:
        exit_now(code)
    return code


def _report(error: BaseException) -> int:
    """Print the line that says what is wrong; gives the exit code."""
    from provenance.report import escape

    if isinstance(error, KeyboardInterrupt):
        print("sorajax: interrupted; no half-made file was left", file=sys.stderr)
        return 130
    text = str(error)
    if isinstance(error, OSError):  # what no check foresaw, such as a file in a folder's place
        named = "" if error.filename is None else f"{str(error.filename)!r}: "
        text = named + (error.strerror or text)
    print(f"sorajax: {escape(text)}", file=sys.stderr)
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="sorajax", description="Text-to-video in which every clip is signed.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"sorajax {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)

    command = commands.add_parser("generate", help="make a clip from a prompt", allow_abbrev=False)
    command.add_argument("prompt", metavar="PROMPT")
    command.add_argument("-o", "--output", required=True, metavar="FILE", help="the mp4 to write")
    command.add_argument("--model", default="mini", help="a shipped or published model, or a folder (default: mini)")
    command.add_argument(
        "--lora", action="append", default=[], metavar="FILE[=SCALE]", help="merge a LoRA, as in dog.safetensors=0.8"
    )
    command.add_argument("--seed", type=int, help="the same seed gives the same clip (default: drawn)")
    command.add_argument("--steps", type=int, help="steps of the solver")
    command.add_argument("--guidance", type=float, help="how strictly the prompt is followed; 1 turns guidance off")
    command.add_argument("--size", metavar="WxH", help="width and height in pixels, as the model makes them")
    command.add_argument("--frames", type=int, help="number of frames")
    command.add_argument("--fps", type=int, help="frames a second at which the clip is played")
    command.add_argument("--negative", default="", metavar="PROMPT", help="what the clip should not show")
    command.add_argument("--language", help="refuse unless the model reads this language, as in zh")
    command.add_argument(
        "--image", metavar="FILE", help="a picture that the clip begins with, for models that take one"
    )
    command.add_argument(
        "--cache", action="store_true", help="keep velocities for several steps: faster, and a little different"
    )
    command.add_argument(
        "--weights",
        metavar="TYPE",
        help="int8: keep kernels in eight bits, for small memory; w8a8: multiply in eight bits too",
    )
    command.add_argument(
        "--rates",
        default="",
        metavar="NAME=X,...",
        help="for a clip's cost: price, currency, carbon, watts, pue",
    )
    command.add_argument("--hash-prompt", action="store_true", help="sign the prompt's SHA-256 instead of its text")
    command.add_argument("--cert", metavar="PEM", help="certificate chain to sign with (default: development identity)")
    command.add_argument("--key", metavar="PEM", help="private key of that chain")
    command.add_argument("--overwrite", action="store_true", help="replace a file that is there")
    _add_hosts(command)
    command.set_defaults(run=_generate)

    command = commands.add_parser("train", help="train a model from a config", allow_abbrev=False)
    command.add_argument("config", metavar="CONFIG", help="a training config (TOML) or the name of a shipped one")
    command.add_argument("--runs", default="runs", metavar="DIR", help="where runs are kept (default: runs)")
    command.add_argument("--minutes", type=float, help="stop after so many minutes; the same command goes on later")
    command.add_argument("--steps", type=int, help="train to this step instead of the config's")
    command.add_argument("--accept", default="", metavar="KEY,...", help="go on although these keys were changed")
    _add_hosts(command)
    command.set_defaults(run=_train)

    data = commands.add_parser("data", help="prepare footage to train on", allow_abbrev=False)
    tasks = data.add_subparsers(metavar="TASK", required=True)
    command = tasks.add_parser("prepare", help="scan, filter and encode videos", allow_abbrev=False)
    command.add_argument("paths", nargs="+", metavar="PATH", help="folders, videos, .csv or .jsonl lists, .tar files")
    command.add_argument("--out", required=True, metavar="DIR", help="where lists, report and shards go")
    command.add_argument("--model", metavar="MODEL", help="encode what is kept for this model to train on")
    command.add_argument(
        "--augment",
        nargs="+",
        default=[],
        metavar="NAME[=X]",
        help="encode copies as well, as in flips crops=2 strides=1,2",
    )
    command.add_argument("--pixels", action="store_true", help="keep the frames too, to train an autoencoder on")
    command.add_argument("--limit", nargs="+", default=[], metavar="NAME=X", help="limits, as in min_seconds=2")
    command.add_argument("--check", nargs="+", default=[], metavar="MODULE:FUNCTION", help="filters of your own")
    command.add_argument(
        "--tags",
        nargs="+",
        default=[],
        choices=("title", "description", "comment"),
        help="captions of files' own metadata, where there are no others",
    )
    command.add_argument("--captioner", metavar="MODULE:FUNCTION", help="captions scenes that have none")
    command.add_argument("--workers", type=int, help="processes that scan (default: one a core)")
    command.add_argument(
        "--ray",
        nargs="?",
        const="auto",
        metavar="ADDRESS",
        help="work on a Ray cluster: auto (default), local, HOST:PORT or ray://HOST:PORT",
    )
    command.add_argument(
        "--ray-resources",
        nargs="+",
        default=[],
        metavar="NAME=X",
        help="what each process that encodes there asks for, as in GPU=1 (default: one process a node)",
    )
    command.set_defaults(run=_prepare, joins=False, coordinator=None, processes=None, process=None)

    command = commands.add_parser("export", help="write a model in diffusers layout", allow_abbrev=False)
    command.add_argument("model", metavar="MODEL", help="a model folder, or the name of a published model")
    command.add_argument("folder", metavar="FOLDER", help="the folder to write, which must not be there")
    command.set_defaults(run=_export, joins=False, coordinator=None, processes=None, process=None)

    command = commands.add_parser("plan", help="what a task needs on TPUs that are not here", allow_abbrev=False)
    command.add_argument("model", metavar="MODEL", help="a config (TOML), the name of a shipped one, or a model folder")
    command.add_argument("--topology", required=True, metavar="TPU", help="a slice, as in v5e:2x4 or v5p-16")
    command.add_argument("--task", default="sample", help="train, sample (one guided step), text or decode")
    command.add_argument("--size", metavar="WxH", help="width and height in pixels (default: the model's)")
    command.add_argument("--frames", type=int, help="number of frames (default: the model's)")
    command.add_argument("--batch", type=int, default=1, help="clips at once, of all devices together (default: 1)")
    command.add_argument("--mesh", metavar="AXIS=N,...", help="try this mesh alone, as in fsdp=4,seq=2")
    command.add_argument(
        "--weights", default="float32", help="type of weights in memory: float32, bfloat16, int8 or w8a8"
    )
    command.add_argument(
        "--parameters", default="float32", help="train: type in which weights are gathered, float32 or bfloat16"
    )
    command.add_argument("--accumulate", type=int, default=1, help="train: parts that a batch is taken in (default: 1)")
    command.add_argument(
        "--remat", default="block", help="train: what is kept of each block: block, attention, products or none"
    )
    command.add_argument("--tries", type=int, default=3, help="meshes to try (default: 3)")
    command.add_argument("--steps", type=int, help="steps of the whole job, for its time and energy")
    command.add_argument("--watts", type=float, help="power of a device, where none is published")
    command.add_argument("--timeout", type=float, default=60, metavar="MINUTES", help="for each compile (default: 60)")
    command.add_argument(
        "--compare", nargs="+", default=[], metavar="TPU", help="other slices, each in a line of a table"
    )
    command.add_argument("--prices", metavar="TPU=X,...", help="price of a chip's hour, as in v5e=1.2,v6e=2.7")
    command.add_argument("--chart", metavar="FILE", help="draw time and cost against chips (.png, .svg or .pdf)")
    command.add_argument("--json", action="store_true", help="print the plan as JSON")
    command.set_defaults(run=_plan, joins=False, coordinator=None, processes=None, process=None)
    return parser


def _add_hosts(command: argparse.ArgumentParser) -> None:
    hosts = command.add_argument_group("several hosts", "not needed on a TPU pod, GKE or Slurm")
    hosts.add_argument("--coordinator", metavar="HOST:PORT", help="where all processes reach process 0")
    hosts.add_argument("--processes", type=int, metavar="N", help="number of all processes")
    hosts.add_argument("--process", type=int, metavar="I", help="which of them this is, from 0")
    command.set_defaults(joins=True)


def _generate(arguments: argparse.Namespace) -> int:
    """Everything that can be refused is refused before the model is loaded."""
    from sorajax import request
    from sorajax.cost.account import parse_rates
    from sorajax.media import destination
    from sorajax.media.image import read_image
    from sorajax.weights import folder as folders
    from sorajax.weights.find import find

    path = Path(arguments.output)
    if arguments.writes:
        path = destination.check(path, suffix=".mp4", overwrite=arguments.overwrite)
    request.check_prompts(arguments.prompt)
    size = None if arguments.size is None else _size(arguments.size)
    image = None if arguments.image is None else read_image(arguments.image)
    loras = [_lora(text) for text in arguments.lora]
    rates = parse_rates(arguments.rates)
    signer = _signer(arguments.cert, arguments.key)
    config = folders.load_config(find(arguments.model, weights=False))
    request.check_language(config, arguments.language)
    if image is not None:
        request.check_image(config)
    request.resolve(config, size=size, frames=arguments.frames, steps=arguments.steps, guidance=arguments.guidance)
    request.check_fps(arguments.fps, config.sample.fps)
    if arguments.seed is not None:
        request.check_seed(arguments.seed)

    from tqdm import tqdm

    from sorajax import compile_cache
    from sorajax.pipeline import load

    compile_cache.enable()
    form = "{desc} {bar} {n_fmt}/{total_fmt}"
    with tqdm(total=None, file=sys.stderr, leave=False, bar_format=form, disable=not arguments.writes) as bar:
        bar.set_description("loading the model")
        pipe = load(arguments.model, weights=arguments.weights, rates=rates)
        for lora, scale in loras:
            pipe.load_lora(lora, scale=scale)

        def advance(step: int, steps: int, latents: object) -> None:
            bar.total, bar.n = steps, step
            bar.set_description("sampling" if step < steps else "decoding, watermarking, signing")

        clip = pipe(
            arguments.prompt,
            seed=arguments.seed,
            steps=arguments.steps,
            guidance=arguments.guidance,
            negative=arguments.negative,
            size=size,
            frames=arguments.frames,
            fps=arguments.fps,
            image=image,
            cache=arguments.cache,
            callback=advance,
        )
        if not arguments.writes:
            return 0
        report = clip.save(path, signer=signer, overwrite=arguments.overwrite, store_prompt=not arguments.hash_prompt)
    print(f"{path}: {report.status}, seed {clip.facts.seed}, watermark {clip.payload.hex()}")
    return 0


def _export(arguments: argparse.Namespace) -> int:
    from sorajax.weights.export import export
    from sorajax.weights.find import find

    print(export(find(arguments.model), Path(arguments.folder)))
    return 0


def _size(text: str) -> tuple[int, int]:
    width, cross, height = text.lower().partition("x")
    if not (cross and width.isdecimal() and height.isdecimal()):
        raise InputError(f"size {text!r} is not WIDTHxHEIGHT, for example 64x64")
    return int(width), int(height)


def _lora(text: str) -> tuple[Path, float]:
    """A file and its scale. The scale follows the last =, unless a file of the whole name is there."""
    path, equals, scale = text.rpartition("=")
    if not equals or Path(text).is_file():
        path, scale = text, "1"
    if not Path(path).is_file():
        raise InputError(f"no LoRA at {path!r}; name a .safetensors file, with a scale as in dog.safetensors=0.8")
    try:
        return Path(path), float(scale)
    except ValueError:
        raise InputError(f"scale {scale!r} of LoRA {path!r} is not a number, for example 0.8") from None


def _signer(cert: str | None, key: str | None):  # noqa: ANN202 - provenance.Signer, imported only when asked for
    if cert is None and key is None:
        return None
    if cert is None or key is None:
        raise InputError("--cert and --key belong together; give both or neither")
    import provenance

    return provenance.load_signer(cert, key)


def _train(arguments: argparse.Namespace) -> int:
    import dataclasses

    from sorajax.train import config as configs
    from sorajax.train.loop import train

    config = configs.load(arguments.config)
    if arguments.steps is not None:
        config = dataclasses.replace(config, steps=arguments.steps)
    accept = tuple(key for key in arguments.accept.split(",") if key)
    folder = train(config, runs=Path(arguments.runs), minutes=arguments.minutes, accept=accept)
    if arguments.writes:
        print(folder)
    return 0


def _prepare(arguments: argparse.Namespace) -> int:
    try:
        from sorajax.footage import hooks
        from sorajax.footage.prepare import REPORT, prepare
    except ModuleNotFoundError as error:
        raise InputError(f"footage needs {error.name}, which is missing: pip install 'sorajax[data]'") from None

    out, augment, ray = Path(arguments.out), hooks.augment(arguments.augment), None
    for option, given in (("--augment", arguments.augment), ("--pixels", arguments.pixels)):
        if given and arguments.model is None:
            raise InputError(f"{option} is for clips that are encoded; name the model too, as in --model mini")
    with contextlib.ExitStack() as stack:
        if arguments.ray is not None:
            from sorajax.footage import on_ray

            resources = hooks.resources(arguments.ray_resources)
            ray = stack.enter_context(on_ray.join(arguments.ray, workers=arguments.workers, resources=resources))
        elif arguments.ray_resources:
            raise InputError("--ray-resources is asked of a Ray cluster; name it with --ray")
        summary = prepare(
            [Path(path) for path in arguments.paths],
            out,
            hooks.limits(arguments.limit),
            workers=arguments.workers,
            pool=ray,
            checks=[hooks.function(name) for name in arguments.check],
            tags=arguments.tags,
            captioner=None if arguments.captioner is None else hooks.function(arguments.captioner),
        )
        print(f"{summary}\n{out / REPORT}")
        if arguments.model is not None:
            from sorajax.footage.encode import encode, encode_on
            from sorajax.pipeline import load

            options: Any = {"augment": augment, "pixels": arguments.pixels}
            if ray is None:
                print(encode(load(arguments.model), out, **options))
            else:
                print(encode_on(ray, arguments.model, out, **options))
    return 0


def _plan(arguments: argparse.Namespace) -> int:
    from sorajax.errors import InputError
    from sorajax.plan import chart, chips, report
    from sorajax.plan.planner import Plan, plan
    from sorajax.plan.request import Request, find_model, parse_mesh, parse_prices

    model = find_model(arguments.model)
    defaults = model.sample
    width, height = (defaults.width, defaults.height) if arguments.size is None else _size(arguments.size)
    request = Request(
        task=arguments.task,
        model=model,
        width=width,
        height=height,
        frames=defaults.frames if arguments.frames is None else arguments.frames,
        batch=arguments.batch,
        weights=arguments.weights,
        parameters=arguments.parameters,
        accumulate=arguments.accumulate,
        remat=arguments.remat,
    )
    prices = {} if arguments.prices is None else parse_prices(arguments.prices)
    mesh = None if arguments.mesh is None else parse_mesh(arguments.mesh)
    topologies = dict.fromkeys([arguments.topology, *arguments.compare])
    for topology in topologies:
        chips.parse(topology)
    if arguments.chart is not None:
        chart.check(Path(arguments.chart))
    found: dict[str, Plan | InputError] = {}
    for topology in topologies:
        try:
            found[topology] = plan(
                request,
                topology,
                mesh=mesh,
                tries=arguments.tries,
                steps=arguments.steps,
                watts=arguments.watts,
                timeout=60 * arguments.timeout,
                progress=lambda line: print(line, file=sys.stderr),
            )
        except InputError as error:
            if not arguments.compare:
                raise
            found[topology] = error
    if arguments.chart is not None:
        chart.draw([one for one in found.values() if isinstance(one, Plan)], Path(arguments.chart), prices)
    only = found[arguments.topology]
    if arguments.compare or isinstance(only, InputError):
        print(report.all_to_json(found) if arguments.json else report.compare(found, prices))
    else:
        print(report.to_json(only) if arguments.json else report.text(only))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The `thickets` command. Each command reads its arguments, calls one function and prints; it decides nothing."""

from __future__ import annotations

import os
import sys
from json import dumps
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Parameter

from thickets import __version__
from thickets.cli.baseline import AddedConfig, BesideConfig, read_run
from thickets.cli.check import CheckConfig, parse_check
from thickets.cli.compare import compare
from thickets.cli.flags import with_config_flags
from thickets.cli.landscape import landscape
from thickets.cli.report import report
from thickets.cli.signals import signals
from thickets.cli.signals_landscape import signals_landscape
from thickets.config import RunConfig, merge, parse, read_toml, validate
from thickets.config.diffusion import DiffuseConfig
from thickets.errors import ConfigError, ThicketsError

app = App(
    name="thickets",
    help="Improve a pretrained model without gradients: guess weight perturbations, check, keep the best, vote.",
    version=__version__,
)

# A list of values after one flag, ending at the next flag.
_LIST: Any = {"consume_multiple": True, "negative": ""}

RunDirectory = Annotated[Path, Parameter(help="The run's directory, as `thickets run` printed it.")]


def _run(config: Path | None, flags: dict[str, Any]) -> None:
    """Search around a model, keep the best, vote, and write a report. The same command goes on after a kill."""
    from thickets.cli.display import make_progress, quiet_libraries, stopped
    from thickets.cli.tables import print_result
    from thickets.randopt import execute

    parsed = _configured(config, flags)
    quiet_libraries()
    try:
        summary = execute(parsed, make_progress(parsed.progress))
    except KeyboardInterrupt:
        stopped(parsed.directory)
        raise
    print_result(summary, parsed.directory)


app.command(with_config_flags(_run), name="run")
app.command(signals)
app.command(signals_landscape)


def _diffuse(config: Path | None, flags: dict[str, Any]) -> None:
    """Search around a text-to-image pipeline of diffusers: base, best and ensemble on held-out images, and pictures.

    The same command goes on after a kill.
    """
    from thickets.cli.display import quiet_libraries

    settings = merge(read_toml(config) if config else {}, flags)
    parsed = validate(DiffuseConfig, settings, str(config) if config else "the command line")
    quiet_libraries()
    from thickets.cli.diffuse import diffuse

    diffuse(parsed)


app.command(with_config_flags(_diffuse, DiffuseConfig), name="diffuse")
app.command(compare)
app.command(report)


def _plan(
    config: Path | None,
    flags: dict[str, Any],
    *,
    rate: Annotated[float | None, Parameter(help="Tokens a second of one engine, prompt and new ones.")] = None,
    source: Annotated[Path | None, Parameter(name="--from", help="A run to take measured figures from.")] = None,
    answer_share: Annotated[
        list[float] | None,
        Parameter(help="Part of the longest answer that answers take: one share, or low, mean and high.", **_LIST),
    ] = None,
    prompt_tokens: Annotated[float | None, Parameter(help="Tokens of one prompt, in place of counting them.")] = None,
    parameters: Annotated[float | None, Parameter(help="Number of weights, in place of the model (7.6e9).")] = None,
    gpu_memory: Annotated[float | None, Parameter(help="Memory of one GPU in GiB, to see what fits.")] = None,
    json: Annotated[bool, Parameter(help="Print JSON.", negative="")] = False,
) -> None:
    """Say what a run will take before it is started: tokens, hours, disk, memory. Starts nothing."""
    from thickets.cli.display import quiet_libraries
    from thickets.cli.plan import as_json, print_plan
    from thickets.plan import Given, make_plan

    parsed = _configured(config, flags)
    share = None if answer_share is None else tuple(answer_share)
    given = Given(rate, source, share, prompt_tokens, parameters, gpu_memory)
    quiet_libraries()
    planned = make_plan(parsed, given)
    if json:
        print(dumps(as_json(planned), indent=1))
    else:
        print_plan(planned)


app.command(with_config_flags(_plan), name="plan")


def _baseline(
    run: Path | None,
    flags: dict[str, Any],
    *names: Annotated[str, Parameter(help="Baselines by name; the default ones if none is given.")],
    every: Annotated[bool, Parameter(name="--list", negative="", help="List the baselines, and do nothing.")] = False,
    model: Annotated[str | None, Parameter(help="The base model, where it is not where it was.")] = None,
) -> None:
    """Add baselines to a finished run, the default ones if none are named, and write its report again."""
    from thickets.cli.tables import print_names, print_result

    if every:
        from thickets.baselines.base import baseline_names

        print_names("baseline", "what RandOpt is held against", baseline_names())
        return
    from thickets.cli.display import make_progress, quiet_libraries, stopped
    from thickets.randopt import add_baselines

    config = read_run(run, flags)
    quiet_libraries()
    progress = make_progress(config.progress)
    try:
        summary = add_baselines(config, names or ("default",), progress, model=model)
    except KeyboardInterrupt:
        stopped(config.directory)
        raise
    print_result(summary, config.directory)


app.command(
    with_config_flags(_baseline, AddedConfig, "The directory of a finished run.", {"baselines.names"}),
    name="baseline",
)

app.command(with_config_flags(landscape, BesideConfig, "The directory of a finished run."), name="landscape")


def _configured(config: Path | None, flags: dict[str, Any]) -> RunConfig:
    settings = merge(read_toml(config) if config else {}, flags)
    return parse(settings, str(config) if config else "the command line")


@app.command
def show(run: RunDirectory) -> None:
    """Print a run's figures as tables."""
    from thickets.analysis.summary import summarise
    from thickets.cli.tables import print_summary
    from thickets.store import Run

    with Run.read(run) as opened:
        print_summary(summarise(opened, in_depth=True))


@app.command
def ask(
    run: Annotated[Path, Parameter(help="A finished run's directory, or an ensemble.json.")],
    question: Annotated[str, Parameter(help="The question, put the way the task puts its questions.")],
    *,
    model: Annotated[str | None, Parameter(help="The base model, where it is not where it was.")] = None,
    members: Annotated[int | None, Parameter(help="Ask only this many of the best members.")] = None,
    device: Annotated[str, Parameter(help="Where to run: cpu, cuda, cuda:1.")] = "auto",
) -> None:
    """Ask an ensemble: all members' answers and their vote."""
    from thickets.cli.display import quiet_libraries
    from thickets.cli.tables import print_answer
    from thickets.config import EngineConfig
    from thickets.ensemble import Ensemble

    quiet_libraries()
    ensemble = Ensemble.load(run, model=model, engine=EngineConfig(device=device))
    print_answer(ensemble.generate([question], members=members)[0], ensemble.members)


@app.command
def weights(
    model: Annotated[str, Parameter(help="Hub id or local folder of a Hugging Face causal language model.")],
    *,
    include: Annotated[list[str] | None, Parameter(help="Shell patterns of names that move.", **_LIST)] = None,
    exclude: Annotated[list[str] | None, Parameter(help="Shell patterns of names that stay.", **_LIST)] = None,
    scale: Annotated[str, Parameter(help="Scale rule: absolute, relative or spectral.")] = "absolute",
    sigma: Annotated[float, Parameter(help="Standard deviation of the step before the scale rule.")] = 1e-3,
    noise: Annotated[str, Parameter(help="Noise scheme and its version.")] = "gaussian/1",
    mass_matrix: Annotated[float, Parameter(help="Multiplies the steps of matrices under spectral.")] = 1.0,
    mass_embedding: Annotated[float, Parameter(help="Multiplies the steps of embeddings under spectral.")] = 1.0,
    mass_vector: Annotated[float, Parameter(help="Multiplies the steps of vectors under spectral.")] = 1.0,
    revision: Annotated[str | None, Parameter(help="Branch, tag or commit on the Hub.")] = None,
    every: Annotated[bool, Parameter(name="--all", negative="", help="A row for every tensor.")] = False,
    json: Annotated[bool, Parameter(negative="", help="Print JSON, every tensor on its own.")] = False,
) -> None:
    """List what a perturbation would move, with sizes, standard deviations and steps, and what stays and why."""
    from thickets.cli.display import quiet_libraries
    from thickets.cli.weights import print_survey, survey

    scope = {"include": include, "exclude": exclude}
    masses = {"mass_matrix": mass_matrix, "mass_embedding": mass_embedding, "mass_vector": mass_vector}
    settings = {
        "model": {"name": model, "revision": revision},
        "weights": {k: v for k, v in scope.items() if v is not None} | {"scale": scale} | masses,
        "search": {"sigmas": [sigma], "noise": noise},
    }
    parsed = parse(settings, "the command line")
    quiet_libraries()
    found = survey(parsed)
    if json:
        print(dumps(found.as_json(), indent=1))
    else:
        print_survey(found, every)


@app.command
def export(
    run: Annotated[Path, Parameter(help="A finished run's directory, an ensemble.json, or a single model's es.json.")],
    *,
    member: Annotated[int | None, Parameter(help="The rank of the member, from 1 (the default).")] = None,
    out: Annotated[Path, Parameter(help="The folder to write; it must not exist yet.")],
    model: Annotated[str | None, Parameter(help="The base model, where it is not where it was.")] = None,
    device: Annotated[str, Parameter(help="Where to work the weights out: cpu, cuda.")] = "auto",
) -> None:
    """Write one member, or the model that a baseline made, as an ordinary Hugging Face folder."""
    from thickets.cli.display import quiet_libraries
    from thickets.ensemble import Ensemble, is_single, read_single
    from thickets.export import engine_for_export, export_member, export_single

    quiet_libraries()
    if is_single(run):
        if member is not None:
            raise ConfigError(f"{run} is a single model without members; leave out --member")
        print(export_single(read_single(run), out, model, device))
        return
    ensemble = Ensemble.load(run, model=model, engine=engine_for_export(device))
    print(export_member(ensemble, 1 if member is None else member, out))


@app.command
def tasks(
    *,
    rewards: Annotated[bool, Parameter(negative="", help="List the built-in rewards for data of your own.")] = False,
) -> None:
    """List the tasks, or the built-in rewards."""
    from thickets.cli.tables import print_names
    from thickets.tasks import task_summaries
    from thickets.tasks.rewards import reward_summaries

    if rewards:
        print_names("reward", "what it gives", reward_summaries())
    else:
        print_names("task", "what it asks", task_summaries())


def _check(task: Path | None, flags: dict[str, Any]) -> None:
    """Show three prompts, what a right, a wrong and an empty answer score, and the splits; nothing is run."""
    from thickets.cli.check import check, print_check
    from thickets.cli.display import quiet_libraries

    is_file = task is not None and (task.suffix == ".toml" or len(task.parts) > 1)
    settings = read_toml(task) if task is not None and is_file else {}
    if task is not None and not is_file:
        settings = {"task": str(task)}
    parsed = parse_check(merge(settings, flags), str(task) if is_file else "the command line")
    quiet_libraries()
    for found in check(parsed):
        print_check(found)


task_app = App(name="task", help="Look at a task before it is run.")
task_app.command(
    with_config_flags(_check, CheckConfig, "A task's name, or the TOML file of a run; flags win over it."), name="check"
)
app.command(task_app)


@app.command
def doctor(
    *,
    cluster: Annotated[str | None, Parameter(help="Look at a Ray cluster too: auto, host:port, ray://…")] = None,
    config: Annotated[Path | None, Parameter(help="A run's TOML file: can its model be read, and does it fit?")] = None,
    model: Annotated[str | None, Parameter(help="The same for a model alone.")] = None,
) -> None:
    """Say what this machine has, what is missing, and which engine would be used; and the same of a cluster."""
    from thickets.cli.display import quiet_libraries
    from thickets.cli.doctor import examine
    from thickets.cli.tables import print_findings

    findings = examine()
    if cluster is not None:
        from thickets.cli.doctor_cluster import examine_cluster

        given = {"model": model} if model else {}
        planned = _configured(config, given) if config or model else None
        quiet_libraries()
        findings += examine_cluster(cluster, planned)
    elif config or model:
        raise ConfigError("doctor looks at a model only together with a cluster; add --cluster auto")
    print_findings(findings)
    if any(f.state == "missing" for f in findings):
        sys.exit(1)


def main() -> None:
    """Entry point. Exit code 0; 2 for what the user can mend, in one sentence; 130 for Ctrl-C."""
    try:
        app(sys.argv[1:], exit_on_error=False, print_error=False)
    except CycloptsError as error:
        # The sentence without cyclopts' frame; its second line is about how to get help.
        print(f"thickets: {' '.join(str(error).split())} (see `thickets --help`)", file=sys.stderr)
        sys.exit(2)
    except ThicketsError as error:
        print(f"thickets: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output went away (`| head`); Python would complain once more while flushing.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)

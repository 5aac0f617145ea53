"""`skilltokens adapt`: one skill more in a library, from reward, by a task token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import tyro

from skilltokens.behaviour.settings import AdaptSettings, PpoSettings
from skilltokens.cli.options import parse
from skilltokens.cli.profile.options import ProfileOptions, profiled


@dataclass(frozen=True)
class AdaptOptions(ProfileOptions):
    """Adds one skill to a library from reward: a small encoder learns by PPO to steer one of its skills (Task Tokens).

    The encoder's output, a task token, is one more input of the frozen policy. A file is added to the library, and
    every earlier skill keeps its exact bits. The environment is SUITE/TASK, or the id of a Gymnasium environment whose
    info has a success flag; "module:" before the id names the module that registers it, and "?name=value&..." behind it
    gives its arguments. A suite without rewards gives 1
    at success. After Ctrl-C, the same command resumes from the last point of the learning curve.

    examples:
      skilltokens adapt demos/short/halfcheetah/model --env halfcheetah/reach
      skilltokens adapt library --env metaworld/coffee-button --on push --name press-coffee
      skilltokens adapt library --env mymodule:MyRobot-v0 --instruction "wave" --adapt.steps 1000000
      skilltokens adapt library --env "Meta-World/MT1?env_name=push-v3" --instruction "push the puck" --name push
    """

    library: tyro.conf.Positional[Path]
    """The library's folder."""
    env: str
    """The environment: SUITE/TASK, or a Gymnasium id."""
    on: str = ""
    """The skill to steer, one learned from demonstrations; empty: the one whose instruction is nearest."""
    name: str = ""
    """The new skill's name, also that of its file; empty: the task's."""
    instruction: str = ""
    """The sentence that calls the new skill; empty: the task's own."""
    again: bool = False
    """The library may have a skill of this name: the new one is its next version, and the older one is kept."""
    take_over: bool = False
    """The skill may answer sentences that call other skills today."""
    seed: int = 0
    """Seed of the first weights, the episodes and the actions."""
    board: Path | None = None
    """Folder for TensorBoard's files, with the returns and losses of each update; left out: none are written."""
    adapt: AdaptSettings = field(default_factory=AdaptSettings)
    ppo: PpoSettings = field(default_factory=PpoSettings)


def main(words: Sequence[str]) -> int:
    options = parse(AdaptOptions, words, "skilltokens adapt")
    from skilltokens import metrics
    from skilltokens.experiments.experiment import check_installed

    check_installed()
    from skilltokens.behaviour.token import learn_token
    from skilltokens.cli.progress import Single

    with profiled(options.profile, "adapt"), Single("adapting") as report:
        library, curve = learn_token(
            options.library,
            options.env,
            on=options.on,
            name=options.name,
            instruction=options.instruction,
            settings=options.adapt,
            ppo=options.ppo,
            seed=options.seed,
            again=options.again,
            take_over=options.take_over,
            report=report,
            board=options.board,
        )
    skill = library.skill(options.name) if options.name else library.skills[-1]
    assert skill.task_token is not None
    on = library.find(skill.task_token.on).name
    good, tried = curve.successes[-1], curve.episodes
    low, high = (float(end) for end in metrics.wilson(good, tried))
    print(
        f"{library.folder}: skill {skill.name!r} added, steering {on!r} with {skill.parameters:,} "
        f"parameters ({skill.parameters / library.parameters:.1%} of the base's); success {good} of {tried} "
        f"[{low:.2f} to {high:.2f}], {curve.successes[0]} of {tried} before"
    )
    return 0

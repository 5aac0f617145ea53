"""What settings of learning from reward can be: told before anything is made or trained. Free of torch."""

from __future__ import annotations

from skilltokens.checks import check_numbers
from skilltokens.settings import AdaptSettings, PpoSettings, StudySettings
from skilltokens.types import SettingError

BESIDE = ("gravity", "friction", "noise", "prompts")
"""What a body's task is measured under besides."""


def check(adapt: AdaptSettings, ppo: PpoSettings, seed: int) -> None:
    """Raises SettingError, one sentence, where a setting is impossible."""
    check_numbers(seed=seed, adapt=adapt, ppo=ppo)
    if min((*ppo.hidden, *ppo.critic_hidden), default=1) < 1:
        raise SettingError("ppo.hidden and ppo.critic_hidden are widths of layers: use numbers of 1 or more")
    if ppo.envs * ppo.rollout % ppo.batch:
        raise SettingError(
            f"ppo.batch {ppo.batch} is no divisor of the {ppo.envs * ppo.rollout} steps of a rollout (ppo.envs times "
            "ppo.rollout): choose one that is"
        )
    if ppo.normalize and ppo.batch == 1:
        raise SettingError("ppo.batch 1 leaves nothing to scale advantages by: use 2 or more, or --ppo.no-normalize")


def check_study(settings: StudySettings) -> None:
    """The same of a study, which steers a body's model or a library: settings of the other one are refused."""
    check(settings.adapt, settings.ppo, settings.seed)
    check_numbers(motion=settings.motion, **{name: getattr(settings, name) for name in BESIDE})
    if settings.library and not settings.suite:
        raise SettingError("--library needs --suite, the suite whose tasks are to be learned")
    usual = StudySettings()
    if settings.library:
        strange = [name for name in ("body", *BESIDE) if _differs(settings, usual, name)]
        why = "is for bodies, not for a library"
    else:
        strange = [name for name in ("suite", "on") if _differs(settings, usual, name)]
        why = "is for a library: name one with --library"
    if strange:
        raise SettingError(f"--{strange[0]} {why}")


def _differs(settings: StudySettings, usual: StudySettings, name: str) -> bool:
    return getattr(settings, name) not in (getattr(usual, name), ())

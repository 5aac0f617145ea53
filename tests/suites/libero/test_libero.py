"""What the suites of LIBERO say of themselves, against the package that they describe."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from skilltokens.experiments.checks import check_run
from skilltokens.experiments.recipes import recipe
from skilltokens.suites import load_suite, suite_names
from skilltokens.suites.context import in_context, scene_of
from skilltokens.suites.libero import Libero
from skilltokens.suites.names import VARIANTS, libero_suites
from skilltokens.types import ACTION, ENVIRONMENT_STATE, STATE, SettingError


def scene_files(suite: str) -> dict[str, str]:
    """Task -> text of its scene file, in the installed package."""
    from skilltokens.suites.libero.imports import import_libero

    import_libero()
    from libero.libero import get_default_path_dict

    folder = Path(get_default_path_dict()["bddl_files"], suite.replace("-", "_"))
    return {file.stem: file.read_text() for file in folder.glob("*.bddl")}


def test_describing_the_suites_needs_no_simulator():
    code = (
        "import sys\n"
        "from skilltokens.suites import load_suite\n"
        "assert len(load_suite('libero-90').tasks) == 90\n"
        "assert load_suite('libero-goal-images').features\n"
        "assert not {'torch', 'mujoco', 'robosuite', 'libero'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", ["libero-spatial", "libero-object", "libero-goal", "libero-10", "libero-90"])
def test_tasks_are_the_published_ones_in_the_published_order(name: str):
    from skilltokens.suites.libero.imports import import_libero

    import_libero()
    from libero.libero.benchmark import grab_language_from_filename
    from libero.libero.libero_suite_task_map import libero_task_map

    published = libero_task_map[name.replace("-", "_")]
    assert [task.name for task in Libero(name).tasks] == published
    instructions = [grab_language_from_filename(f"{task}.bddl") for task in published]
    assert [task.instruction for task in Libero(name).tasks] == instructions


def test_every_task_of_every_suite_has_its_scene_in_the_package():
    for name in libero_suites():
        suite = Libero(name)
        assert {task.name for task in suite.tasks} <= scene_files(suite.base).keys(), name


def test_every_task_has_as_many_episodes_as_published_states():
    from skilltokens.suites.libero.imports import import_libero

    import_libero()
    from libero.libero import get_default_path_dict

    folder = Path(get_default_path_dict()["init_states"])
    for name in libero_suites():
        if name.endswith("-images"):
            continue
        suite = Libero(name)
        assert (suite.episodes("test"), suite.episodes("train")) == (20, None)
        for task in suite.tasks:
            with np.load(folder / name.replace("-", "_") / f"{task.name}.pruned_init.npz") as file:
                assert 20 + (suite.episodes("validation") or 0) == len(file[file.files[0]]), task.name


def test_a_run_on_more_states_than_there_are_is_refused():
    settings = recipe("libero-goal-images", "t2s")
    for split, count in (("test", 20), ("validation", 30)):
        as_many, more = (replace(settings.evaluate, split=split, episodes=n) for n in (count, count + 1))
        check_run(replace(settings, evaluate=as_many), load_suite(settings.suite))
        with pytest.raises(SettingError, match=f"has {count} different episodes of the split '{split}'"):
            check_run(replace(settings, evaluate=more), load_suite(settings.suite))


@pytest.mark.parametrize("suite", ["libero-spatial", "libero-object", "libero-goal", "libero-10"])
def test_a_paraphrase_is_what_the_variants_file_says_and_is_never_trained_on(suite: str):
    files = scene_files(f"{suite}-lan")
    for task, other in zip(Libero(suite).tasks, Libero(f"{suite}-lan").tasks, strict=True):
        match = re.search(r"\(:language\s+(.*?)\)", files[task.name], re.DOTALL)
        assert match is not None
        assert other.instruction == match.group(1).strip()
        assert task.held_out == (other.instruction,)
        assert other.instruction not in (task.instruction, *task.wordings)


def test_variants_have_the_names_of_the_tasks_they_vary():
    for suite in ("libero-spatial", "libero-object", "libero-goal", "libero-10"):
        for variant in VARIANTS:
            assert [t.name for t in Libero(f"{suite}-{variant}").tasks] == [t.name for t in Libero(suite).tasks]


def test_other_tasks_have_other_instructions():
    was = {task.name: task.instruction for task in Libero("libero-goal").tasks}
    assert all(task.instruction != was[task.name] for task in Libero("libero-goal-task").tasks)


def test_all_suites_are_registered_and_can_be_sent_to_workers():
    for name, summary in libero_suites().items():
        assert suite_names()[name] == summary
        suite = load_suite(name)
        assert suite.name == name
        assert pickle.loads(pickle.dumps(suite)).tasks == suite.tasks  # noqa: S301  (our own bytes)


def test_every_number_of_an_observation_has_its_constants():
    suite = Libero("libero-goal")
    assert set(suite.features) == {STATE, ENVIRONMENT_STATE, ACTION}
    for name, scale in suite.scales.items():
        assert len(scale.center) == len(scale.unit) == suite.features[name].shape[-1]
        assert min(scale.unit) > 0


def test_an_unknown_suite_is_refused_with_the_nearest_name():
    with pytest.raises(SettingError, match=r"'libero-goals'.*libero-goal"):
        Libero("libero-goals")


def test_scenes_tell_the_28_tasks_of_libero_90_with_the_words_of_another_apart():
    suite = Libero("libero-90")
    plain, told = (
        [in_context(suite, task, context).instruction for task in suite.tasks] for context in ("none", "scene")
    )
    assert sum(plain.count(instruction) > 1 for instruction in plain) == 28
    assert len(set(told)) == 90
    assert told[0] == f"{plain[0]} in kitchen scene 10"
    rooms = {" ".join(scene_of(suite, task).split()[1:-2]) for task in suite.tasks}
    assert rooms == {"kitchen", "living room", "study"}


def test_a_suite_of_a_single_scene_names_none():
    suite = Libero("libero-goal")
    assert {scene_of(suite, task) for task in suite.tasks} == {""}
    variant = Libero("libero-10-lan-images")
    assert scene_of(variant, variant.tasks[0]) == "in living room scene 2"

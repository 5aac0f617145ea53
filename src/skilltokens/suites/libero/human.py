"""LIBERO's published demonstrations, made by people, as demonstrations of our suites.

The published files hold pictures, the arm's joints and, in `states`, the simulator's state (time, qpos, qvel) before
each action; where the objects are is in no other array. So every state is put back into the simulator, which then
says what the suite observes there. Fixtures (cabinet, stove, rack) stand elsewhere in each demonstration and are in
none of its states: their poses come from the scene's XML, which each demonstration has in its attribute `model_file`.

Importing this module needs LIBERO. Source: LIBERO's scripts/create_dataset.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.parsers import expat

import h5py
import numpy as np
from numpy.typing import NDArray

from skilltokens.demos import DemonstrationStore, write_store
from skilltokens.exchange.conversion import Conversion, conversion_of
from skilltokens.exchange.demo import read_demo
from skilltokens.exchange.hdf5 import import_hdf5, origin
from skilltokens.exchange.known import IMAGES
from skilltokens.exchange.layout import (
    dataset,
    demo_names,
    get,
    json_in,
    libero_instruction,
    member,
    opened,
    own_entry,
    reading,
    text_of,
)
from skilltokens.suites.libero import Libero
from skilltokens.suites.libero.environment import LiberoEnvironment
from skilltokens.types import (
    SIMULATOR_STATE,
    Array,
    DemonstrationError,
    Episode,
    Feature,
    Progress,
    Report,
    Task,
    silent,
)


def import_human(
    path: str | Path,
    target: str | Path,
    suite: Libero,
    *,
    task: Task | None = None,
    subset: str | None = None,
    images: bool = False,
    source: str | None = None,
    clip: bool = False,
    report: Report = silent,
) -> DemonstrationStore:
    """Makes the store `target` with the features of `suite` from one of LIBERO's files; see `import_hdf5`.

    Our own exports already hold the suite's observations and are taken as they are.

    Args:
        task: the suite's task; None finds it by the file's name, its scene file or its instruction.
        images: take the file's pictures too, unless the suite draws its own. They were taken after the action beside
            them, so each demonstration then begins with its second action.

    Raises:
        DemonstrationError: the file cannot be read, lacks an array, shows another scene, or a demonstration breaks a
            rule.
        SettingError: no such task.
        SuiteError: LIBERO is damaged.
    """
    path = Path(path)
    with opened(path) as file, reading(path):
        task = task or _task_in(path, member(path, file, "data"), suite)
        ours = bool(own_entry(path, file))
    if ours:
        return import_hdf5(
            path,
            target,
            task=task,
            subset=subset,
            suite=suite.name,
            source=source,
            clip=clip,
            bounded=True,
            report=report,
        )
    return _import_published(path, target, suite, task, subset, images, source, clip, report)


def _import_published(
    path: Path,
    target: str | Path,
    suite: Libero,
    task: Task,
    subset: str | None,
    images: bool,
    source: str | None,
    clip: bool,
    report: Report,
) -> DemonstrationStore:
    """The same for a file that LIBERO published: its states are put back into the simulator."""
    with opened(path) as file:
        with reading(path):
            names = demo_names(path, file, subset)
            data = member(path, file, "data")
            asked = origin(path, subset=subset, source=source, clip=clip, images=images)
            # A conversion without keys: what the suite observes comes from the simulator instead, be it pictures.
            images = images and not any(name.startswith(IMAGES) for name in suite.features)
            conversion = replace(conversion_of(path, data, names[0], {}, images), bounded=True)
            imported = {**asked, "says": instruction_in(path, data), **conversion.settings()}
        environment = suite.make(task)
        state = Feature(environment.state().shape, "float64")
        try:
            return write_store(
                target,
                _episodes(path, data, names, conversion, clip, environment, report),
                task=task,
                features={**conversion.features, **suite.features, SIMULATOR_STATE: state},
                source=source or "human",
                suite=suite.name,
                versions=suite.versions(),
                settings={"imported": imported},
            )
        finally:
            environment.close()


def _episodes(
    path: Path,
    data: h5py.Group,
    names: Sequence[str],
    conversion: Conversion,
    clip: bool,
    environment: LiberoEnvironment,
    report: Report,
) -> Iterator[Episode]:
    """The file's demonstrations, as the environment observes them."""
    for number, name in enumerate(names):
        report(Progress("import", number, len(names), name))
        with reading(path):
            demo = member(path, data, name)
            given = read_demo(path, demo, conversion, clip)
            states = _states(path, demo, environment, len(given) + conversion.late)
            fixtures = _fixtures(path, demo, environment)
        seen = observations_of(environment, states, fixtures)
        yield Episode({**given.features, **{key: rows[conversion.late :] for key, rows in seen.items()}})


def observations_of(
    environment: LiberoEnvironment, states: NDArray[np.float64], fixtures: NDArray[np.float64]
) -> dict[str, Array]:
    """What the suite observes in each state of one episode, and the states with the fixtures (`simulator.state`).

    Args:
        states: (steps, 1 + nq + nv), as LIBERO stores them.
        fixtures: (fixtures, 7): position and quaternion (w first) of each fixture, in the environment's order.

    Raises:
        SuiteError: the states are of another scene.
    """
    full = np.concatenate([states, np.tile(fixtures.ravel(), (len(states), 1))], axis=1)
    environment.restore(full[0])
    environment.begin()
    seen = [environment.restore(state) for state in full]
    return {name: np.stack([step[name] for step in seen]) for name in seen[0]} | {SIMULATOR_STATE: full}


def task_shown(path: str | Path, suite: Libero) -> Task:
    """The task of `suite` that a file of LIBERO's shows, by the file's name, its scene file's, or its instruction.

    Raises:
        DemonstrationError: none of them names a task, or the instruction is that of another one.
    """
    path = Path(path)
    with opened(path) as file, reading(path):
        return _task_in(path, member(path, file, "data"), suite)


def _task_in(path: Path, data: h5py.Group, suite: Libero) -> Task:
    known = {task.name: task for task in suite.tasks}
    instruction = instruction_in(path, data)
    matches = [task for task in suite.tasks if _plain(task.instruction) == _plain(instruction)]
    scene = text_of(data.attrs.get("bddl_file_name", "")).rpartition("/")[2].removesuffix(".bddl")
    metas = [str(json_in(path, member(path, data, name), "ep_meta").get("task", "")) for name in list(data)[:1]]
    for name in (path.stem.removesuffix("_demo"), scene, *metas):
        if name in known:
            if matches and known[name] not in matches:
                raise DemonstrationError(
                    f"{path} is named after {name!r}, but its instruction {instruction!r} is that of "
                    f"{matches[0].name!r}: say which task it shows"
                )
            return known[name]
    if len(matches) == 1:
        return matches[0]
    raise DemonstrationError(
        f"{path} does not say which task of {suite.name} it shows (its instruction: {instruction!r}): name the task"
    )


def instruction_in(path: Path, data: h5py.Group) -> str:
    """The instruction in a file of LIBERO's; empty where there is none."""
    return libero_instruction(path, data) or ""


def fixture_names(environment: LiberoEnvironment) -> list[str]:
    """The bodies of the environment's fixtures, in the order of their poses in its state."""
    domain = environment.domain
    return [environment.model.body(domain.obj_body_id[name]).name for name in domain.fixtures_dict]


def fixture_poses(where: str, xml: str, names: Sequence[str]) -> NDArray[np.float64]:
    """Position and quaternion (w first) of the bodies `names` of a MuJoCo scene, (names, 7); `where` is for messages.

    Only these two attributes of bodies that stand on the world are read. Text with a document type is refused, since
    entities could be defined there that grow without end or name files.

    Raises:
        DemonstrationError: the text is no such XML, or lacks a body.
    """
    bodies: dict[str, Mapping[str, str]] = {}
    inside: list[str] = []

    def start(tag: str, attributes: dict[str, str]) -> None:
        if tag == "body" and inside == ["mujoco", "worldbody"] and "name" in attributes:
            bodies[attributes["name"]] = attributes
        inside.append(tag)

    def refuse(*_: Any) -> None:
        raise DemonstrationError(f"{where} declares a document type, which no scene of LIBERO's does: it is not read")

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _: inside.pop() and None
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(xml, True)
    except (expat.ExpatError, ValueError) as problem:
        raise DemonstrationError(f"{where} is no XML ({problem}): get the file again") from problem
    poses = [_pose(where, name, bodies) for name in names]
    return np.array(poses, np.float64).reshape(-1, 7)


def _pose(where: str, name: str, bodies: Mapping[str, Mapping[str, str]]) -> list[float]:
    if name not in bodies:
        raise DemonstrationError(f"{where} has no fixture {name!r} on its scene: it is of another task")
    attributes = bodies[name]
    turned = sorted({"axisangle", "xyaxes", "zaxis", "euler"} & attributes.keys())
    try:
        position, turn = attributes.get("pos", "0 0 0").split(), attributes.get("quat", "1 0 0 0").split()
        pose = [float(number) for number in (*position, *turn)]
    except ValueError:
        pose = []
    if turned or len(pose) != 7 or not np.isfinite(pose).all():
        raise DemonstrationError(
            f"{where} does not give the pose of {name!r} as pos and quat ({dict(attributes)}): get the file again"
        )
    return pose


def _fixtures(path: Path, demo: h5py.Group, environment: LiberoEnvironment) -> NDArray[np.float64]:
    """The poses of the environment's fixtures in one demonstration."""
    names = fixture_names(environment)
    if not names:
        return np.zeros((0, 7))
    xml = demo.attrs.get("model_file")
    if xml is None:
        raise DemonstrationError(
            f"{path}: {demo.name} has no attribute 'model_file', which says where {', '.join(names)} stand: get the "
            "file as LIBERO published it"
        )
    return fixture_poses(f"{path}: 'model_file' of {demo.name}", text_of(xml), names)


def _states(path: Path, demo: h5py.Group, environment: LiberoEnvironment, steps: int) -> NDArray[np.float64]:
    """The simulator's states of one demonstration, (steps, 1 + nq + nv)."""
    if get(path, demo, "states") is None:
        raise DemonstrationError(
            f"{path}: {demo.name} has no array 'states', which the observations of {environment.suite} are made from: "
            "get the file as LIBERO published it, or import it without a suite"
        )
    array = dataset(path, demo, "states")
    states = np.asarray(array[()], np.float64)
    width = 1 + environment.model.nq + environment.model.nv
    if states.shape != (steps, width):
        raise DemonstrationError(
            f"{path}: {array.name} has shape {states.shape} where {environment.task} has ({steps}, {width}): it shows "
            "another scene, or was recorded with another version of LIBERO"
        )
    if not np.isfinite(states).all():
        step = int((~np.isfinite(states).all(axis=1)).argmax())
        raise DemonstrationError(
            f"{path}: {array.name}, step {step}, holds a number that is not finite: get the file again"
        )
    return states


def _plain(sentence: str) -> str:
    """The words of a sentence, so that punctuation and capitals make no difference."""
    return " ".join(re.findall(r"[a-z0-9]+", sentence.lower()))

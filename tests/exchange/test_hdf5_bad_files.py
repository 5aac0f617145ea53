"""HDF5 files that cannot be imported: one sentence each, and a store that was there before stays."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from tests.demos.making import make_store
from tests.exchange.making import OPEN, ROBOMIMIC, foreign, opened

from skilltokens.demos import DemonstrationStore
from skilltokens.exchange.hdf5 import import_hdf5
from skilltokens.types import STATE, DemonstrationError

Change = Callable[[Any], None]


def drop(key: str) -> Change:
    def change(file: Any) -> None:
        del file[key]

    return change


def put(key: str, values: object) -> Change:
    def change(file: Any) -> None:
        if key in file:
            del file[key]
        file[key] = values

    return change


def at(key: str, index: tuple[int, ...], value: float) -> Change:
    def change(file: Any) -> None:
        file[key][index] = value

    return change


def attribute(key: str, name: str, value: object) -> Change:
    def change(file: Any) -> None:
        file[key].attrs[name] = value

    return change


def every(*changes: Change) -> Change:
    def change(file: Any) -> None:
        for single in changes:
            single(file)

    return change


def outside(key: str, how: str) -> Change:
    """The same values of the array at `key`, but kept in a file beside this one."""

    def change(file: Any) -> None:
        folder, values = Path(file.filename).parent, file[key][()]
        beside = folder.with_name(f"{folder.name}-beside")
        del file[key]
        if how == "external":
            beside.write_bytes(values.tobytes())
            file.create_dataset(key, values.shape, values.dtype, external=[(str(beside), 0, values.nbytes)])
            return
        with opened(beside, "w") as other:
            other["values"] = values
        if how == "virtual":
            layout = h5py.VirtualLayout(values.shape, values.dtype)
            layout[...] = h5py.VirtualSource(str(beside), "values", values.shape)
            file.create_virtual_dataset(key, layout)
        else:
            file["way"] = h5py.ExternalLink(str(beside), "/")
            file[key] = h5py.SoftLink("/way/values")

    return change


BAD_FILES: dict[str, tuple[Change, str]] = {
    "no data": (drop("data"), r"no group 'data' \(it has nothing\)"),
    "no demos": (every(drop("data/demo_0"), drop("data/demo_1")), "there are no demonstrations in data"),
    "no actions": (drop("data/demo_1/actions"), r"/data/demo_1 has no array 'actions': known are obs"),
    "no obs": (drop("data/demo_0/obs"), r"/data/demo_0 has no group 'obs'"),
    "missing key": (drop("data/demo_1/obs/state"), r"/data/demo_1/obs has no array 'state': known are other"),
    "key misspelt": (
        lambda file: file.move("data/demo_1/obs/state", "data/demo_1/obs/stat"),
        "did you mean 'stat'",
    ),
    "nan": (at("data/demo_1/obs/state", (2, 0), np.nan), r"/data/demo_1, step 2, .*'observation.state' holds nan"),
    "nan action": (at("data/demo_0/actions", (1, 0), np.nan), r"/data/demo_0, step 1, feature 'action' holds nan"),
    "action width": (put("data/demo_1/actions", np.zeros((6, 8))), r"/data/demo_1, .*'action' has shape \(6, 8\)"),
    "action text": (put("data/demo_1/actions", [b"left"] * 6), r"demo_1/actions is no array of numbers"),
    "action scalar": (put("data/demo_1/actions", 1.0), r"demo_1/actions is no array of numbers"),
    "action vector": (put("data/demo_0/actions", np.zeros(4)), r"'action' has shape \(6, 7\) where \(steps, 1\)"),
    "action sets": (put("data/demo_0/actions", np.zeros((4, 2, 7))), r"has the shape \(2, 7\) a step: actions are one"),
    "action whole": (
        put("data/demo_1/actions", np.full((6, 7), 2**25 + 1)),
        r"demo_1, step 0, feature 'action' holds 33554433, which float32 cannot say exactly",
    ),
    "state whole": (
        put("data/demo_1/obs/other", np.full((6, 2), 1_700_000_000_123_456_789)),
        r"feature 'observation.state' holds 1700000000123456789, which float32 cannot say",
    ),
    "only the simulator's states": (
        every(drop("data/demo_0/obs"), put("data/demo_0/states", np.zeros((4, 45)))),
        r"only what the simulator needs .* let robomimic's dataset_states_to_obs.py observe it",
    ),
    "width": (put("data/demo_1/obs/state", np.zeros((6, 4))), r"/data/demo_1, feature 'observation.state' has shape"),
    "rows": (put("data/demo_1/obs/state", np.zeros((5, 3))), r"demo_1/obs/state has 5 rows for 6 actions"),
    "empty": (
        every(
            put("data/demo_1/actions", np.zeros((0, 7))),
            put("data/demo_1/obs/state", np.zeros((0, 3))),
            put("data/demo_1/obs/other", np.zeros((0, 2))),
            attribute("data/demo_1", "num_samples", 0),
        ),
        "/data/demo_1 is empty",
    ),
    "count": (attribute("data/demo_1", "num_samples", 9), r"has 6 actions where num_samples says 9"),
    "not JSON": (attribute("data/demo_1", "ep_meta", "{lang"), r"'ep_meta' of /data/demo_1 is not JSON"),
    "own altered": (attribute("data", "skilltokens", '{"stores": 3}'), r"'skilltokens' of /data is altered"),
    "no instruction": (attribute("data/demo_0", "ep_meta", "{}"), "does not say what it shows: give an instruction"),
    "empty instruction": (attribute("data/demo_0", "ep_meta", '{"lang": " "}'), "empty instruction"),
    "long instruction": (
        attribute("data/demo_0", "ep_meta", json.dumps({"lang": "x" * 10_000})),
        "has 10000 characters: shorten it to at most 1000",
    ),
    "other file": (put("data/demo_1/obs/state", h5py.ExternalLink("/etc/passwd", "/x")), "points to another file"),
    "other file's bytes": (outside("data/demo_1/obs/state", "external"), "obs/state points to another file"),
    "other file's array": (outside("data/demo_1/obs/state", "virtual"), "obs/state points to another file"),
    "other file behind a link": (outside("data/demo_1/obs/state", "soft link"), "obs/state points to another file"),
    "other file's actions": (outside("data/demo_0/actions", "external"), "actions points to another file"),
    "other file's subset": (
        every(put("mask/chosen", [b"demo_0"]), outside("mask/chosen", "soft link")),
        "mask/chosen points to another file",
    ),
    "subset of nothing": (put("mask/chosen", [b"demo_7"]), "has no group 'demo_7'"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_is_one_sentence_and_the_old_store_stays(tmp_path: Path, case: str) -> None:
    change, message = BAD_FILES[case]
    path = foreign(tmp_path / "own.hdf5", {"state": (3,), "other": (2,)})
    with opened(path, "a") as file:
        if "instruction" not in case:
            attribute("data/demo_0", "ep_meta", json.dumps({"lang": "open the door"}))(file)
        change(file)
    old = make_store(tmp_path / "target")
    with pytest.raises(DemonstrationError, match=message) as raised:
        import_hdf5(path, tmp_path / "target", subset="chosen" if "subset" in case else None)
    sentence = str(raised.value)
    assert str(path) in sentence or str(tmp_path / "target") in sentence
    assert "\n" not in sentence
    assert len(sentence) < 500
    assert DemonstrationStore.open(tmp_path / "target").digest == old.digest
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["own.hdf5", "target"]


def test_files_that_are_not_hdf5_or_are_cut_short(tmp_path: Path) -> None:
    whole = foreign(tmp_path / "whole.hdf5", {"state": (3,)}, lengths=(50,) * 20).read_bytes()
    for kept in (0, 3, 100, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut.hdf5").write_bytes(whole[:kept])
        with pytest.raises(DemonstrationError, match="is no readable HDF5 file, or is truncated"):
            import_hdf5(tmp_path / "cut.hdf5", tmp_path / "store", task=OPEN)
    with pytest.raises(DemonstrationError, match="does not exist: check the path"):
        import_hdf5(tmp_path / "nowhere.hdf5", tmp_path / "store", task=OPEN)
    os.mkfifo(tmp_path / "pipe.hdf5")
    with pytest.raises(DemonstrationError, match="is a pipe where a file is needed"):
        import_hdf5(tmp_path / "pipe.hdf5", tmp_path / "store", task=OPEN)
    with pytest.raises(DemonstrationError, match="is a folder where a file is needed"):
        import_hdf5(tmp_path, tmp_path / "store", task=OPEN)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("signature", [b"HEAP", b"TREE", b"SNOD"])
@pytest.mark.parametrize("which", [0, 1, -1])
def test_damaged_tables_inside_a_file_are_one_sentence(tmp_path: Path, signature: bytes, which: int) -> None:
    pieces = foreign(tmp_path / "own.hdf5", {"state": (3,)}).read_bytes().split(signature)
    assert len(pieces) > 2
    cut = which % (len(pieces) - 1) + 1
    (tmp_path / "own.hdf5").write_bytes(signature.join(pieces[:cut]) + b"DEAD" + signature.join(pieces[cut:]))
    with pytest.raises(DemonstrationError, match=r"own.hdf5 is damaged \(.*\): get the file again"):
        import_hdf5(tmp_path / "own.hdf5", tmp_path / "store", task=OPEN)
    assert not (tmp_path / "store").exists()


def test_impossible_keys_are_refused(tmp_path: Path) -> None:
    path = foreign(tmp_path / "lift.hdf5", ROBOMIMIC)
    bad = {
        "only vectors can be joined": {STATE: ["agentview_image", "object"]},
        "did you mean 'object'": {STATE: ["objects"]},
        "cannot name a feature": {"state": ["object"]},
        "no array": {STATE: ["robot0_eef"]},
        "names no key": {STATE: []},
    }
    for message, keys in bad.items():
        with pytest.raises(DemonstrationError, match=message):
            import_hdf5(path, tmp_path / "store", task=OPEN, keys=keys)


def test_a_file_on_which_hdf5_goes_in_circles_is_one_sentence(tmp_path: Path) -> None:
    """An emptied heap of texts, in which its library looks for the next one for ever."""
    path = foreign(tmp_path / "own.hdf5", {"state": (3,)})
    with opened(path, "a") as file:
        attribute("data/demo_0", "ep_meta", json.dumps({"lang": "open the door"}))(file)
    content = bytearray(path.read_bytes())
    heap = content.index(b"GCOL") + 16
    content[heap : heap + 2000] = bytes(2000)
    path.write_bytes(content)
    with pytest.raises(DemonstrationError, match="is damaged"):
        import_hdf5(path, tmp_path / "store")
    assert not (tmp_path / "store").exists()

"""A grid's file: its form, its mistakes, and what its folder keeps of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skilltokens.experiments.grid import KEPT, grid_of, keep, read_grid, read_kept, seeds_of
from skilltokens.types import RunError, SettingError


def written(folder: Path, text: str, name: str = "night.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_the_top_is_what_all_parts_have_and_a_part_comes_first(tmp_path: Path):
    text = """
        recipe = "demo"
        methods = ["t2s", "lora"]
        seeds = "0-2,7"
        [settings]
        evaluate.points = 3
        "train.first_iterations" = 60
        [vary]
        train.rate = [1e-3, 2e-3]
        [[part]]
        [[part]]
        method = "sequential"
        seed = 4
        label = "quick"
        settings.train.rate = 0.1
        vary.evaluate.points = [1, 2]
    """
    grid = read_grid(str(written(tmp_path, text)))
    assert (grid.name, grid.out) == ("night", Path("runs/night"))
    first, second = grid.parts
    assert (first.recipes, first.methods, first.seeds) == (("demo",), ("t2s", "lora"), (0, 1, 2, 7))
    assert first.common == {"evaluate.points": 3, "train.first-iterations": 60}
    assert first.vary == {"train.rate": (0.001, 0.002)}
    assert (second.methods, second.seeds, second.label) == (("sequential",), (4,), "quick")
    assert second.common == {"train.first-iterations": 60}, "what the part says itself comes first"
    assert second.settings == {"train.rate": 0.1}
    assert second.vary == {"evaluate.points": (1, 2)}


def test_without_parts_the_top_is_the_one_part(tmp_path: Path):
    (part,) = read_grid(str(written(tmp_path, 'recipe = ["demo", "metaworld-cw10"]\nname = "mine"'))).parts
    assert (part.recipes, part.methods, part.seeds) == (("demo", "metaworld-cw10"), (), ())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("methods = ['t2s']", "night.toml names no recipe"),
        ("recipe = 'demo'\nrecipe = 'x'", "at line 2"),
        ("recipe = 'demo'\nmethds = ['t2s']", "unknown key 'methds': did you mean 'method'?"),
        ("recipe = 'demo'\nrecipes = ['demo']", "says recipe twice, as 'recipes' too"),
        ("recipe = 'demo'\n'train.rate' = 1", "write settings.train.rate"),
        ("recipe = 'demo'\nmethods = []", "methods: the list is empty"),
        ("recipe = 'demo'\nmethods = ['t2s', 't2s']", "methods: 't2s' is named twice"),
        ("recipe = 'demo'\nmethods = 3", "methods 3 is no text"),
        ("recipe = 'demo'\nseeds = []", "seeds: the list is empty"),
        ("recipe = 'demo'\nseeds = '3-1'", "seeds '3-1' are no seeds"),
        ("recipe = 'demo'\nseeds = [1, '0-2']", "seeds: 1 is named twice"),
        ("recipe = 'demo'\nseeds = true", "seeds True are no seeds"),
        ("recipe = 'demo'\nseeds = '0-99999999999'", "are no seeds"),
        ("recipe = 'demo'\n[vary]\ntrain.rate = []", "vary: train.rate: the list is empty"),
        ("recipe = 'demo'\n[vary]\ntrain.rate = 3", "vary: train.rate is not a list: write [3]"),
        ("recipe = 'demo'\n[vary]\ntrain.rate = [1, 1.0]", "train.rate: 1 is there twice"),
        ("recipe = 'demo'\n[settings]\ntrain.rate = 1979-05-27", "train.rate: datetime.date(1979, 5, 27) is no value"),
        ("recipe = 'demo'\n[settings]\ntrain.rate=1\n'train.rate'=2", "night.toml: train.rate is named twice"),
        ("recipe = 'demo'\nsettings.a.b = 1\nvary.a.b = [1]", "a.b is in settings and in vary"),
        ("recipe = 'demo'\nsettings = 3", "3 is no table of settings"),
        ("recipe = 'demo'\npart = 3", "part: 3 is no table"),
        ("recipe = 'demo'\n[[part]]\nname = 'x'", "night.toml, part 1 has an unknown key 'name'"),
        ("recipe = 'demo'\nname = '../x'", "name '../x' is no name for a folder"),
        ("recipe = 'demo'\n[[part]]\nlabel = 'a/b'", "label 'a/b' is no name for a folder"),
        ("recipe = 'demo'\n[[exclude]]", "an empty combination would leave out every cell"),
        ("recipe = ", "cannot be read as TOML"),
    ],
)
def test_a_mistake_is_one_sentence_with_the_file_and_the_key(tmp_path: Path, text: str, said: str):
    with pytest.raises(SettingError) as mistake:
        read_grid(str(written(tmp_path, text)))
    assert said in str(mistake.value)
    assert "night.toml" in str(mistake.value)
    assert "\n" not in str(mistake.value)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("missing.toml", "missing.toml does not exist"),
        ("grid.yaml", "grid.yaml is no grid: name a file GRID.toml"),
        ("no_such_module:night", "there is no grid at 'no_such_module:night' (ModuleNotFoundError"),
        ("tests.toy:GAIN", "'tests.toy:GAIN' gives no grid: return a dictionary"),
    ],
)
def test_what_is_no_grid_is_refused(word: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingError) as mistake:
        read_grid(word)
    assert said in str(mistake.value)


def test_a_function_gives_the_same_grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "my_grids.py").write_text(
        "def night():\n    return {'recipe': 'demo', 'seeds': range(2).__len__(), 'vary': {'train.rate': (0.1, 0.2)}}\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    grid = read_grid("my_grids:night")
    assert (grid.name, grid.parts[0].seeds, grid.parts[0].vary) == ("night", (2,), {"train.rate": (0.1, 0.2)})


def test_its_folder_is_enough_to_go_on_wherever_it_lies(tmp_path: Path):
    grid = read_grid(str(written(tmp_path, f"recipe = 'demo'\nout = '{tmp_path / 'out'}'\nseeds = '0-1'")))
    keep(grid, [{"name": "t2s-seed0", "state": "done"}])
    (tmp_path / "out").rename(tmp_path / "moved")
    again = read_grid(str(tmp_path / "moved"))
    assert again.out == tmp_path / "moved"
    assert [(p.recipes, p.methods, p.seeds) for p in again.parts] == [(("demo",), (), (0, 1))]
    assert read_kept(tmp_path / "moved")["cells"] == [{"name": "t2s-seed0", "state": "done"}]
    assert read_grid(str(tmp_path / "moved" / KEPT)).out == tmp_path / "moved"


def test_a_damaged_folder_is_told(tmp_path: Path):
    with pytest.raises(RunError, match=r"holds no grid \(grid.json is missing\)"):
        read_grid(str(tmp_path))
    grid = grid_of({"recipe": "demo", "out": str(tmp_path)}, "here", "here")
    keep(grid, [])
    content: dict[str, Any] = json.loads((tmp_path / KEPT).read_text())
    (tmp_path / KEPT).write_text(json.dumps({**content, "grid": {"recipe": "libero-goal"}}))
    with pytest.raises(RunError, match="its digest differs"):
        read_grid(str(tmp_path))


@given(st.lists(st.integers(0, 60), min_size=1, max_size=12, unique=True))
def test_seeds_are_read_in_every_form(seeds: list[int]):
    assert seeds_of(seeds, "x") == tuple(seeds)
    assert seeds_of(",".join(map(str, seeds)), "x") == tuple(seeds)
    assert seeds_of([str(seed) for seed in seeds], "x") == tuple(seeds)


@given(st.integers(0, 1000), st.integers(0, 30))
def test_a_range_of_seeds_has_both_its_ends(first: int, more: int):
    assert seeds_of(f"{first}-{first + more}", "x") == tuple(range(first, first + more + 1))

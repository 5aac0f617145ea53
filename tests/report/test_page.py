"""The page: whole, alone, true to the runs, and made from strangers' files without harm."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from skilltokens.report import write_report
from skilltokens.types import RunError

Build = Callable[..., Path]
VOID = {"meta", "link", "img", "br", "input", "hr"}


class Outline(HTMLParser):
    """Checks that tags nest, and gathers what the tests ask for."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.sources: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.text: list[str] = []
        self.feed(page)
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        self.ids += [value for value in [attributes.get("id")] if value]
        self.links += [value for value in [attributes.get("href")] if value]
        self.sources += [value for value in [attributes.get("src")] if value]
        if tag == "img" or attributes.get("role") == "img":
            self.images.append(attributes)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, (tag, self.getpos())

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


def _page(runs: list[Path], folder: Path) -> tuple[str, Outline]:
    page = write_report(runs, folder / "report.html").read_text(encoding="utf-8")
    return page, Outline(page)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory, build_once: Build) -> tuple[str, Outline]:
    """Five methods, two seeds each, films in one."""
    folder = tmp_path_factory.mktemp("full")
    methods = ("t2s", "sequential", "lora", "single_task", "multitask")
    runs = [
        build_once(folder / f"{method}-{seed}", method, seed, films=(method, seed) == ("t2s", 0))
        for method in methods
        for seed in (0, 1)
    ]
    return _page(runs, folder)


def test_the_page_is_whole_and_every_link_inside_it_leads_somewhere(full: tuple[str, Outline]):
    _, outline = full
    assert len(outline.ids) == len(set(outline.ids))
    inside = [link[1:] for link in outline.links if link.startswith("#")]
    assert inside
    assert set(inside) <= set(outline.ids)


def test_the_page_needs_nothing_from_anywhere(full: tuple[str, Outline]):
    page, outline = full
    assert all(link.startswith(("#", "data:")) for link in outline.links)
    assert all(source.startswith("data:") for source in outline.sources)
    assert not re.findall(r"url\(|@import|fetch\(|XMLHttp|https?://", page)


def test_every_picture_says_what_it_shows(full: tuple[str, Outline]):
    _, outline = full
    assert len(outline.images) > 20
    for image in outline.images:
        assert image.get("alt") or image.get("aria-label"), image


def test_the_page_follows_the_readers_scheme_and_can_be_switched(full: tuple[str, Outline]):
    page, outline = full
    assert "color-scheme: light dark" in page
    assert "light-dark(" in page
    assert "theme" in outline.ids


def test_all_films_are_inside(full: tuple[str, Outline]):
    _, outline = full
    assert sum(source.startswith("data:image/webp;base64,") for source in outline.sources) == 10


def test_the_first_lines_say_what_came_of_it(full: tuple[str, Outline]):
    words = full[1].words
    assert "Ten skills, one after another" in words
    assert re.search(r"t2s , lora and single_task forget nothing: NBT is exactly 0", words)
    assert "sequential loses" in words


def test_figures_that_a_method_does_not_define_are_dashes(full: tuple[str, Outline]):
    page, _ = full
    row = re.search(r"<tr class=\"m\d joint\">.*?</tr>", page, flags=re.DOTALL)
    assert row is not None
    assert row.group().count("one lesson") == 4
    assert row.group().count('<span class="value">\N{EN DASH}</span>') == 5


def test_cells_of_the_same_bits_are_marked_in_words_too(full: tuple[str, Outline]):
    page, _ = full
    # 45 later cells in each of t2s, lora and single_task
    assert page.count('<span class="only-read"> same bits</span>') == 3 * 45


def test_gradient_flow_says_exactly_zero(full: tuple[str, Outline]):
    assert "the gradient on shared rows is exactly 0 in all 1,755 records" in full[1].words


def test_a_gradient_on_a_shared_row_is_called_out(build: Build, tmp_path: Path):
    def leak(content: dict[str, Any]) -> None:
        content["gradients"][4]["layers"]["layers.1.v"]["shared"][3] = 2e-9

    _, outline = _page([build(tmp_path, change=leak)], tmp_path)
    assert "shared rows got a gradient: at most 2e-09, in layers.1.v, lesson 5" in outline.words
    assert "exactly 0 in all" not in outline.words


def test_a_run_that_went_on_under_other_code_says_so(build: Build, tmp_path: Path):
    def went_on(content: dict[str, Any]) -> None:
        content["resumed"] = [{"at": "2026-01-01T00:00:00+00:00", "commit": "4567def", "versions": {"torch": "9"}}]

    _, outline = _page([build(tmp_path, change=went_on)], tmp_path)
    assert "0123abc, then 4567def" in outline.words

    def spoilt(content: dict[str, Any]) -> None:
        content["resumed"] = [{"at": "2026-01-01T00:00:00+00:00", "commit": 5, "versions": {}}]

    with pytest.raises(RunError, match=r"int - at resumed\[0\]\.commit"):
        _page([build(tmp_path / "b", change=spoilt)], tmp_path)


def test_wordings_and_who_chose_the_skill_are_told(full: tuple[str, Outline]):
    words = full[1].words
    assert "9 of 10 (0.900)" in words
    assert "wording 2 of push-wall" in words
    assert "the skill was chosen by instruction" in words


def test_a_single_unfinished_run_is_shown_as_far_as_it_is(build: Build, tmp_path: Path):
    _, outline = _page([build(tmp_path, "t2s", 3, learned=3)], tmp_path)
    assert "t2s, seed 3, is not finished: 3 of 10 tasks learned; its figures are over those." in outline.words
    assert "After three lessons of ten" in outline.words


@pytest.mark.parametrize("learned", [0, 1])
@pytest.mark.parametrize("method", ["t2s", "multitask", "single_task"])
def test_a_run_that_has_just_begun_makes_a_page(build: Build, tmp_path: Path, method: str, learned: int):
    _, outline = _page([build(tmp_path, method, learned=learned)], tmp_path)
    assert f"{learned} of 10" in outline.words or method == "multitask"


def test_a_single_task_makes_a_page(build: Build, tmp_path: Path):
    _, outline = _page([build(tmp_path, tasks=1)], tmp_path)
    assert "One skill" in outline.words


def test_runs_without_any_optional_key_make_a_page(build: Build, tmp_path: Path):
    def bare(content: dict[str, Any]) -> None:
        for key in ("learning", "gradients", "reuse", "selection", "encoder", "recipe", "commit"):
            content.pop(key, None)
        content["timing"] = {}
        content["config"] = {}

    _, outline = _page([build(tmp_path, change=bare)], tmp_path)
    assert "not recorded" in outline.words


def test_tasks_that_come_twice_make_a_page(build: Build, tmp_path: Path):
    def twice(content: dict[str, Any]) -> None:
        content["tasks"] = content["tasks"][:5] * 2

    _page([build(tmp_path, films=True, change=twice)], tmp_path)


def test_twenty_runs_of_two_suites_get_a_section_each(build: Build, tmp_path: Path):
    def elsewhere(content: dict[str, Any]) -> None:
        content["suite"] = "libero_goal"

    runs = [build(tmp_path / f"{m}{s}", m, s) for m in ("t2s", "lora") for s in range(5)]
    runs += [build(tmp_path / f"{m}{s}-b", m, s, change=elsewhere) for m in ("t2s", "lora") for s in range(5)]
    page, outline = _page(runs, tmp_path)
    assert page.count("Method beside method") == 2
    assert len(outline.ids) == len(set(outline.ids))


def test_what_a_strangers_run_says_is_text_and_never_markup(build: Build, tmp_path: Path):
    bad = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"

    def hostile(content: dict[str, Any]) -> None:
        content["method"] = content["suite"] = content["recipe"] = content["commit"] = bad
        content["tasks"][0] = {"name": bad, "instruction": bad}
        content["selection"][0] |= {"wording": bad, "chosen": 1}
        content["config"]["method"][bad] = bad
        content["versions"][bad] = bad
        content["gradients"][1]["layers"][bad] = {"shared": [0.0] * 13, "specific": [0.1] * 13}
        content["timing"]["machine"] = {bad: bad}

    page, outline = _page([build(tmp_path, change=hostile)], tmp_path)
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert page.count("<script>") == 1
    assert not any("onerror" in image for image in outline.images)


def test_films_outside_the_runs_folder_are_not_embedded(build: Build, tmp_path: Path):
    secret = tmp_path / "secret.webp"
    secret.write_bytes(b"secret")

    def reach(content: dict[str, Any]) -> None:
        content["films"] = {
            "hammer": "../secret.webp",
            "push-wall": str(secret),
            "push": "run.json",
            "push-back": "no.webp",
        }

    page, outline = _page([build(tmp_path / "run", change=reach)], tmp_path)
    assert not outline.sources
    assert "c2VjcmV0" not in page
    assert outline.words.count("not a picture in the run's folder") == 3
    assert "the file is not beside run.json" in outline.words


def test_the_page_is_replaced_whole_or_left_alone(build: Build, tmp_path: Path):
    out = tmp_path / "report.html"
    write_report([build(tmp_path / "a")], out)
    before = out.read_bytes()
    with pytest.raises(RunError, match="truncated or altered"):
        write_report([build(tmp_path / "b", change=lambda content: content.pop("seed"))], out)
    assert out.read_bytes() == before


def test_a_page_of_nothing_or_to_nowhere_is_refused(build: Build, tmp_path: Path):
    with pytest.raises(RunError, match="no run"):
        write_report([], tmp_path / "report.html")
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="could not be written"):
        write_report([build(tmp_path / "a")], tmp_path / "file" / "report.html")


def test_a_skill_s_share_is_said_with_the_frozen_trunk_and_without_it(build: Build, tmp_path: Path):
    def trunk(content: dict[str, Any]) -> None:
        content["parameters"]["trunk"] = 692_688

    page, _ = _page([build(tmp_path, change=trunk)], tmp_path)
    assert "7.7 % (1.4 % with the trunk)" in page
    assert "1.4 % with the frozen trunk" in page

"""What `make peers` does without its environment: sizes are matched, clones are checked, what is missing is said."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks.__main__ import main as run_benchmarks
from benchmarks.kept import PAGE, keep, kept_in
from benchmarks.peers import layers, sources
from benchmarks.peers.libero import our_policy
from benchmarks.peers.lora import Plain
from benchmarks.peers.rewards import Plain as Undotted
from benchmarks.peers.sizes import Size, beside, nearest
from benchmarks.peers.sources import PeerError, Source, cloned
from benchmarks.setting import Bench
from benchmarks.timing import Row
from torch import nn

from skilltokens.model.settings import PolicySettings
from skilltokens.types import ACTION, Feature

ROW = Row("a peer", "ours", "theirs", 0.5, 0.4, 0.6, 0.5, 0.002, 0.004, 9, "below 1", "10 / 11 (+10 %), all trained")
LAYER = """
import a_module_that_is_nowhere
class Another: pass
class Pattention(nn.Module):
    def __init__(self, args, width, out, count, key, value):
        super().__init__()
        self.key_param_tokens = nn.Parameter(torch.rand(count, width))
        key(self.key_param_tokens)
"""


def measured(failed: dict[str, str] | None = None) -> dict[str, Any]:
    """What a run of the benchmarks writes, but for its rows."""
    machine = {"processor": "A CPU", "vectors": "AVX2", "cores": 2, "threads": 1, "load": 3.0, "commit": "c" * 40}
    machine["versions"] = {"python": "3.11", "torch": "2"}
    finished = {"finished": "2026-12-01T00:00:00", "load_after": 4.0}
    return {"machine": machine, "failed": failed or {}, "peers": {"peft": "1"}, **finished}


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *who, "-C", str(folder), *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def origin(tmp_path: Path) -> tuple[Path, str]:
    """A repository with two folders, and a commit of it that is not its newest."""
    path = tmp_path / "origin"
    for name in ("needed/code.py", "meshes/large.obj"):
        (path / name).parent.mkdir(parents=True)
        (path / name).write_text("first\n")
    git(path, "init", "--quiet")
    git(path, "add", ".")
    git(path, "commit", "--quiet", "-m", "first")
    commit = git(path, "rev-parse", "HEAD")
    (path / "needed/code.py").write_text("second\n")
    git(path, "commit", "--quiet", "-a", "-m", "second")
    return path, commit


def test_what_is_nearest_to_a_size_is_chosen_of_equal_ones_the_first():
    assert nearest([1, 2, 3, 4], 70, lambda width: 10 * width**2) == 3
    assert nearest(range(10), 45, lambda width: 10 * width) == 4


def test_a_size_counts_each_parameter_once_and_what_is_trained():
    shared = nn.Linear(3, 2, bias=False)
    module = nn.ModuleList([shared, shared, nn.Linear(2, 1)])
    shared.weight.requires_grad = False
    assert Size.of(module) == Size(9, 3)
    assert Size.of(module, [*shared.parameters(), *shared.parameters()]) == Size(9, 6)


def test_both_sizes_stand_beside_a_row_with_their_difference():
    assert beside(Size(1000, 1000), Size(1020, 1020)) == "1,000 / 1,020 (+2 %), all trained"
    assert beside(Size(1000, 100), Size(1000, 95)) == "1,000 / 1,000 (equal), trained 100 / 95 (-5 %)"


@pytest.mark.parametrize("hidden", [96, 384])
def test_the_plain_transformer_of_torch_is_causal_and_has_the_size_that_is_searched(hidden: int):
    plain = Plain({"a": 3, "b": 2}, 4, PolicySettings(), 5, hidden)
    seen = {"a": torch.rand(2, 5, 3), "b": torch.rand(2, 5, 2)}
    words = torch.rand(2, 384)
    before = plain(seen, words)
    seen["a"][:, -1] += 1
    changed = (plain(seen, words) - before).abs().amax((0, 2)) > 0
    assert changed.tolist() == [False] * 4 + [True]
    assert (
        Size.of(plain).total
        == 480
        + 384 * 96
        + 96
        + 6 * 96
        + 2 * (4 * (96 + 1) * 96 + 4 * 96)
        + 97 * 4
        + (2 * (2 * 96 * hidden + hidden + 96))
        + 192
    )


def test_our_policy_reads_what_liberos_does():
    features = {"observation.b": Feature((3,)), "observation.a": Feature((2,)), ACTION: Feature((7,))}
    policy = our_policy(PolicySettings(width=16, layers=1, head="mixture"), features)
    assert list(policy.seen) == ["observation.a", "observation.b"]
    assert policy.shape.actions == 7


def test_the_environment_has_names_that_stable_baselines_takes():
    seen, _ = Undotted().reset()
    assert sorted(seen) == ["observation-environment_state", "observation-state"]
    assert Undotted.observation_space.contains(seen)


def test_a_clone_has_the_pinned_commit_and_the_folders_that_are_needed(tmp_path: Path, origin: tuple[Path, str]):
    path, commit = origin
    source = Source("Peer", str(path), commit, ("needed",))
    clone = cloned(source, tmp_path / "clones")
    assert (clone / "needed/code.py").read_text() == "first\n"
    assert not (clone / "meshes").exists()
    path.rename(tmp_path / "gone")
    assert cloned(source, tmp_path / "clones") == clone


def test_another_place_is_cloned_where_the_variable_names_one(
    tmp_path: Path, origin: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
):
    path, commit = origin
    monkeypatch.setenv("PEER_SOURCE", str(path))
    source = Source("Peer", str(tmp_path / "nowhere"), commit, ("needed",))
    assert (cloned(source, tmp_path / "clones") / "needed/code.py").is_file()


def test_a_clone_without_the_pinned_commit_is_refused_in_one_sentence(
    tmp_path: Path, origin: tuple[Path, str], capsys: pytest.CaptureFixture[str]
):
    source = Source("Peer", str(origin[0]), "f" * 40, ("needed",))
    for _ in range(2):
        with pytest.raises(
            PeerError, match=r"^Peer's code at commit ffffffff cannot be fetched: say `make peers PEER_"
        ):
            cloned(source, tmp_path / "clones")
    assert "git, for Peer: " in capsys.readouterr().err


def test_the_published_layer_is_cut_out_of_its_file_without_what_the_file_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file = tmp_path / layers.FILE
    file.parent.mkdir(parents=True)
    file.write_text(LAYER)
    monkeypatch.setattr(layers, "cloned", lambda source: tmp_path)
    layers.published_layer.cache_clear()
    try:
        layer = layers.published_layer()(None, 2, 2, 3, layers._copying(torch.ones(3, 2)), None)
        assert layer.key_param_tokens.detach().tolist() == [[1.0, 1.0]] * 3
        layers.published_layer.cache_clear()
        file.write_text("class Another: pass\n")
        with pytest.raises(PeerError, match="has no class Pattention"):
            layers.published_layer()
    finally:
        layers.published_layer.cache_clear()


def test_a_package_that_is_not_there_is_said():
    with pytest.raises(PeerError, match=r"^no_such_peer cannot be imported \(No module named 'no_such_peer'\): run it"):
        sources.load("no_such_peer")


def test_a_peer_that_is_missing_is_not_measured_and_the_others_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    def missing(bench: Bench) -> list[Row]:
        raise PeerError("it cannot be fetched")

    threads, out = torch.get_num_threads(), tmp_path / "peers.json"
    try:
        peers = {"missing": missing, "a peer": lambda bench: [ROW]}
        assert run_benchmarks(["--quick", "--out", str(out)], peers, "peers", lambda: {"peft": "1"}) == 2
    finally:
        torch.set_num_threads(threads)
    content = json.loads(out.read_text())
    assert [row["benchmark"] for row in content["rows"]] == ["a peer"]
    assert content["failed"] == {"missing": "it cannot be fetched"}
    printed = capsys.readouterr().out
    assert "missing was not measured: it cannot be fetched" in printed
    assert "ours / theirs: parameters 10 / 11 (+10 %), all trained" in printed
    assert "peft 1" in printed


def test_what_was_not_measured_stands_on_the_page_until_it_is(tmp_path: Path):
    keep(tmp_path, measured({"a peer": "it cannot be | fetched"}), [], "first")
    page = (tmp_path / PAGE).read_text()
    assert (
        "| a peer | not measured: it cannot be \\| fetched |  |  |  |  |  | 3.0 to 4.0 | 2026-12-01 | cccccccc |"
        in page
    )
    keep(tmp_path, measured({"a peer": "another reason"}), [], "second")
    ((_, rows),) = kept_in(tmp_path).items()
    assert [row["not_measured"] for row in rows] == ["another reason"]
    assert keep(tmp_path, measured(), [ROW], "third") == []
    assert "not measured" not in (tmp_path / PAGE).read_text()
    keep(tmp_path, measured({"a peer": "gone again"}), [], "fourth")
    page = (tmp_path / PAGE).read_text()
    assert "not measured" not in page, "the figures that there were stay"
    assert "| cccccccc | 10 / 11 (+10 %), all trained |" in page
    assert "python 3.11, torch 2, peft 1. By `third`" in page

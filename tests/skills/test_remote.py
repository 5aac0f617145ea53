"""Libraries at the Hub: what a push sends, what a pull takes, and that neither loses or keeps what it must not."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard, snapshot_download
from tests.hubstub import Hub, at_home
from tests.killing import Moment, dies
from tests.skills.making import ENCODER, contents, features, fingerprints, first, grown, make_base

from skilltokens.files import sealed
from skilltokens.model.policy import Shape
from skilltokens.skills.card import CARD, PAPERS, Facts, papers
from skilltokens.skills.disk import Disk
from skilltokens.skills.lerobot import CHECKPOINT, CONFIG, POSTPROCESSOR, PREPROCESSOR, checkpoint
from skilltokens.skills.library import SkillLibrary
from skilltokens.skills.parcel import merge
from skilltokens.skills.pulling import pull_library
from skilltokens.skills.pushing import Pushed, push_library
from skilltokens.skills.records import Add, Prune, Record, Vectors
from skilltokens.skills.skill import Skill
from skilltokens.skills.state import files_of
from skilltokens.skills.verifying import verify
from skilltokens.types import Feature, HubError, LibraryError, SettingError, SkilltokensError

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # huggingface_hub's own, of httpx2
HOME = "me/kitchen"
WRITTEN = Path(__file__).parent / "lerobot"
LISTS = {"library.json", "changes.jsonl"}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with at_home(monkeypatch, tmp_path) as server:
        yield server


def push(hub: Hub, library: SkillLibrary | Path, repository: str = HOME, **words: Any) -> Pushed:
    return push_library(library, repository, endpoint=hub.address, **words)


def pull(hub: Hub, folder: Path, repository: str = HOME, **words: Any) -> SkillLibrary:
    return pull_library(repository, folder, endpoint=hub.address, **words)


def card_of(hub: Hub) -> ModelCard:
    """The model card as the Hub's own client reads it."""
    return ModelCard(hub.repositories[HOME].files[CARD].decode())


def is_whole(folder: Path) -> bool:
    return not any(finding.fault for finding in verify(folder, actions=True))


# ---------------------------------------------------------------- there and back


def test_a_pushed_library_is_pulled_with_every_bit(hub: Hub, folder: Path, tmp_path: Path):
    library = SkillLibrary.open(folder)
    pushed = push(hub, library, license="mit")
    there = hub.repositories[HOME].files
    assert set(there) == set(contents(folder)) | {".gitattributes"}
    assert pushed.commit == hub.repositories[HOME].commits[-1].name
    assert pushed.changes == 6
    assert len(hub.repositories[HOME].commits) == 2, "the Hub's own, and one"
    pulled = pull(hub, tmp_path / "pulled")
    assert fingerprints(pulled) == fingerprints(library)
    assert contents(tmp_path / "pulled") == {path: there[path] for path in contents(folder)}
    assert is_whole(tmp_path / "pulled")
    assert [path.name for path in tmp_path.iterdir() if "tmp-" in path.name] == []
    pulled.add(grown(pulled.base, "later"))
    assert pulled.names[-1] == "later"


def test_a_snapshot_in_the_cache_of_the_hub_opens_and_grows_and_the_cache_stays(hub: Hub, folder: Path, tmp_path: Path):
    library = SkillLibrary.open(folder)
    push(hub, library)
    place = Path(snapshot_download(HOME, cache_dir=tmp_path / "cache", endpoint=hub.address))
    assert (place / "library.json").is_symlink()
    opened = SkillLibrary.open(place)
    assert fingerprints(opened) == fingerprints(library)
    assert is_whole(place)
    blobs = contents(next(tmp_path.glob("cache/*/blobs")))
    opened.add(grown(opened.base, "later"))
    assert contents(next(tmp_path.glob("cache/*/blobs"))) == blobs
    assert is_whole(place)
    push(hub, opened)
    assert "later" in pull(hub, tmp_path / "pulled").names


def test_one_more_skill_sends_its_file_the_lists_and_the_card(hub: Hub, folder: Path):
    library = SkillLibrary.open(folder)
    push(hub, library)
    before, sent = len(hub.asked), hub.sent()
    library.add(grown(library.base, "later"))
    pushed = push(hub, library)
    record = library.state.newest("later")
    skill = f"skills/{record.file}"
    assert set(pushed.sent) == {skill, CARD, "wordings.f32", *LISTS}
    assert [asked.bytes for asked in hub.asked[before:] if asked.method == "PUT"] == [record.bytes]
    sizes = {path: len(content) for path, content in contents(folder).items() if path in pushed.sent and path != CARD}
    assert hub.sent() - sent == sum(sizes.values()) + pushed.sent[CARD]
    assert pushed.changes == 1
    assert hub.repositories[HOME].commits[-1].message == "added later"


def test_a_change_of_words_sends_no_skill_and_the_same_again_nothing(hub: Hub, folder: Path):
    library = SkillLibrary.open(folder)
    push(hub, library)
    library.rename("push", "shove")
    assert set(push(hub, library).sent) == {CARD, *LISTS}
    commits = len(hub.repositories[HOME].commits)
    again = push(hub, library)
    assert (again.sent, again.changes) == ({}, 0)
    assert again.commit == hub.repositories[HOME].commits[-1].name
    assert len(hub.repositories[HOME].commits) == commits


def test_a_pull_into_an_earlier_state_takes_only_what_is_new(hub: Hub, folder: Path, tmp_path: Path):
    library = SkillLibrary.open(folder)
    push(hub, library)
    robot = tmp_path / "robot"
    reader = pull(hub, robot)
    inodes = {path: path.stat().st_ino for path in robot.glob("skills/*")}
    library.add(grown(library.base, "later", [library.skill("pull")]))
    library.retire("turn")
    push(hub, library, license="mit")
    hub.asked.clear()
    pulled = pull(hub, robot)
    assert set(hub.fetched()) == {CARD, "wordings.f32", f"skills/{library.state.newest('later').file}", *LISTS}
    assert fingerprints(pulled) == fingerprints(library)
    assert (robot / "library.json").read_bytes() == (folder / "library.json").read_bytes()
    assert "mit" in (robot / CARD).read_text()
    assert {path: path.stat().st_ino for path in inodes} == inodes
    assert is_whole(robot)
    assert "later" not in reader.names, "a reader keeps its view"
    before = contents(robot)
    pull(hub, robot)
    assert contents(robot) == before


def test_a_pull_mends_what_is_damaged_here(hub: Hub, folder: Path):
    library = SkillLibrary.open(folder)
    push(hub, library)
    whole = contents(folder)
    (folder / "skills" / library.state.newest("push").file).write_bytes(b"half")
    (folder / "skills" / library.state.newest("turn").file).unlink()
    (folder / "wordings.f32").write_bytes(b"\0" * 1152)
    (folder / "base.safetensors").write_bytes(b"")
    pull(hub, folder)
    assert {path: content for path, content in contents(folder).items() if path != CARD} == {
        path: content for path, content in whole.items() if path != CARD
    }


def test_what_was_removed_can_be_brought_back_by_whoever_pulled_until_it_is_pruned(
    hub: Hub, folder: Path, tmp_path: Path
):
    library = SkillLibrary.open(folder)
    known, file = fingerprints(library), f"skills/{library.state.newest('copy').file}"
    library.remove("copy")
    push(hub, library)
    pulled = pull(hub, tmp_path / "pulled")
    pulled.undo()
    assert fingerprints(pulled) == known
    assert is_whole(tmp_path / "pulled")
    library.prune()
    assert push(hub, library).removed == (file,)
    assert file not in hub.repositories[HOME].files
    assert is_whole(pull(hub, tmp_path / "later").folder)
    shutil.copytree(tmp_path / "later", tmp_path / "robot")
    shutil.copy(tmp_path / "pulled" / file, tmp_path / "robot" / file)  # as it stays where a prune is only pulled
    assert push(hub, tmp_path / "robot").sent == {}


def test_an_older_state_is_pulled_by_its_commit_or_tag(hub: Hub, folder: Path, tmp_path: Path):
    library = SkillLibrary.open(folder)
    old = push(hub, library).commit
    hub.repositories[HOME].names["v1"] = old
    library.remove("copy")
    push(hub, library)
    for revision in (old, "v1"):
        assert "copy" in pull(hub, tmp_path / revision, revision=revision).names
    assert "copy" not in pull(hub, tmp_path / "main").names


# ---------------------------------------------------------------- what does not fit


def changed(folder: Path, place: Path, name: str) -> SkillLibrary:
    """A copy of a library with one more change: a skill is retired."""
    library = SkillLibrary.open(shutil.copytree(folder, place))
    library.retire(name)
    return library


def test_a_push_onto_changes_that_are_not_here_is_refused_and_the_way_it_names_works(
    hub: Hub, folder: Path, tmp_path: Path
):
    push(hub, folder)
    ahead = changed(folder, tmp_path / "ahead", "turn")
    push(hub, ahead)
    files = dict(hub.repositories[HOME].files)
    library = SkillLibrary.open(folder)
    with pytest.raises(
        LibraryError, match=r"is 1 change ahead of .*: `skilltokens hub pull me/kitchen .*` brings them"
    ):
        push(hub, library)
    library.add(grown(library.base, "mine"))
    message = r"1 change that is not in .*, which has 1 of its own since change 6: pull it .* merge .*, and push OTHER"
    with pytest.raises(LibraryError, match=message):
        push(hub, library)
    assert hub.repositories[HOME].files == files
    other = pull(hub, tmp_path / "other")
    merge(other, library)
    assert push(hub, other).changes == 1
    pulled = pull(hub, tmp_path / "pulled")
    assert pulled.names[-1] == "mine"
    assert pulled.state.newest("turn").retired


def test_a_pull_onto_changes_of_its_own_is_refused(hub: Hub, folder: Path, tmp_path: Path):
    push(hub, folder)
    mine = changed(folder, tmp_path / "mine", "turn")
    before = contents(mine.folder)
    with pytest.raises(LibraryError, match=r"has 1 change that is not at me/kitchen: push them"):
        pull(hub, mine.folder)
    push(hub, changed(folder, tmp_path / "other", "push"))
    with pytest.raises(LibraryError, match=r"has 1 change that is not at me/kitchen, which has 1 of its own"):
        pull(hub, mine.folder)
    assert contents(mine.folder) == before


def test_other_libraries_and_other_things_are_left_alone(hub: Hub, folder: Path, tmp_path: Path):
    push(hub, folder)
    other = SkillLibrary.create(tmp_path / "other", make_base(seed=1), first(), features(), ENCODER)
    files, before = dict(hub.repositories[HOME].files), contents(other.folder)
    with pytest.raises(LibraryError, match="me/kitchen holds another library"):
        push(hub, other)
    with pytest.raises(LibraryError, match="is another library than me/kitchen"):
        pull(hub, other.folder)
    assert hub.repositories[HOME].files == files
    assert contents(other.folder) == before
    hub.make("me/thesis").put({"README.md": b"# mine", "model.bin": b"years of work"})
    with pytest.raises(LibraryError, match=r"me/thesis holds something else \(model.bin\)"):
        push(hub, folder, "me/thesis")
    with pytest.raises(LibraryError, match="me/thesis holds no skill library"):
        pull(hub, tmp_path / "thesis", "me/thesis")
    assert len(hub.repositories["me/thesis"].commits) == 2
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("years of work")
    with pytest.raises(LibraryError, match="is no library and not empty"):
        pull(hub, tmp_path / "full")
    assert contents(tmp_path / "full") == {"thesis.txt": b"years of work"}
    assert not (tmp_path / "thesis").exists()


def test_a_repository_that_the_pages_of_the_hub_made_is_new(hub: Hub, folder: Path):
    hub.make(HOME).put({".gitattributes": b"", CARD: b"---\nlicense: mit\n---\n"})
    push(hub, folder)
    assert card_of(hub).data.to_dict()["license"] == "mit"


def test_of_two_pushes_at_once_one_is_refused(hub: Hub, folder: Path, tmp_path: Path):
    push(hub, folder)
    one, other = (changed(folder, tmp_path / name, name) for name in ("turn", "push"))

    def first_of_all() -> None:
        hub.before_commit = None
        push(hub, one)

    hub.before_commit = first_of_all
    with pytest.raises(HubError, match="was changed meanwhile"):
        push(hub, other)
    assert pull(hub, tmp_path / "pulled").state.newest("turn").retired
    with pytest.raises(LibraryError, match="since change 6"):
        push(hub, other)


def pulling(moment: Moment, folder: Path, address: str) -> None:
    pull_library(HOME, folder, endpoint=address)


@pytest.mark.slow
@pytest.mark.parametrize("there", [False, True], ids=["new", "earlier state"])
def test_a_pull_that_is_killed_at_any_file_is_whole_before_and_behind_it(
    there: bool, hub: Hub, folder: Path, tmp_path: Path
):
    library, earlier = SkillLibrary.open(folder), Path(shutil.copytree(folder, tmp_path / "earlier"))
    library.add(grown(library.base, "later"))
    library.retire("turn")
    push(hub, library)
    expected, deaths = contents(folder), 0
    while True:
        place = tmp_path / f"killed-{deaths}" / "library"
        place.parent.mkdir()
        if there:
            shutil.copytree(earlier, place)
        if not dies(pulling, place, {"write", "remove"}, deaths + 1, hub.address):
            break
        deaths += 1
        assert there == place.exists() or SkillLibrary.open(place).names == library.names
        assert not place.exists() or not any(finding.fault for finding in verify(place))
        assert fingerprints(pull(hub, place)) == fingerprints(library)
        assert {path: text for path, text in contents(place).items() if path != CARD} == {
            path: text for path, text in expected.items() if path != CARD
        }
        assert [path.name for path in place.parent.iterdir() if "tmp-" in path.name] == []
    assert deaths >= (4 if there else 1)


# ---------------------------------------------------------------- what is damaged or meant ill


@pytest.mark.parametrize("what", ["library.json", "changes.jsonl", "wordings.f32", "base.safetensors", "skills/turn"])
@pytest.mark.parametrize("how", ["altered", "missing"])
def test_of_a_damaged_repository_nothing_is_kept(what: str, how: str, hub: Hub, folder: Path, tmp_path: Path):
    push(hub, folder)
    robot = pull(hub, tmp_path / "robot").folder
    changed(folder, tmp_path / "more", "push").add(grown(make_base(), "later"))
    push(hub, tmp_path / "more")
    before, files = contents(robot), dict(hub.repositories[HOME].files)
    (path,) = (path for path in files if path.startswith(what))
    content = bytearray(files.pop(path))
    content[len(content) // 2] ^= 1
    hub.repositories[HOME].put(files if how == "missing" else {**files, path: bytes(content)})
    with pytest.raises(LibraryError, match="me/kitchen") as raised:
        pull(hub, tmp_path / "pulled")
    assert "tmp-" not in str(raised.value), "a temporary folder is nothing to a user"
    assert not (tmp_path / "pulled").exists()
    if what not in ("base.safetensors", "skills/turn"):  # these are here, whole
        with pytest.raises(LibraryError, match="me/kitchen"):
            pull(hub, robot)
        assert contents(robot) == before
    assert not [path for path in (*tmp_path.iterdir(), *robot.iterdir()) if "tmp-" in path.name]


def test_a_push_mends_a_damaged_repository_and_sends_nothing_damaged(hub: Hub, folder: Path, tmp_path: Path):
    library = SkillLibrary.open(folder)
    push(hub, library)
    path = f"skills/{library.state.newest('push').file}"
    hub.repositories[HOME].put({**hub.repositories[HOME].files, path: b"x"})
    assert set(push(hub, library).sent) == {path}
    assert is_whole(pull(hub, tmp_path / "pulled").folder)
    files = dict(hub.repositories[HOME].files)
    library.rename("turn", "twist")
    (folder / path).write_bytes(b"half")
    with pytest.raises(LibraryError, match="truncated or altered"):
        push(hub, library)
    assert hub.repositories[HOME].files == files


def test_a_skill_that_acts_otherwise_than_where_it_was_learned_is_not_pulled(hub: Hub, folder: Path, tmp_path: Path):
    """Every digest is right: only the actions that were kept of it say so."""
    library = SkillLibrary.open(folder)
    skill, other = grown(library.base, "later"), library.skill("push").content.proof
    library.add(
        Skill(skill.name, skill.wordings, skill.embeddings, content=dataclasses.replace(skill.content, proof=other))
    )
    push(hub, library)
    with pytest.raises(LibraryError, match="nothing of it was kept: later: it acts otherwise"):
        pull(hub, tmp_path / "pulled")
    assert not (tmp_path / "pulled").exists()


def test_nothing_else_of_a_repository_is_downloaded(hub: Hub, folder: Path, tmp_path: Path):
    push(hub, folder)
    hostile = {
        "modeling.py": b"import os",
        "model.pkl": b"\x80\x04",
        "skills/other.safetensors": b"x",
        "skills/deep/push.safetensors": b"x",
        "policy_preprocessor.json": json.dumps({"name": "x", "steps": [{"class": "os.system"}]}).encode(),
        "config.json": b'{"type": "act"}',
    }
    hub.repositories[HOME].put({**hub.repositories[HOME].files, **hostile})
    hub.asked.clear()
    pull(hub, tmp_path / "pulled")
    assert set(hub.fetched()) == set(contents(folder)) - set(CHECKPOINT)
    assert set(contents(tmp_path / "pulled")) == set(contents(folder))
    for name in CHECKPOINT:
        assert (tmp_path / "pulled" / name).read_bytes() == (folder / name).read_bytes()


def test_no_name_in_a_log_leads_out_of_a_folder():
    def record(file: str) -> Record:
        vectors = Vectors(first=0, sha256="")
        return Record(
            name="x", identity="x", file=file, bytes=1, sha256="", wordings=("x",), vectors=vectors, key=0, parameters=0
        )

    files = ["../../x.safetensors", "/etc/passwd", "a/b", "..", "good.safetensors", "gone.safetensors"]
    log = [Add(at="", skills=tuple(map(record, files))), Prune(at="", files=("gone.safetensors",))]
    assert set(files_of(log)) == {"good.safetensors"}


# ---------------------------------------------------------------- the card and LeRobot's files


def test_the_card_says_what_the_hub_reads_and_keeps_what_was_said(hub: Hub, folder: Path):
    library = SkillLibrary.open(folder)
    library.note("push", {"suite": "metaworld", "split": "test", "successes": 17, "episodes": 20})
    library.note("turn", {"demonstrations": {"source": "by | hand", "episodes": 30, "digest": "ab" * 32}})
    push(hub, library, license="apache-2.0", datasets=["me/demos", "you/more"], base="me/older")
    library.retire("copy")
    push(hub, library)
    card = card_of(hub)
    assert card.data.to_dict() == {
        "library_name": "lerobot",
        "pipeline_tag": "robotics",
        "license": "apache-2.0",
        "tags": ["robotics", "lerobot", "skilltokens", "lifelong-learning"],
        "datasets": ["me/demos", "you/more"],
        "base_model": ["me/older"],
    }
    assert "| push | do push | 354 | 17 of 20, 0.64 to 0.95 | metaworld, test states |" in card.text
    assert rf"| turn | by \| hand | 30 | {'ab' * 32} |" in card.text
    assert "skilltokens hub pull me/kitchen" in card.text
    assert 'SkillLibrary.open("kitchen")' in card.text
    push(hub, library, license="mit", datasets=["me/demos"])
    data = card_of(hub).data.to_dict()
    assert (data["license"], data["datasets"], data["base_model"]) == ("mit", ["me/demos"], ["me/older"])


@pytest.mark.parametrize(
    "words", [{"license": "mit\ntags: x"}, {"license": "MIT"}, {"datasets": ["demos"]}, {"base": 'me/x"\n'}], ids=str
)
def test_what_a_card_cannot_say_is_refused_before_anything_is_asked(words: dict[str, Any], hub: Hub, folder: Path):
    with pytest.raises(SettingError):
        push(hub, folder, **words)
    assert hub.asked == []


def test_lerobots_files_are_those_that_it_writes_itself(folder: Path):
    """Beside this file lies what LeRobot 0.6.1's make_default_pre_post_processors wrote for this config.json."""
    config = json.loads((folder / CONFIG).read_text())
    assert (config["type"], config["device"], config["push_to_hub"]) == ("skilltokens", "cpu", False)
    assert config["input_features"] == {
        "observation.environment_state": {"type": "ENV", "shape": [4]},
        "observation.state": {"type": "STATE", "shape": [2]},
    }
    assert config["output_features"] == {"action": {"type": "ACTION", "shape": [2]}}
    for name in (PREPROCESSOR, POSTPROCESSOR):
        assert json.loads((folder / name).read_text()) == json.loads((WRITTEN / name).read_text())


def test_a_picture_has_its_colours_first_for_lerobot(folder: Path):
    head = Disk.open(folder).head
    seen = {
        "observation.images.top": Feature((48, 64, 3), "uint8"),
        "observation.state": Feature((2,)),
        "action": Feature((2,)),
        "simulator.state": Feature((9,)),
    }
    scales = {"observation.state": make_base().shape.scales["observation.state"]}
    shape = Shape.of({name: f for name, f in seen.items() if name != "simulator.state"}, scales, 24)
    head.policy["shape"].clear()
    head.policy["shape"].update(shape.asdict())
    head.features.clear()
    head.features.update({name: {"shape": list(f.shape), "dtype": f.dtype} for name, f in seen.items()})
    config = json.loads(checkpoint(head)["config.json"])
    assert config["input_features"] == {
        "observation.images.top": {"type": "VISUAL", "shape": [3, 48, 64]},
        "observation.state": {"type": "STATE", "shape": [2]},
    }


@pytest.mark.parametrize("name", PAPERS)
@pytest.mark.parametrize("damage", ["missing", "altered", "link"])
def test_papers_are_no_part_of_what_is_sealed_and_are_written_again(
    name: str, damage: str, folder: Path, tmp_path: Path
):
    whole, path = (folder / name).read_bytes(), folder / name
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"of others")
    path.unlink()
    if damage == "altered":
        path.write_bytes(b"{}")
    elif damage == "link":
        path.symlink_to(elsewhere)
    assert is_whole(folder)
    SkillLibrary.open(folder).note("push", {"seed": 8})
    assert path.read_bytes() == whole
    assert elsewhere.read_bytes() == b"of others"


def test_papers_come_from_the_list_alone(folder: Path):
    disk = Disk.open(folder)
    texts = papers(disk.head, disk.state, Facts("library"))
    assert texts == {name: (folder / name).read_bytes() for name in PAPERS}


# ---------------------------------------------------------------- a Hub that refuses

Set = Callable[[Hub], None]


def _private(hub: Hub) -> None:
    hub.repositories[HOME].private = True


def _gated(hub: Hub) -> None:
    hub.repositories[HOME].gated = True


def _status(status: int, pattern: str) -> Set:
    return lambda hub: hub.statuses.update({pattern: status})


PULLS: dict[str, tuple[Set, dict[str, str], str]] = {
    "no repository": (lambda hub: None, {"repository": "me/nothing"}, "has no repository that you may read"),
    "no revision": (lambda hub: None, {"revision": "v9"}, "me/kitchen has no revision 'v9'"),
    "no name": (lambda hub: None, {"repository": "kitchen"}, "'kitchen' cannot name a repository: it is OWNER/NAME"),
    "a path": (lambda hub: None, {"repository": "me/../you"}, "cannot name a repository"),
    "private": (_private, {"token": ""}, "log in with `hf auth login`, or set HF_TOKEN"),
    "gated": (_gated, {"token": "hf_other"}, r"asks for consent: give it at http://127.0.0.1:\d+/me/kitchen"),
    "a fault": (_status(500, "/api/models/"), {}, "has a fault of its own"),
    "a fault in a file": (_status(403, "resolve/.*/base"), {}, "does not allow that at me/kitchen"),
    "a file that is gone": (_status(404, "resolve/.*/base"), {}, "me/kitchen"),
}


@pytest.mark.parametrize("case", PULLS)
def test_a_hub_that_does_not_give_is_one_sentence(case: str, hub: Hub, folder: Path, tmp_path: Path):
    push(hub, folder)
    spoil, words, message = PULLS[case]
    spoil(hub)
    if words.get("token") == "":
        os.environ.pop("HF_TOKEN")
    with pytest.raises(SkilltokensError, match=message) as raised:
        pull(hub, tmp_path / "pulled", **{name: value for name, value in words.items() if value})
    assert "\n" not in str(raised.value)
    assert isinstance(raised.value, HubError | SettingError)
    assert not (tmp_path / "pulled").exists()
    assert not [path for path in tmp_path.iterdir() if "tmp-" in path.name]


PUSHES: dict[str, tuple[Set, dict[str, Any], str]] = {
    "no rights": (lambda hub: None, {"token": "hf_other"}, "does not allow that at me/kitchen"),
    "no rights to make one": (lambda hub: None, {"token": "hf_other", "repository": "you/x"}, "does not allow that"),
    "too much": (_status(429, "commit"), {}, "asked too much at once"),
    "public": (lambda hub: None, {"private": True}, "me/kitchen is public: make it private at"),
    "no license": (lambda hub: None, {"license": "no-such-license"}, "must be one of"),
    "no address": (lambda hub: None, {"endpoint": "huggingface.co"}, "is no address of a Hub"),
}


@pytest.mark.parametrize("case", PUSHES)
def test_a_hub_that_does_not_take_is_one_sentence(case: str, hub: Hub, folder: Path):
    push(hub, folder)
    SkillLibrary.open(folder).retire("turn")
    commits = len(hub.repositories[HOME].commits)
    spoil, words, message = PUSHES[case]
    spoil(hub)
    words = {"repository": HOME, "endpoint": hub.address, **words}
    with pytest.raises(SkilltokensError, match=message) as raised:
        push_library(folder, **words)
    assert "\n" not in str(raised.value)
    assert isinstance(raised.value, HubError | SettingError)
    assert len(hub.repositories[HOME].commits) == commits


def test_a_new_repository_is_private_on_request(hub: Hub, folder: Path):
    push(hub, folder, private=True)
    assert hub.repositories[HOME].private
    push(hub, folder, "me/public")
    assert not hub.repositories["me/public"].private


def test_what_has_no_seal_of_ours_is_no_library_at_the_hub(hub: Hub, folder: Path, tmp_path: Path):
    """Of an older version, or forged."""
    push(hub, folder)
    files = dict(hub.repositories[HOME].files)
    head = json.loads(files["library.json"])
    for content in (
        {**head, "schema": "skilltokens.library/1"},
        {**head, "encoder": "x"},
        sealed({**head, "wordings": 0}),
    ):
        hub.repositories[HOME].put({**files, "library.json": json.dumps(content).encode()})
        for work in (lambda: pull(hub, tmp_path / "pulled"), lambda: push(hub, folder)):
            with pytest.raises(LibraryError, match="me/kitchen holds no whole library"):
                work()
    assert not (tmp_path / "pulled").exists()
    assert hashlib.sha256(files["changes.jsonl"]).hexdigest() == head["changes"]["sha256"]
    assert re.fullmatch(r"[0-9a-f]{40}", hub.repositories[HOME].commits[-1].name)

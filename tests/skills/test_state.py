"""Whatever is done to a library, nothing that acts needs a skill that is gone; undoing gives what was before."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skilltokens.skills.records import (
    Add,
    Change,
    Drop,
    Note,
    Prune,
    Record,
    Remove,
    Rename,
    Retire,
    Reword,
    Undo,
    Vectors,
    decode,
    encode,
)
from skilltokens.skills.state import State, fold, history, undoable
from skilltokens.types import LibraryError

AT = "2026-11-29T00:00:00+00:00"
NAMES = ("a", "b", "c", "d")


def record(name: str, content: str, needs: Sequence[str] = (), version: int = 1) -> Record:
    """A record; equal `content` has equal identities."""
    return Record(
        name=name,
        identity=content,
        file=f"{name}.{hashlib.sha256(content.encode()).hexdigest()[:12]}.safetensors",
        bytes=1,
        sha256="",
        wordings=(f"do {name}",),
        vectors=Vectors(first=0, sha256=""),
        key=0,
        parameters=1,
        needs=tuple(needs),
        version=version,
    )


def add(*records: Record, kept: Sequence[Record] = ()) -> Add:
    return Add(at=AT, skills=records, kept=tuple(kept))


def whole(state: State) -> None:
    """What must hold of every state."""
    identities = {record.identity for record in state.everything()}
    assert state.identities == identities
    for record in state.everything():
        assert identities.issuperset(record.needs)
    assert all(name == record.name for name, record in state.skills.items())
    versions = [(record.name, record.version) for record in (*state.skills.values(), *state.older)]
    assert len(set(versions)) == len(versions)
    assert all(record.name in state.skills for record in state.older)
    called = {record.identity for record in (*state.skills.values(), *state.older)}
    kept = [record.identity for record in state.kept]
    assert len(set(kept)) == len(kept)
    assert not called & set(kept)  # the same content is kept once
    assert all(state.dependants(record) for record in state.kept)


@st.composite
def changes(draw: st.DrawFn) -> list[Change]:
    """A log that can be: each change is one that is possible where it stands."""
    log: list[Change] = [add(record("a", "0"))]
    number = 0
    for _ in range(draw(st.integers(1, 25))):
        state = fold(log)
        names, identities = sorted(state.skills), sorted(state.identities)
        name, kind = draw(st.sampled_from(names)), draw(st.sampled_from(["add", "add", "again", "rest", "rest"]))
        change: Change
        if kind in ("add", "again"):
            new = draw(st.sampled_from(NAMES))
            needs = draw(st.lists(st.sampled_from(identities), max_size=3, unique=True))
            number += 1
            content = str(number)
            if kind == "again" and (there := draw(st.sampled_from(state.everything()))):  # a content that there is
                content, needs = there.identity, list(there.needs)
            version = state.skills[new].version + 1 if new in state.skills else 1
            change = add(record(new, content, needs, version))
        else:
            other = draw(st.sampled_from(NAMES))
            options: list[Change] = [
                Retire(at=AT, name=name, retired=draw(st.booleans())),
                Note(at=AT, name=name, notes={"seed": number}),
                Reword(at=AT, name=name, wordings=("x",), vectors=Vectors(first=0, sha256="")),
                Prune(at=AT, files=()),
            ]
            if len(names) > 1:
                options += [Remove(at=AT, name=name)] * 3
            if other not in names:
                options.append(Rename(at=AT, name=name, to=other))
            options += [Drop(at=AT, name=old.name, version=old.version) for old in state.older]
            with contextlib.suppress(LibraryError):
                options += [Undo(at=AT, number=undoable(log))] * 2
            change = draw(st.sampled_from(options))
        log.append(change)
    return log


@given(changes())
@settings(max_examples=60)
def test_no_sequence_of_changes_leaves_a_skill_without_what_it_needs(log: list[Change]):
    for length in range(1, len(log) + 1):
        whole(fold(log[:length]))


@given(changes())
@settings(max_examples=30)
def test_a_log_is_written_and_read_and_folds_alike_step_by_step(log: list[Change]):
    assert decode(b"".join(map(encode, log))) == log
    state = State()
    for length, change in enumerate(log, 1):
        if isinstance(change, Undo):
            state = fold(log[:length])
        else:
            state.apply(change)
        assert state == fold(log[:length])


@given(changes())
@settings(max_examples=30)
def test_undoing_gives_the_state_before(log: list[Change]):
    """Undone from its end, a log passes through every state that its standing changes made."""
    while True:
        try:
            number = undoable(log)
        except LibraryError:
            return
        before = [event.change for event in history(log) if not event.undone and not isinstance(event.change, Undo)]
        log = [*log, Undo(at=AT, number=number)]
        assert msgspec.json.encode(fold(log).everything()) == msgspec.json.encode(fold(before[:-1]).everything())


# ------------------------------------------------ what hypothesis found, and what is refused


def test_content_that_is_kept_and_called_is_still_there_when_the_caller_goes():
    """Kept for c, then imported as a skill of its own, then removed: c needs it still."""
    log: list[Change] = [
        add(record("a", "0"), record("b", "1"), record("c", "2", ["1"])),
        Remove(at=AT, name="b"),
        add(record("d", "1")),
        Remove(at=AT, name="d"),
    ]
    assert [kept.identity for kept in fold(log).kept] == ["1"]


def test_versions_that_go_together_are_kept_with_what_they_need():
    log: list[Change] = [
        add(record("a", "0"), record("b", "1"), record("d", "2", ["1"])),
        add(record("d", "1", version=2)),
        add(record("c", "3", ["2"])),
        Remove(at=AT, name="b"),
        Remove(at=AT, name="d"),
    ]
    assert sorted(kept.identity for kept in fold(log).kept) == ["1", "2"]


def test_what_is_added_together_may_need_each_other_in_any_order():
    state = fold([add(record("a", "0"), record("b", "3", ["2"]), record("c", "1"), kept=[record("k", "2", ["1"])])])
    assert [kept.identity for kept in state.kept] == ["2"]
    with pytest.raises(LibraryError, match="needs a skill that is not there"):
        fold([add(record("a", "0"), record("b", "3", ["2"]))])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (add(record("b", "1", version=2)), "out of turn"),
        (add(record("a", "1", version=3)), "out of turn"),
        (add(record("a", "1")), "out of turn"),
        (add(record("../b", "1")), "name or file"),
        (add(msgspec.structs.replace(record("b", "1"), file="../../b")), "name or file"),
        (add(record("b", "1", ["nobody"])), "not there"),
        (Rename(at=AT, name="a", to="b/c"), "no file name"),
        (Rename(at=AT, name="b", to="c"), "no skill 'b'"),
        (Remove(at=AT, name="a"), "only skill"),
        (Drop(at=AT, name="a", version=1), "no older version"),
        (Undo(at=AT, number=1), "nothing is left"),
    ],
)
def test_impossible_changes_are_refused(change: Change, message: str):
    with pytest.raises(LibraryError, match=message):
        fold([add(record("a", "0")), change])


def test_only_the_last_change_is_undone_and_none_before_a_prune():
    start: list[Change] = [add(record("a", "0")), add(record("b", "1")), add(record("c", "2"))]
    with pytest.raises(LibraryError, match="not the last"):
        fold([*start, Undo(at=AT, number=2)])
    twice = [*start, Undo(at=AT, number=3), Undo(at=AT, number=2)]
    assert list(fold(twice).skills) == ["a"]
    with pytest.raises(LibraryError, match="not the last"):
        fold([*start, Undo(at=AT, number=3), Undo(at=AT, number=3)])
    with pytest.raises(LibraryError, match="cannot be brought back"):
        undoable([*start, Prune(at=AT, files=())])


def test_a_record_is_found_by_name_and_version():
    state = fold([add(record("a", "0")), add(record("a", "1", version=2))])
    assert state.record("a").identity == state.record("a@2").identity == "1"
    assert state.record("a@1").identity == "0"
    for name in ("a@3", "b", "", "a@x"):
        with pytest.raises(LibraryError, match="no skill"):
            state.record(name)

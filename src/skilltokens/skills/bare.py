"""What around an instruction is none: underscores, the frame of a prompt, numbers that a simulator adds."""

from __future__ import annotations

import re

_ASKED = re.compile(r"^what (?:action )?should the robot (?:take|do) to (?P<rest>.*?)\??\s*$", re.I | re.S)
_BEFORE = re.compile(r"^(?:in|user|human|instruction|task|prompt)\s*:\s*", re.I)
_BEHIND = re.compile(r"\s*\b(?:out|assistant|action|output|answer)\s*:\s*$", re.I)
_SCENE = re.compile(r"^[A-Z]+(?:_[A-Z]+)*_SCENE\d+_")
_NUMBERED = re.compile(r"(?:\s+[a-z]+(?:\s+-?\d+(?:\.\d+)?)+)+\s*$", re.I)
_OPEN_END = re.compile(r"\b(?:the|an?|to|of|in|on|at|by|from|into|onto|with|and)\s*$", re.I)


def bare(instruction: str, numbers: bool = False) -> str:
    """An instruction without what is none; as it is where nothing would be left.

        In: What action should the robot take to open the drawer?
        KITCHEN_SCENE3_turn_on_the_stove_demo
        push the plate to the front view 0 0 100 2 352 initstate 0

    Args:
        numbers: the library's own instructions have numbers ("press button 2"): then they mean something, and stay.
    """
    text = _BEHIND.sub("", _BEFORE.sub("", instruction.strip()))
    text = _SCENE.sub("", _ASKED.sub(r"\g<rest>", text))
    if "_" in text:
        text = text.replace("_", " ").strip().removesuffix(" demo")
    if not numbers:
        short = _NUMBERED.sub("", text)
        text = text if _OPEN_END.search(short) else short
    return " ".join(text.split()) or " ".join(instruction.split())

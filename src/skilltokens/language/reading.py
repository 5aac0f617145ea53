"""What an encoder reads of a text: how many of its tokens are unknown to it, and how many are cut off.

Needs a model's tokenizer alone, not its weights and not torch; so a vector that is in the cache hides nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from skilltokens.types import Array, LanguageError

if TYPE_CHECKING:
    from skilltokens.language.encoder import LanguageEncoder

SAME = 1e-6
"""Two texts whose cosine is nearer to 1 than this are one vector."""

FINAL = re.compile(r"[\s.,;:!?\u3002\uff01\uff1f]+$")
"""Punctuation at the end of a sentence, full-width marks too."""


@dataclass(frozen=True)
class Reading:
    """What an encoder makes of a text before it looks at its meaning.

    Attributes:
        tokens: the tokens that it reads, as numbers; None where it does not say (a Python function).
        unknown: how many of them stand for letters or words that it does not know; None where it does not say.
        cut: how many more the text has, beyond the encoder's limit; None where it does not say.
    """

    tokens: tuple[int, ...] | None = None
    unknown: int | None = None
    cut: int | None = None


Read = Callable[[str], Reading]


def no_reading(text: str) -> Reading:
    """The reading of an encoder that does not say."""
    return Reading()


def reader(name: str, folder: Path) -> Read:
    """How the sentence-transformers model in a folder reads; `no_reading` where it has no tokenizer.json.

    Raises:
        LanguageError: the tokenizer is damaged.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        return no_reading
    try:
        from tokenizers import Tokenizer

        content = path.read_text(encoding="utf-8")
        tokenizer = Tokenizer.from_str(content)
        tokenizer.no_truncation()
        tokenizer.no_padding()
        unknown = _unknown(json.loads(content)["model"], tokenizer.token_to_id)
        limit = _limit(folder)
    except Exception as problem:  # a damaged tokenizer fails in as many ways as it has fields
        raise LanguageError(
            f"the sentence encoder {name!r} has a damaged tokenizer ({type(problem).__name__}): download it again"
        ) from problem
    added = tokenizer.num_special_tokens_to_add(False)

    def read(text: str) -> Reading:
        tokens = tokenizer.encode(text, add_special_tokens=False).ids
        kept = tokens if limit is None else tokens[: max(limit - added, 0)]
        count = None if unknown is None else sum(token == unknown for token in kept)
        return Reading(tuple(kept), count, len(tokens) - len(kept))

    return read


def _unknown(model: Mapping[str, Any], number: Callable[[str], int | None]) -> int | None:
    """The token that stands for what the tokenizer does not know; None where it has none."""
    if model.get("unk_id") is not None:
        return int(model["unk_id"])
    return number(model["unk_token"]) if model.get("unk_token") else None


def _limit(folder: Path) -> int | None:
    """The most tokens that a model reads, its own marks counted."""
    places = (
        ("sentence_bert_config.json", "max_seq_length"),
        ("tokenizer_config.json", "model_max_length"),
        ("config.json", "max_position_embeddings"),
    )
    for file, key in places:
        path = folder / file
        value = json.loads(path.read_text(encoding="utf-8")).get(key) if path.is_file() else None
        if isinstance(value, int) and 0 < value < 10**6:  # transformers writes 1e30 where there is no limit
            return value
    return None


def normal(text: str) -> str:
    """A text without what makes no difference to its reader: white space, letter case, final punctuation."""
    return FINAL.sub("", " ".join(text.split()).casefold())


def check_readable(
    encoder: LanguageEncoder,
    wordings: Sequence[str],
    others: Mapping[str, Sequence[str]],
    vectors: Array | None = None,
) -> list[str]:
    """What an encoder cannot read of a new skill's wordings, one sentence each; call it before the training.

    Args:
        encoder: the library's.
        wordings: of the new skill.
        others: name -> wordings of the other skills.
        vectors: unit vectors (n, dim) of all of `others`' wordings in order; made here where left out.

    Raises:
        LanguageError: a wording and a *different* one of another skill are one vector, so that it could not be told
            apart by any instruction. Equal wordings are not looked at here.
    """
    sentences = [said for text in wordings for said in _unread(encoder, text)]
    texts = [(name, text) for name, own in others.items() for text in own]
    if not texts or not wordings:
        return sentences
    known = encoder([text for _, text in texts]) if vectors is None else vectors
    nearness = known @ encoder(wordings).T
    for row, column in np.argwhere(nearness > 1 - SAME):
        name, text = texts[row]
        wording = wordings[int(column)]
        if normal(text) != normal(wording):
            raise LanguageError(
                f"the sentence encoder {encoder.name!r} cannot tell {wording[:60]!r} from {text[:60]!r} of "
                f"skill {name!r}: use other words, or a library whose encoder knows this language"
            )
    return sentences


def _unread(encoder: LanguageEncoder, text: str) -> list[str]:
    reading, sentences = encoder.reading(text), []
    if reading.unknown and reading.tokens is not None:
        sentences.append(
            f"the sentence encoder {encoder.name!r} does not know {reading.unknown} of {len(reading.tokens)} parts of "
            f"{text[:60]!r}: it may not tell it from other instructions"
        )
    if reading.cut and reading.tokens is not None:
        sentences.append(
            f"the sentence encoder {encoder.name!r} reads the first {len(reading.tokens)} parts of {text[:60]!r} and "
            f"not the last {reading.cut}: shorten it"
        )
    return sentences

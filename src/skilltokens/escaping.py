"""Text from a file or a user, put into another language: Markdown, LaTeX, a terminal, Python, a shell, a file's name.

A task's name, an instruction or a suite's name may come from a stranger's file. Whatever it holds, it is shown as text:
it makes no table cell, no heading, no markup and no code. HTML is not here: the templates of `report` escape by
themselves (jinja2's autoescape), and its drawings by markupsafe.
"""

from __future__ import annotations

import hashlib
import re
import shlex
import unicodedata

_JOINERS = "\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}"
"""Format characters that letters and emoji are made with."""
_GAP = re.compile("[ \t\n\r\v\f\x1c-\x1f\x85\N{LINE SEPARATOR}\N{PARAGRAPH SEPARATOR}]+")
"""Spaces and ends of lines that Markdown and HTML show as one space, or that would end a line."""
_MARKS = re.compile(r"[\\`*\[\]|~$]|(?<![^\W_])_+|_+(?![^\W_])")
"""What begins or ends something anywhere in a line. CommonMark leaves `_` between two letters or digits alone."""
_OPENING = re.compile(r"(?:[-+](?![0-9A-Za-z])|[=>#:]|\d+(?=[.)]))")
"""What makes a list, a heading, a quotation or a rule at the start of a line."""
_LATEX = {
    **{letter: "\\" + letter for letter in "{}$&#_%"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "[": "{[}",
    "]": "{]}",
    "\N{EN DASH}": "--",
    "\N{MINUS SIGN}": "$-$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{HORIZONTAL ELLIPSIS}": r"\ldots{}",
    "\N{NO-BREAK SPACE}": "~",
}
"""Letters that LaTeX takes for something else: commands, and an option's bracket after the end of a row."""
_LIGATURE = re.compile("(?<=[-'`,?!])(?=[-'`,])")
"""Between letters that LaTeX draws as one, such as -- and ?`."""
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
_LONGEST_NAME = 200
"""Bytes: a file system takes 255, of which an ending and the name of a temporary file want some."""


def terminal(text: str) -> str:
    """The text in one line that is safe to print: what would move the cursor, ring, reorder or hide is spelled out.

    Control characters, ends of lines, format characters (such as those that turn the direction of writing) and halves
    of characters stand as in Python, `\\x1b` or `\\u202e`. The result is plain text, not rich's markup: give it to rich
    inside a `Text`, or with `markup=False`.
    """
    if text.isprintable():
        return text
    return "".join(_spelled(letter) if _is_hidden(letter) else letter for letter in text)


def markdown(text: str) -> str:
    """The text for a table's cell or a line of Markdown (CommonMark, GitHub's): a reader sees exactly the text.

    Ends of lines and runs of spaces become one space, and what is hidden is spelled out as on a terminal. Not for
    code: between backticks nothing is unescaped.
    """
    line = terminal(_GAP.sub(" ", text).strip())
    line = re.sub(r"&(?=[#A-Za-z])", "&amp;", line).replace("<", "&lt;")
    line = _MARKS.sub(lambda marks: "".join("\\" + mark for mark in marks[0]), line)
    opening = _OPENING.match(line)
    if opening:  # of a number, its mark: 1\. is no list
        end = opening.end() if opening[0][0].isdigit() else 0
        line = f"{line[:end]}\\{line[end:]}"
    return re.sub(r"(?<!\\)#(?=#*$)", r"\\#", line)  # a heading's closing marks


def latex(text: str) -> str:
    """The text for a line of LaTeX: a reader sees exactly the text, and nothing in it is a command."""
    line = terminal(_GAP.sub(" ", text).strip())
    return "{}".join("".join(_LATEX.get(letter, letter) for letter in part) for part in _LIGATURE.split(line))


def python(text: str) -> str:
    """A literal of Python for the text, in double quotes, printable ASCII in one line: to be copied into a program."""
    return '"' + text.encode("unicode_escape").decode("ascii").replace('"', '\\"') + '"'


def shell(*words: str) -> str:
    """Words of a command as they are typed in bash: quoted where they must be, what is hidden spelled out in $'...'."""
    return " ".join(shlex.quote(word) if terminal(word) == word else _ansi_c(word) for word in words)


def file_name(text: str) -> str:
    """A name for one file or folder, the same for the same text, and another for another text.

    A text of ASCII letters, digits, `_`, `.`, `+` and `-` that begins with none of the last three is its own name.
    Of any other text the rest is replaced by `_`, and a part of its SHA-256 is added. Never empty, `.`, `..` or a path.
    """
    if _PLAIN_NAME.fullmatch(text) and len(text) <= _LONGEST_NAME:
        return text
    mark = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    stem = re.sub(r"[^A-Za-z0-9_+-]+", "_", text)[: _LONGEST_NAME - len(mark) - 1].strip("_+-")
    return f"{stem or 'name'}-{mark}"


def _is_hidden(letter: str) -> bool:
    kind = unicodedata.category(letter)
    return kind in ("Cc", "Cs", "Zl", "Zp") or (kind == "Cf" and letter not in _JOINERS)


def _spelled(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")


def _ansi_c(word: str) -> str:
    """A word in bash's $'...', in which `\\n` and the bytes of other characters can be written."""
    parts = []
    for letter in word:
        if _is_hidden(letter):
            raw = letter.encode("utf-8", "surrogateescape" if "\udc80" <= letter <= "\udcff" else "surrogatepass")
            parts += [f"\\{byte:03o}" for byte in raw]
        else:
            parts.append("\\" + letter if letter in "\\'" else letter)
    return "$'" + "".join(parts) + "'"

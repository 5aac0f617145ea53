"""`skilltokens completion`: a small script for the shell, which asks the command itself what may be typed.

The script calls `skilltokens completion --words WORD...` when Tab is pressed (bash, which cuts words at ":" and "=",
gives its line instead: `--line LINE END`). The answer is a line that says whether the shell completes a path as well,
`files` or `words`, and then a line for each word that may stand there.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import tyro

from skilltokens.cli.options import parse


@dataclass(frozen=True)
class CompletionOptions:
    """Prints a script for your shell: it completes verbs, options, names (tasks, skills, ...) and paths at Tab.

    examples:
      source <(skilltokens completion bash)                                     # in this shell alone
      skilltokens completion bash > ~/.local/share/bash-completion/completions/skilltokens
      skilltokens completion zsh > ~/.zfunc/_skilltokens                        # a folder in $fpath
      skilltokens completion fish > ~/.config/fish/completions/skilltokens.fish
    """

    shell: tyro.conf.Positional[Literal["bash", "zsh", "fish"]]
    """Your shell: bash, zsh or fish."""


def main(words: Sequence[str]) -> int:
    if words[:1] == ["--words"]:
        _answer(words[1:])
    elif words[:1] == ["--line"] and len(words) == 3:
        _answer(split(words[1]), words[2])
    else:
        print(_SCRIPTS[parse(CompletionOptions, words, "skilltokens completion").shell], end="")
    return 0


def _answer(words: Sequence[str], end: str | None = None) -> None:
    """Prints what may be typed for the last word, or in place of its end only."""
    from skilltokens.cli.candidates import candidates

    answer = candidates(words)
    start = len(words[-1]) - len(end) if end is not None and words and words[-1].endswith(end) else 0
    print("files" if answer.files else "words")
    for word in answer.words:
        print(word[start:])


def split(line: str) -> list[str]:
    """The words after the command in a line that ends where the cursor is, as bash reads them; the last may be empty.

    A quotation that is still open ends at the cursor.
    """
    cursor = "\0"
    for closing in ("", "'", '"'):
        lexer = shlex.shlex(f"{line}{cursor}{closing}", posix=True)
        lexer.whitespace_split, lexer.commenters = True, ""
        try:
            return [word.removesuffix(cursor) for word in lexer][1:]
        except ValueError:
            continue
    return []


_BASH = r"""# Completes skilltokens in bash: source <(skilltokens completion bash)
_skilltokens() {
    local kind
    {
        read -r kind
        mapfile -t COMPREPLY
    } < <("${1/#\~/$HOME}" completion --line "${COMP_LINE:0:COMP_POINT}" "$2" 2>/dev/null)
    if [[ $kind == files ]]; then
        compopt -o default 2>/dev/null
    fi
    if [[ ${COMPREPLY[0]-} == */ ]]; then
        compopt -o nospace 2>/dev/null
    fi
}
complete -F _skilltokens skilltokens
"""

_ZSH = r"""#compdef skilltokens
# Completes skilltokens in zsh: put this into a folder of $fpath as _skilltokens.
_skilltokens() {
    local -a answer
    local kind
    local program="${${(Q)words[1]}/#\~/$HOME}"
    answer=("${(@f)$($program completion --words "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}")
    kind=$answer[1]
    answer=("${(@)answer[2,-1]}")
    compadd -S '' -- "${(@M)answer:#*/}"
    compadd -- "${(@)answer:#*/}"
    if [[ $kind == files ]]; then
        compset -P '-*='
        _files
    fi
}
if [[ $funcstack[1] == _skilltokens ]]; then
    _skilltokens "$@"
else
    compdef _skilltokens skilltokens
fi
"""

_FISH = r"""# Completes skilltokens in fish: put this into ~/.config/fish/completions/skilltokens.fish
function __skilltokens_candidates
    set -l words (commandline --tokenize --cut-at-cursor --current-process)
    set -l word (commandline --cut-at-cursor --current-token)
    set -l program (string replace --regex '^~' $HOME -- $words[1])
    set -e words[1]
    set -l answer ($program completion --words $words "$word" 2>/dev/null)
    if test "$answer[1]" = files
        set -l option (string match --regex '^-[^=]*=' -- $word)
        for path in (__fish_complete_path (string replace --regex '^-[^=]*=' '' -- "$word"))
            echo "$option$path"
        end
    end
    for name in $answer[2..-1]
        echo $name
    end
end
complete --command skilltokens --no-files --arguments '(__skilltokens_candidates)'
"""

_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}

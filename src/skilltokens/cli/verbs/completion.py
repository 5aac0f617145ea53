"""`skilltokens completion`: a small script for the shell, which asks the command itself at Tab (cli/candidates.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import tyro

from skilltokens.cli.options import parse


@dataclass(frozen=True)
class CompletionOptions:
    """Prints a script for your shell, which completes verbs, options, names (tasks, skills, ...) and paths at Tab.

    examples:
      source <(skilltokens completion bash)                                     # in this shell alone
      skilltokens completion bash > ~/.local/share/bash-completion/completions/skilltokens
      skilltokens completion zsh > ~/.zfunc/_skilltokens                        # a folder in $fpath
      skilltokens completion fish > ~/.config/fish/completions/skilltokens.fish
    """

    shell: tyro.conf.Positional[Literal["bash", "zsh", "fish"]]
    """Your shell: bash, zsh or fish."""


def main(words: Sequence[str]) -> int:
    print(_SCRIPTS[parse(CompletionOptions, words, "skilltokens completion").shell], end="")
    return 0


# NumPy is loaded sooner where it need not start a thread for each core.
_BASH = r"""# Completes skilltokens in bash: source <(skilltokens completion bash)
_skilltokens() {
    local kind
    {
        read -r kind
        mapfile -t COMPREPLY
    } < <(OPENBLAS_NUM_THREADS=1 "${1/#\~/$HOME}" completion --line "${COMP_LINE:0:COMP_POINT}" "$2" 2>/dev/null)
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
    local -x OPENBLAS_NUM_THREADS=1
    local kind program="${${(Q)words[1]}/#\~/$HOME}"
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
    set -lx OPENBLAS_NUM_THREADS 1
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

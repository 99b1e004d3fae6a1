# SPDX-License-Identifier: Apache-2.0
"""`kubectl drover completion`: scripts that complete `kubectl-drover` in a shell; `kubectl drover` is completed by kubectl itself.

Each script asks the executable `kubectl_complete-drover`, as kubectl does, so that there is one place that knows what can stand where.
"""

import argparse

from drover_operator.cli.options import SubParsers, add_verb
from drover_operator.cli.outcome import Exit

DESCRIPTION = """\
Print a script that completes kubectl-drover in a shell: verbs, options, reasons,
and names of services, namespaces and contexts.

kubectl drover <TAB> needs no script: kubectl 1.26 and newer asks the executable
kubectl_complete-drover, which is installed beside kubectl-drover, if kubectl's own
completion is set up.
"""
EXAMPLES = """\
  # in ~/.bashrc
  source <(kubectl drover completion bash)

  # in ~/.zshrc, after compinit
  source <(kubectl drover completion zsh)

  # once, for fish
  kubectl drover completion fish > ~/.config/fish/completions/kubectl-drover.fish
"""
HEAD = """\
# Completes kubectl-drover. For `kubectl drover <TAB>` set up kubectl's own completion (kubectl completion {shell} --help);
# kubectl 1.26 and newer then asks the executable kubectl_complete-drover, which must be on the PATH beside kubectl-drover.
"""
BASH = r"""_kubectl_drover() {
    local IFS=$'\n' word=${COMP_WORDS[COMP_CWORD]} each mark words=() answer=()
    [[ $word == = ]] && word=
    for each in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        [[ $each == = ]] || words+=("$each")  # bash cuts --option=value in three
    done
    while IFS= read -r each; do
        answer+=("${each%%$'\t'*}")
    done < <(kubectl_complete-drover "${words[@]}" "$word" 2>/dev/null)
    (( ${#answer[@]} )) || return
    mark=${answer[${#answer[@]}-1]}
    unset "answer[${#answer[@]}-1]"
    COMPREPLY=($(compgen -W "${answer[*]}" -- "$word"))
    if [[ $mark == :0 && ${#COMPREPLY[@]} -eq 0 ]]; then
        compopt -o filenames 2>/dev/null
        COMPREPLY=($(compgen -f -- "$word"))
    fi
}
complete -F _kubectl_drover kubectl-drover
"""
ZSH = r"""_kubectl_drover() {
    local tab=$'\t'
    local -a answer names
    answer=("${(@f)$(kubectl_complete-drover "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if (( ${#answer} > 1 )); then
        names=("${(@)answer[1,-2]}")
        names=("${(@)names%%${tab}*}")
        compadd -a names
    elif [[ $answer[-1] == :0 ]]; then
        _files
    fi
}
compdef _kubectl_drover kubectl-drover
"""
FISH = r"""function __kubectl_drover
    set -l words (commandline -opc) (commandline -ct)
    set -l answer (kubectl_complete-drover $words[2..-1] 2>/dev/null)
    if test (count $answer) -gt 1
        printf '%s\n' $answer[1..-2]
    else if test "$answer[-1]" = :0
        __fish_complete_path (commandline -ct)
    end
end
complete -c kubectl-drover -f -a '(__kubectl_drover)'
"""
SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


def add_parser(subparsers: SubParsers) -> None:
    """Add the verb; `run` of the parsed arguments carries it out."""
    parser = add_verb(subparsers, "completion", summary="print a script for completion in a shell", description=DESCRIPTION, examples=EXAMPLES)
    parser.add_argument("shell", choices=tuple(SCRIPTS), help="the shell")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print it."""
    print(HEAD.format(shell=args.shell) + SCRIPTS[args.shell], end="")
    return Exit.DONE

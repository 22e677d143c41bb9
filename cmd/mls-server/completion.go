package main

import (
	"fmt"
	"io"
	"strings"
)

// complete prints what makes a shell complete the commands and the words after them.
func complete(w io.Writer, rest []string) error {
	shell := ""
	if len(rest) == 1 {
		shell = rest[0]
	}
	var b strings.Builder
	switch shell {
	case "bash":
		completeBash(&b)
	case "zsh":
		b.WriteString("autoload -U +X bashcompinit && bashcompinit\n")
		completeBash(&b)
	case "fish":
		completeFish(&b)
	default:
		return misused("completion takes bash, zsh or fish")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func completeBash(b *strings.Builder) {
	var names []string
	b.WriteString("_mls_server() {\n  local words\n  case $COMP_CWORD,${COMP_WORDS[1]} in\n")
	for _, c := range commands() {
		names = append(names, c.name)
		if len(c.words) > 0 {
			fmt.Fprintf(b, "  [2-9],%s) words=%q ;;\n", c.name, strings.Join(c.words, " "))
		}
	}
	fmt.Fprintf(b, "  1,*) words=%q ;;\n  esac\n", strings.Join(names, " "))
	b.WriteString("  COMPREPLY=($(compgen -W \"$words\" -- \"${COMP_WORDS[COMP_CWORD]}\"))\n}\ncomplete -o default -F _mls_server mls-server\n")
}

func completeFish(b *strings.Builder) {
	b.WriteString("complete -c mls-server -f\n")
	for _, c := range commands() {
		fmt.Fprintf(b, "complete -c mls-server -n __fish_use_subcommand -a %s -d '%s'\n", c.name, strings.ReplaceAll(c.does, "'", `\'`))
		if len(c.words) > 0 {
			fmt.Fprintf(b, "complete -c mls-server -n '__fish_seen_subcommand_from %s' -a '%s'\n", c.name, strings.Join(c.words, " "))
		}
	}
}

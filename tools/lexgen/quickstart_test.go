//go:build unix

package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// step is a fenced block of the README: a file, or what is typed.
type step struct{ file, text string }

var (
	fence  = regexp.MustCompile("(?ms)^```(\\w+)\n(.*?)^```$")
	caught = regexp.MustCompile("`([^`\n]+)`:\\s*$")
)

// quickStart are the steps of the README's quick start, in order. A block is the file that the text
// before it ends with, or, with the language sh, what is typed.
func quickStart(t *testing.T) []step {
	t.Helper()
	data, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(data), "\n## Quick start\n")
	text, _, _ = strings.Cut(text, "\n## ")
	var steps []step
	for _, at := range fence.FindAllStringSubmatchIndex(text, -1) {
		language, block := text[at[2]:at[3]], text[at[4]:at[5]]
		if language == "sh" {
			steps = append(steps, step{text: block})
			continue
		}
		name := caught.FindStringSubmatch(text[:at[0]])
		if name == nil {
			t.Fatalf("which file is this?\n%s", block)
		}
		steps = append(steps, step{name[1], block})
	}
	return steps
}

// TestQuickStart does what the README's quick start says, word by word: the first block in the
// repository's folder, everything else in an empty one. Only the port is another one, since the one
// of the README may be taken.
func TestQuickStart(t *testing.T) {
	t.Parallel()
	steps := quickStart(t)
	if len(steps) < 10 || steps[0].file != "" {
		t.Fatalf("%d steps", len(steps))
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	empty, bin := t.TempDir(), t.TempDir()
	var script strings.Builder
	fmt.Fprintf(&script, "set -eu\ncd '%s'\n%scd '%s'\n", root, steps[0].text, empty)
	for _, s := range steps[1:] {
		if s.file == "" {
			script.WriteString(s.text)
			continue
		}
		fmt.Fprintf(&script, "mkdir -p '%s'\ncat >'%s' <<'END OF FILE'\n%sEND OF FILE\n", filepath.Dir(s.file), s.file, s.text)
	}
	out := play(t, strings.ReplaceAll(script.String(), "localhost:8080", freePort(t)), "GOBIN="+bin, "PATH="+bin+":"+os.Getenv("PATH"), "GOFLAGS=", "GOWORK=off")
	for _, want := range []string{
		"0 errors, 0 warnings", "new handler handlers/listnotes.go", "new handler handlers/subscribenotes.go", `{"notes":[`,
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not said", want)
		}
	}
	if !regexp.MustCompile(`(\d+ It is \d\d:\d\d:\d\d\n){3}$`).MatchString(out) {
		t.Error("the end is not three notes")
	}
	if t.Failed() {
		t.Log(out)
	}
}

// freePort is an address that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return strings.Replace(listener.Addr().String(), "127.0.0.1", "localhost", 1)
}

// play runs a script in bash, and ends all that it has left running. It returns what was said.
func play(t *testing.T, script string, env ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", script)
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	group := func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.Cancel = group
	// Those that are left running have the file as well: a buffer would be waited for.
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cmd.Stdout, cmd.Stderr = file, file
	err = cmd.Run()
	if cmd.Process != nil {
		_ = group() // often there is nobody left
	}
	out, read := os.ReadFile(file.Name())
	if err != nil || read != nil {
		t.Fatalf("%v, %v\n%s", err, read, bytes.TrimSpace(out))
	}
	return string(out)
}

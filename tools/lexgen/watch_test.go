package main

import (
	"context"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestWatch: the work is done at the start, once for each change, and no more when it is over.
func TestWatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var digest atomic.Pointer[string]
		var runs atomic.Int64
		setTo := func(s string) { digest.Store(&s) }
		setTo("a")
		go watch(ctx, time.Second, func() string { return *digest.Load() }, func() { runs.Add(1) })
		for i, step := range []struct {
			digest string
			runs   int64
		}{{"a", 1}, {"a", 1}, {"b", 2}, {"b", 2}, {"a", 3}} {
			setTo(step.digest)
			time.Sleep(2 * time.Second) // in the bubble
			synctest.Wait()
			if n := runs.Load(); n != step.runs {
				t.Errorf("step %d: %d runs, want %d", i, n, step.runs)
			}
		}
		cancel()
		synctest.Wait()
		setTo("c")
		time.Sleep(time.Minute)
		if n := runs.Load(); n != 3 {
			t.Errorf("%d runs after the end", n)
		}
	})
}

// TestInputs: everything that gen reads counts, and nothing that it writes.
func TestInputs(t *testing.T) {
	t.Parallel()
	dir, file := newProject(t, twoPackages)
	args := []string{"--config", file, "--watch"}
	var errs strings.Builder
	if code := run([]string{"gen", "--config", file}, &errs, &errs); code != 0 {
		t.Fatal(errs.String())
	}
	last := inputs(args)
	put(t, filepath.Join(dir, "api/methods.go"), []byte("edited"))
	if inputs(args) != last {
		t.Error("an output counts as an input")
	}
	for name, text := range map[string]string{
		"lexicons/com/example/note.json": noteLexicon + " ", "lexicons/com/example/new.json": feedView, "handlers/more.go": "package handlers\n",
		projectFile: strings.Replace(twoPackages, `"com"`, `"com.example"`, 1),
	} {
		put(t, filepath.Join(dir, name), []byte(text))
		if now := inputs(args); now == last {
			t.Errorf("a change of %s is not seen", name)
		} else {
			last = now
		}
	}
	put(t, file, []byte("{"))
	if inputs(args) == last {
		t.Error("a broken file is not seen")
	}
}

// Package doctor is mls-server doctor: it looks at what a server stands on, before it is started or
// beside one that runs, and says what to do about what it finds.
//
// It changes nothing. What it says holds hosts, roles and settings, which are the operator's own;
// passwords and keys are never repeated.
package doctor

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"mls-server/internal/clock"
	"mls-server/internal/config"
	"mls-server/internal/store"
)

// Verdict is what a check comes to.
type Verdict int

// The verdicts, the best one first.
const (
	// Fine needs nothing.
	Fine Verdict = iota
	// Notice works, and can be better or has to be judged by somebody.
	Notice
	// Fault has to be mended.
	Fault
)

func (v Verdict) String() string { return [...]string{"ok", "notice", "FAULT"}[v] }

// Finding is what a check found.
type Finding struct {
	// Area and Check name it; both are the same in every run.
	Area, Check string
	Verdict     Verdict
	// Says is what was found, Advice what to do; Advice is "" when nothing has to be done.
	Says, Advice string
}

// Patient is what is looked at.
type Patient struct {
	Config *config.Config
	Store  *store.Store
	// Redis is nil when there is none.
	Redis redis.UniversalClient
	// HTTP reaches what is outside.
	HTTP  *http.Client
	Clock clock.Clock
	// Files is how many files the process may open, 0 when it is not known.
	Files uint64
}

// patience is how long a part may take to answer.
const patience = 5 * time.Second

// report gathers findings.
type report struct {
	area     string
	findings []Finding
}

func (r *report) add(v Verdict, check, says, advice string) {
	if v == Fine {
		advice = ""
	}
	r.findings = append(r.findings, Finding{Area: r.area, Check: check, Verdict: v, Says: says, Advice: advice})
}

// judge adds a finding: Fine when it is, else v with its advice.
func (r *report) judge(fine bool, v Verdict, check, says, advice string) {
	if fine {
		v = Fine
	}
	r.add(v, check, says, advice)
}

// Examine runs all checks, in the order in which one would mend what they find.
func Examine(ctx context.Context, p *Patient) []Finding {
	r := &report{}
	for _, part := range []struct {
		area  string
		check func(context.Context, *Patient, *report)
	}{
		{"configuration", examineConfig},
		{"database", examineDatabase},
		{"redis", examineRedis},
		{"identity", examineIdentity},
		{"network", examineNetwork},
	} {
		r.area = part.area
		part.check(ctx, p, r)
	}
	return r.findings
}

// Worst is the gravest verdict.
func Worst(findings []Finding) Verdict {
	worst := Fine
	for _, f := range findings {
		worst = max(worst, f.Verdict)
	}
	return worst
}

// Print writes findings for people, in colour if the terminal has it.
func Print(w io.Writer, findings []Finding, colour bool) error {
	var b strings.Builder
	area := ""
	count := [3]int{}
	for _, f := range findings {
		if f.Area != area {
			area = f.Area
			fmt.Fprintf(&b, "%s\n", area)
		}
		count[f.Verdict]++
		fmt.Fprintf(&b, "  %s %-24s %s\n", mark(f.Verdict, colour), f.Check, f.Says)
		if f.Advice != "" {
			fmt.Fprintf(&b, "  %-6s %-24s → %s\n", "", "", f.Advice)
		}
	}
	fmt.Fprintf(&b, "%d ok, %d to look at, %d faults\n", count[Fine], count[Notice], count[Fault])
	_, err := io.WriteString(w, b.String())
	return err
}

func mark(v Verdict, colour bool) string {
	text := fmt.Sprintf("%-6s", v)
	if !colour {
		return text
	}
	return [...]string{"\x1b[32m", "\x1b[33m", "\x1b[31m"}[v] + text + "\x1b[0m"
}

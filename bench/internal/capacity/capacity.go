// Package capacity computes what a number of users takes from what was measured and what is
// assumed. Both stand in tables of a page, docs/capacity.md, which anybody may change and have
// computed anew.
package capacity

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Names of the rows of the page's table of assumptions.
const (
	Messages  = "messages that a user sends a day"
	Size      = "size of a message"
	Members   = "users in the conversation of a message"
	Devices   = "devices of a user"
	Online    = "devices that are online at the peak"
	Peak      = "rate at the peak"
	Pages     = "pages of messages that a user reads a day"
	Commits   = "commits that a user makes a day"
	Claims    = "key packages that a user claims a day"
	Retention = "days that messages are kept"
	Copies    = "copies of the database"
	Usable    = "share of a core that is used at the peak"
)

// Names of the rows of the page's table of what was measured. A name with "server" is CPU of the
// server's process, one with "database" that of PostgreSQL's.
const (
	SendServer     = "send, server"
	SendDatabase   = "send, database"
	SealedServer   = "sealed send, server"
	SealedDatabase = "sealed send, database"
	PageServer     = "page of 50 × 2 KiB, server"
	PageDatabase   = "page of 50 × 2 KiB, database"
	ClaimServer    = "claim of a key package, server"
	ClaimDatabase  = "claim of a key package, database"
	CommitServer   = "commit in a group of 10, server"
	Delivery       = "delivery to a stream, server"
	Stream         = "memory of a stream"
	Beside         = "bytes of a message beside its ciphertext, stored"
	Log            = "bytes of a message in the database's log"
)

var (
	assumed  = []string{Messages, Size, Members, Devices, Online, Peak, Pages, Commits, Claims, Retention, Copies, Usable}
	measured = []string{SendServer, SendDatabase, SealedServer, SealedDatabase, PageServer, PageDatabase, ClaimServer, ClaimDatabase, CommitServer, Delivery, Stream, Beside, Log}
)

// Figures are the numbers of both tables, by name.
type Figures map[string]float64

// Sections of the page that are written.
const (
	begin = "<!-- computed -->\n"
	end   = "<!-- end -->"
)

var (
	// ErrMissing: the page has no row of a name, or no number in it.
	ErrMissing = errors.New("no number in the table for")
	// ErrMarks: the page has not the two marks between which the results stand.
	ErrMarks = errors.New("the page has not the marks " + strings.TrimSpace(begin) + " and " + end)
)

// Read returns the numbers of a page's tables: the second cell of each row.
func Read(page []byte) (Figures, error) {
	f := Figures{}
	for line := range strings.SplitSeq(string(page), "\n") {
		cells := strings.Split(line, "|")
		if len(cells) < 5 {
			continue
		}
		v, err := strconv.ParseFloat(strings.ReplaceAll(strings.TrimSpace(cells[2]), ",", ""), 64)
		if err == nil {
			f[strings.TrimSpace(cells[1])] = v
		}
	}
	for _, name := range append(append([]string{}, assumed...), measured...) {
		if _, ok := f[name]; !ok {
			return nil, fmt.Errorf("%w %q", ErrMissing, name)
		}
	}
	return f, nil
}

// Note writes what was measured into a page's table: the second cell of the rows of those names.
func Note(page []byte, found Figures) []byte {
	lines := strings.Split(string(page), "\n")
	for i, line := range lines {
		cells := strings.Split(line, "|")
		if len(cells) < 5 {
			continue
		}
		if v, ok := found[strings.TrimSpace(cells[1])]; ok {
			cells[2] = " " + number(v) + " "
			lines[i] = strings.Join(cells, "|")
		}
	}
	return []byte(strings.Join(lines, "\n"))
}

// Update computes a page's results anew.
func Update(page []byte) ([]byte, error) {
	f, err := Read(page)
	if err != nil {
		return nil, err
	}
	before, rest, ok := bytes.Cut(page, []byte(begin))
	_, after, ended := bytes.Cut(rest, []byte(end))
	if !ok || !ended {
		return nil, ErrMarks
	}
	return bytes.Join([][]byte{before, []byte(begin), results(f), []byte(end), after}, nil), nil
}

// users are the sizes that the results are for.
var users = []float64{1e4, 1e6, 1e8}

func results(f Figures) []byte {
	var b bytes.Buffer
	b.WriteString("\n| of one core | |\n|---|---|\n")
	for _, row := range []struct {
		what   string
		micros float64
	}{
		{"sends a second, server and database together", f[SendServer] + f[SendDatabase]},
		{"sealed sends a second, likewise", f[SealedServer] + f[SealedDatabase]},
		{"pages a second, likewise", f[PageServer] + f[PageDatabase]},
		{"deliveries to streams a second, server", f[Delivery]},
	} {
		fmt.Fprintf(&b, "| %s | %s |\n", row.what, number(1e6/row.micros))
	}
	fmt.Fprintf(&b, "| streams that fit a GB of memory | %s |\n\n", number(1e9/(f[Stream]*1024)))
	b.WriteString("| active users |")
	for _, n := range users {
		fmt.Fprintf(&b, " %s |", number(n))
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(users)) + "\n")
	for _, row := range rows {
		fmt.Fprintf(&b, "| %s |", row.what)
		for _, n := range users {
			fmt.Fprintf(&b, " %s |", number(row.value(f, n)))
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
	return b.Bytes()
}

// rows are the results for a number of active users.
var rows = []struct {
	what  string
	value func(f Figures, users float64) float64
}{
	{"sends a second at the peak", func(f Figures, n float64) float64 { return f.peak(n, Messages) }},
	{"deliveries a second at the peak", Figures.deliveries},
	{"streams at the peak", Figures.streams},
	{"cores for servers", func(f Figures, n float64) float64 {
		micros := f.peak(n, Messages)*f[SendServer] + f.deliveries(n)*f[Delivery] + f.peak(n, Pages)*f[PageServer] + f.peak(n, Claims)*f[ClaimServer] + f.peak(n, Commits)*f[CommitServer]
		return micros / 1e6 / f[Usable]
	}},
	{"cores for the database", func(f Figures, n float64) float64 {
		micros := f.peak(n, Messages)*f[SendDatabase] + f.peak(n, Pages)*f[PageDatabase] + f.peak(n, Claims)*f[ClaimDatabase]
		return micros / 1e6 / f[Usable]
	}},
	{"memory for streams, GB", func(f Figures, n float64) float64 { return f.streams(n) * f[Stream] * 1024 / 1e9 }},
	{"sent to streams at the peak, Mbit/s", func(f Figures, n float64) float64 { return f.deliveries(n) * f.frame() * 8 / 1e6 }},
	{"stored a day, GB, each copy", func(f Figures, n float64) float64 { return n * f.stored() / 1e9 }},
	{"stored at the steady state, GB, all copies", func(f Figures, n float64) float64 { return n * f.stored() * f[Retention] * f[Copies] / 1e9 }},
	{"the database's log a day, GB", func(f Figures, n float64) float64 { return n * f[Messages] * (f[Log] - 1024 + f[Size]) / 1e9 }},
	{"bytes stored a day for each user", func(f Figures, _ float64) float64 { return f.stored() }},
}

const day = 24 * 60 * 60

// peak is how often a second something happens at the peak that each of n users does that often a
// day.
func (f Figures) peak(n float64, what string) float64 { return n * f[what] / day * f[Peak] }

func (f Figures) streams(n float64) float64 { return n * f[Devices] * f[Online] }

func (f Figures) deliveries(n float64) float64 {
	return f.peak(n, Messages) * f[Members] * f[Devices] * f[Online]
}

// frame is the size of an event with a message, whose ciphertext goes as base64.
func (f Figures) frame() float64 { return f[Size]*4/3 + 400 }

// stored is how many bytes a user's messages of a day take.
func (f Figures) stored() float64 { return f[Messages] * (f[Size] + f[Beside]) }

// number is a number with two digits that count, and with commas between thousands.
func number(v float64) string {
	if v < 100 {
		return strconv.FormatFloat(v, 'g', 2, 64)
	}
	step := math.Pow(10, math.Floor(math.Log10(v))-1)
	text := strconv.FormatFloat(math.Round(v/step)*step, 'f', 0, 64)
	for at := len(text) - 3; at > 0; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return text
}

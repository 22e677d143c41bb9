package main

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mls-server/internal/gen/mlsapi"
	"mls-server/lexrt"

	"mls-server/tools/lexgen/emit"
	"mls-server/tools/lexgen/ir"
	"mls-server/tools/lexgen/lexicon"
)

// The structs that indigo's generator writes for the same lexicons, with its
// byte type, for comparison.
type (
	indigoBytes []byte
	indigoSend  struct {
		Ciphertext     indigoBytes `json:"ciphertext"`
		ConvoID        string      `json:"convoId"`
		DeclaredSize   *int64      `json:"declaredSize,omitempty"`
		Epoch          int64       `json:"epoch"`
		IdempotencyKey *string     `json:"idempotencyKey,omitempty"`
		MsgID          string      `json:"msgId"`
		PaddedSize     int64       `json:"paddedSize"`
	}
	indigoMessage struct {
		Ciphertext  indigoBytes `json:"ciphertext"`
		ConvoID     string      `json:"convoId"`
		CreatedAt   string      `json:"createdAt"`
		Epoch       int64       `json:"epoch"`
		ID          string      `json:"id"`
		MessageType *string     `json:"messageType,omitempty"`
		Seq         int64       `json:"seq"`
	}
	indigoPage struct {
		Cursor   *string          `json:"cursor,omitempty"`
		LastSeq  *int64           `json:"lastSeq,omitempty"`
		Messages []*indigoMessage `json:"messages"`
	}
	jsonBytes struct {
		Bytes string `json:"$bytes"`
	}
)

func (b indigoBytes) MarshalJSON() ([]byte, error) {
	return json.Marshal(jsonBytes{base64.RawStdEncoding.EncodeToString(b)})
}

func (b *indigoBytes) UnmarshalJSON(src []byte) error {
	var v jsonBytes
	if err := json.Unmarshal(src, &v); err != nil {
		return err
	}
	raw, err := base64.RawStdEncoding.DecodeString(v.Bytes)
	*b = raw
	return err
}

func sample(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 131)
	}
	return b
}

// BenchmarkSendMessageDecode reads a sendMessage body with a ciphertext of 8 KiB.
func BenchmarkSendMessageDecode(b *testing.B) {
	key := "0b3ad3a2-6ab5-4b8e-9d8c-0d9f5b7b6a11"
	in := mlsapi.SendMessageInput{
		ConvoID: "3kznmn7xqxl22", MsgID: "01J9Z3N0S8W1V7K2QG5T4R6YHB", IdempotencyKey: &key,
		Ciphertext: sample(8192), Epoch: 17, PaddedSize: 8192,
	}
	body := in.AppendJSON(nil)
	b.Run("lexgen", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		b.ReportAllocs()
		for b.Loop() {
			var v mlsapi.SendMessageInput
			if err := v.UnmarshalJSON(body); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encoding-json", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		b.ReportAllocs()
		for b.Loop() {
			var v indigoSend
			if err := json.Unmarshal(body, &v); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkGetMessagesEncode writes a page of 50 messages of 2 KiB.
func BenchmarkGetMessagesEncode(b *testing.B) {
	var page mlsapi.GetMessagesOutput
	var other indigoPage
	for i := range 50 {
		m := mlsapi.DefsMessageView{
			ID: "01J9Z3N0S8W1V7K2QG5T4R6YHB", ConvoID: "3kznmn7xqxl22", Ciphertext: sample(2048), Epoch: 17,
			Seq: int64(i), CreatedAt: lexrt.Datetime("2026-11-20T10:00:00Z"),
		}
		page.Messages = append(page.Messages, m)
		other.Messages = append(other.Messages, &indigoMessage{
			ID: m.ID, ConvoID: m.ConvoID, Ciphertext: m.Ciphertext, Epoch: m.Epoch, Seq: m.Seq, CreatedAt: m.CreatedAt.String(),
		})
	}
	b.Run("lexgen", func(b *testing.B) {
		buf := page.AppendJSON(nil)
		b.SetBytes(int64(len(buf)))
		b.ReportAllocs()
		for b.Loop() {
			buf = page.AppendJSON(buf[:0])
		}
	})
	b.Run("encoding-json", func(b *testing.B) {
		b.SetBytes(int64(len(page.AppendJSON(nil))))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := json.Marshal(&other); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// officialDir copies the 377 official files, without the rest of the module.
func officialDir(b *testing.B) string {
	b.Helper()
	return filepath.Join(indigo(b), "lexicons")
}

// BenchmarkPipeline runs parser, model and emitters on the official corpus in memory.
func BenchmarkPipeline(b *testing.B) {
	sources := corpus(b)
	b.ReportAllocs()
	for b.Loop() {
		set, diags := lexicon.Parse(sources, lexicon.Options{})
		if diags.HasErrors() {
			b.Fatal(diags)
		}
		model, _ := ir.Build(set, ir.Options{})
		if _, err := emit.Package(model, emit.Options{Package: "lexapi", ImportPath: "corpus/lexapi", Runtime: "mls-server/lexrt"}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCorpus runs the program itself on the official corpus: cold, when
// nothing changed, and indigo's own generator for comparison. It reports the
// processor time and the largest resident memory of a run in MiB. The memory is not
// less than that of the benchmark itself, whose copy a new process is at first.
func BenchmarkCorpus(b *testing.B) {
	dir := b.TempDir()
	bin := filepath.Join(dir, "lexgen")
	goTool(b, ".", "build", "-o", bin, ".")
	args := []string{"gen", "--quiet", "--in", officialDir(b), "--package", "lexapi", "--module", "corpus/lexapi", "--out"}
	cache := append(os.Environ(), "XDG_CACHE_HOME="+filepath.Join(dir, "cache"))
	cold := func(b *testing.B) *exec.Cmd {
		out := b.TempDir()
		cmd := exec.CommandContext(b.Context(), bin, append(args, out)...)
		cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+out)
		return cmd
	}
	b.Run("lexgen-cold", func(b *testing.B) { measure(b, func() *exec.Cmd { return cold(b) }) })
	for _, command := range []string{"gen", "check"} {
		b.Run("lexgen-"+command+"-unchanged", func(b *testing.B) {
			warm := func(command string) *exec.Cmd {
				cmd := exec.CommandContext(b.Context(), bin, append(append([]string{command}, args[1:]...), filepath.Join(dir, "warm"))...)
				cmd.Env = cache
				return cmd
			}
			processTime(b, warm("gen"))
			measure(b, func() *exec.Cmd { return warm(command) })
		})
	}
	other := filepath.Join(dir, "indigo-lexgen")
	goTool(b, "testdata/indigo", "build", "-o", other, "github.com/bluesky-social/indigo/cmd/lexgen")
	config := filepath.Join(dir, "build.json")
	put(b, config, indigoConfig(b, filepath.Join(dir, "indigo")))
	theirs := func(b *testing.B) *exec.Cmd {
		cmd := exec.CommandContext(b.Context(), other, "--build-file", config, officialDir(b))
		cmd.Dir = dir
		return cmd
	}
	b.Run("indigo-lexgen", func(b *testing.B) { measure(b, func() *exec.Cmd { return theirs(b) }) })
	b.Run("lexgen-cold-beside-indigo", func(b *testing.B) {
		var ratios []float64
		for b.Loop() {
			ratios = append(ratios, processTime(b, cold(b))/processTime(b, theirs(b)))
		}
		report(b, ratios)
	})
}

// indigoConfig tells indigo's generator to write a package for each domain.
func indigoConfig(b *testing.B, out string) []byte {
	b.Helper()
	var packages []map[string]string
	for _, p := range [][2]string{{"bsky", "app.bsky"}, {"atproto", "com.atproto"}, {"chat", "chat.bsky"}, {"ozone", "tools.ozone"}, {"germ", "com.germnetwork"}, {"site", "site.standard"}} {
		dir := filepath.Join(out, p[0])
		if err := os.MkdirAll(dir, 0o755); err != nil {
			b.Fatal(err)
		}
		packages = append(packages, map[string]string{"package": p[0], "prefix": p[1], "outdir": dir, "import": "corpus/" + p[0]})
	}
	data, err := json.Marshal(packages)
	if err != nil {
		b.Fatal(err)
	}
	return data
}

// beside reports how much processor time f takes, as a multiple of what other takes: the median of
// many turns of n times f and n times other.
func beside(b *testing.B, n int, f, other func() error) {
	b.Helper()
	took := func(f func() error) float64 {
		from := cpuTime()
		for range n {
			if err := f(); err != nil {
				b.Fatal(err)
			}
		}
		return float64(cpuTime() - from)
	}
	took(f)
	took(other)
	var ratios []float64
	for b.Loop() {
		ratios = append(ratios, took(f)/took(other))
	}
	report(b, ratios)
}

func report(b *testing.B, ratios []float64) {
	b.Helper()
	slices.Sort(ratios)
	b.ReportMetric(ratios[len(ratios)/2], "times-the-other's-cpu")
}

// processTime runs a command and returns the processor time of the whole process.
func processTime(b *testing.B, cmd *exec.Cmd) float64 {
	b.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, out[:min(len(out), 2000)])
	}
	return float64(cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime())
}

func measure(b *testing.B, command func() *exec.Cmd) {
	b.Helper()
	var most, n int64
	var cpu time.Duration
	for b.Loop() {
		cmd := command()
		cpu += time.Duration(processTime(b, cmd))
		most = max(most, maxRSS(cmd))
		n++
	}
	b.ReportMetric(float64(most)/(1<<20), "MiB-max")
	b.ReportMetric(float64(cpu.Milliseconds())/float64(n), "cpu-ms/op")
}

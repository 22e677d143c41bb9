package main

import (
	"flag"
	"fmt"
	"go/types"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
)

func main() {
	dir := flag.String("C", ".", "the root of the repository")
	verbose := flag.Bool("v", false, "say what each method can answer")
	flag.Parse()
	began := time.Now()
	r, err := check(server(*dir))
	if err != nil {
		fmt.Fprintln(os.Stderr, "kindcheck:", err)
		os.Exit(2)
	}
	if *verbose {
		fmt.Println("general:", strings.Join(r.general, " "))
		for _, m := range slices.Sorted(maps.Keys(r.reached)) {
			fmt.Println(m+":", strings.Join(r.reached[m], " "))
		}
		fmt.Printf("%d contexts in %.1f s\n", r.frames, time.Since(began).Seconds())
	}
	for _, f := range r.findings {
		fmt.Println(f)
	}
	if len(r.findings) > 0 {
		os.Exit(1)
	}
}

func pointerTo(t types.Type) types.Type { return types.NewPointer(t) }

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"

	"mls-server/internal/pgcluster"
)

// binaries finds PostgreSQL, and puts it on the machine when there is none:
// through the package manager where that needs no password, else as a
// download of the embedded-postgres project into a cache directory.
func binaries(ctx context.Context, out io.Writer) (string, error) {
	dir, err := pgcluster.FindBinaries(ctx)
	if !errors.Is(err, pgcluster.ErrNoBinaries) {
		return dir, err
	}
	missing := err
	if command := packageManager(); command != nil {
		for _, step := range command {
			fmt.Fprintln(out, "devdb: no PostgreSQL here; running", step)
			cmd := exec.CommandContext(ctx, step[0], step[1:]...)
			cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
			cmd.Stdout, cmd.Stderr = out, out
			if err := cmd.Run(); err != nil {
				fmt.Fprintln(out, "devdb:", err)
			}
		}
		if dir, err := pgcluster.FindBinaries(ctx); err == nil {
			return dir, nil
		}
	}
	dir, err = download(out)
	if err != nil {
		return "", errors.Join(missing, err)
	}
	return dir, nil
}

// packageManager is the commands that install PostgreSQL without asking.
func packageManager() [][]string {
	has := func(program string) bool {
		_, err := exec.LookPath(program)
		return err == nil
	}
	switch {
	case runtime.GOOS == "darwin" && has("brew"):
		return [][]string{{"brew", "install", "postgresql@17"}}
	case os.Geteuid() == 0 && has("apt-get"):
		return [][]string{
			{"apt-get", "update"},
			{"apt-get", "install", "-y", "--no-install-recommends", "postgresql"},
		}
	}
	return nil
}

// downloadVersion is a release that the embedded-postgres project builds for
// Linux, Alpine and macOS, Intel and ARM.
const downloadVersion = embeddedpostgres.V17

// download fetches binaries once and keeps them. The library offers no fetch
// alone: its Start fetches, unpacks and starts. Whether the server it starts
// comes up is of no interest (as root it cannot); what counts is the files.
func download(out io.Writer) (string, error) {
	target, err := pgcluster.DownloadDir()
	if err != nil {
		return "", err
	}
	bin := filepath.Join(target, "bin")
	if complete(bin) {
		return bin, nil
	}
	fmt.Fprintln(out, "devdb: downloading PostgreSQL", downloadVersion, "into", target)
	scratch, err := os.MkdirTemp("", "devdb-")
	if err != nil {
		return "", fmt.Errorf("download PostgreSQL: %w", err)
	}
	defer func() { _ = os.RemoveAll(scratch) }() // of no use to anybody
	server := embeddedpostgres.NewDatabase(embeddedpostgres.DefaultConfig().
		Version(downloadVersion).
		BinariesPath(target).
		CachePath(filepath.Join(scratch, "archive")).
		RuntimePath(filepath.Join(scratch, "runtime")).
		DataPath(filepath.Join(scratch, "data")).
		Logger(io.Discard))
	startErr := server.Start()
	if startErr == nil {
		startErr = server.Stop()
	}
	if !complete(bin) {
		return "", fmt.Errorf("download PostgreSQL: %w", startErr)
	}
	return bin, nil
}

func complete(bin string) bool {
	for _, program := range []string{"initdb", "postgres"} {
		if _, err := os.Stat(filepath.Join(bin, program)); err != nil {
			return false
		}
	}
	return true
}

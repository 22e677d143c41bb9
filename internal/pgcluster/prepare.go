package pgcluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

const superuser = "postgres"

var databaseName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)

// prepare makes the directories and, when there is no data yet, the cluster.
func (c *Cluster) prepare(ctx context.Context) error {
	if c.cfg.Database != "" && !databaseName.MatchString(c.cfg.Database) {
		return fmt.Errorf("database name %q: want lower-case letters, digits and underscores", c.cfg.Database)
	}
	var err error
	// A socket's path has room for about a hundred bytes, so it lives where
	// paths are short, whatever TMPDIR says.
	if c.socket, err = os.MkdirTemp(shortTemp(), "mls-pg-"); err != nil {
		return fmt.Errorf("make the socket's directory: %w", err)
	}
	if err := c.owner.give(c.socket); err != nil {
		return err
	}
	if c.temporary() {
		if c.base, err = os.MkdirTemp(shortTemp(), "mls-pgdata-"); err != nil {
			return fmt.Errorf("make the data directory: %w", err)
		}
		if err := c.owner.give(c.base); err != nil {
			return err
		}
	} else {
		if c.base, err = filepath.Abs(c.cfg.Dir); err != nil {
			return fmt.Errorf("data directory: %w", err)
		}
		if err := os.MkdirAll(c.base, 0o755); err != nil { //nolint:gosec // the data inside has mode 0700
			return fmt.Errorf("make the data directory: %w", err)
		}
	}
	_, err = os.Stat(filepath.Join(c.dataPath(), "PG_VERSION"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = c.initialise(ctx)
	case err == nil:
		err = c.adopt()
	}
	if err != nil {
		return err
	}
	return c.readPassword(c.base)
}

// adopt makes data of an earlier run fit for this one: another account may
// have started it.
func (c *Cluster) adopt() error { return c.owner.give(c.dataPath()) }

// initialise makes the cluster beside its final place and renames it into it
// when all is done, so that an interrupted first run leaves nothing half-made
// that a later one would trust.
func (c *Cluster) initialise(ctx context.Context) error {
	final := c.base
	fresh := filepath.Join(final, "new")
	if err := os.RemoveAll(fresh); err != nil {
		return fmt.Errorf("remove an unfinished cluster: %w", err)
	}
	data := filepath.Join(fresh, "data")
	if err := os.MkdirAll(data, 0o700); err != nil {
		return fmt.Errorf("make the data directory: %w", err)
	}
	if err := os.WriteFile(filepath.Join(final, "password"), []byte(newPassword()+"\n"), 0o600); err != nil {
		return fmt.Errorf("keep the password: %w", err)
	}
	if err := c.owner.give(fresh); err != nil {
		return err
	}
	c.base = fresh
	err := c.createCluster(ctx)
	c.base = final
	if err != nil {
		return err
	}
	if err := os.Rename(data, c.dataPath()); err != nil {
		return fmt.Errorf("move the cluster to its place: %w", err)
	}
	if err := os.Remove(fresh); err != nil {
		return fmt.Errorf("remove the first run's directory: %w", err)
	}
	return nil
}

func (c *Cluster) createCluster(ctx context.Context) error {
	arguments := []string{
		"--username=" + superuser, "--encoding=UTF8", "--locale=C",
		"--auth-local=trust", "--auth-host=scram-sha-256", "--no-instructions",
	}
	if c.temporary() {
		arguments = append(arguments, "--no-sync")
	}
	if err := c.runOnData(ctx, "", "initdb", arguments...); err != nil {
		return err
	}
	if err := c.readPassword(filepath.Dir(c.base)); err != nil {
		return err
	}
	// Single-user mode takes one statement a line. The password has no quotes.
	statements := "ALTER ROLE " + superuser + " PASSWORD '" + c.password + "'\n"
	if c.cfg.Database != "" {
		statements += "CREATE DATABASE " + c.cfg.Database + "\n"
	}
	return c.runOnData(ctx, statements, "postgres", "--single")
}

// runOnData runs a PostgreSQL program to its end, on the data directory.
func (c *Cluster) runOnData(ctx context.Context, input, program string, arguments ...string) error {
	dir, err := c.openData()
	if err != nil {
		return err
	}
	defer dir.close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return fmt.Errorf("open %s: %w", os.DevNull, err)
	}
	defer func() { _ = null.Close() }() // opened for reading: nothing can be lost

	arguments = append(arguments, "-D", dir.path)
	if program == "postgres" {
		arguments = append(arguments, superuser) // the database to open
	}
	cmd := exec.CommandContext(ctx, filepath.Join(c.cfg.BinDir, program), arguments...) //nolint:gosec // our own arguments
	cmd.Env = environment()
	cmd.Dir = "/"
	cmd.Stdin = strings.NewReader(input)
	cmd.SysProcAttr = c.owner.attributes()
	// the data directory's number is that of launch
	cmd.ExtraFiles = append([]*os.File{null}, dir.files()...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", program, err, strings.TrimSpace(string(out)))
	}
	return nil
}

func (c *Cluster) readPassword(dir string) error {
	content, err := os.ReadFile(filepath.Join(dir, "password")) //nolint:gosec // our own file
	if err != nil {
		return fmt.Errorf("read the password: %w", err)
	}
	c.password = strings.TrimSpace(string(content))
	return nil
}

// settings are the server's command line. Nothing is written into
// postgresql.conf, so that a later version of this package finds its own
// settings and not those of an older one.
func (c *Cluster) settings() []string {
	values := map[string]string{
		"listen_addresses":                  "",
		"port":                              strconv.Itoa(c.port()),
		"unix_socket_directories":           c.socket,
		"unix_socket_permissions":           "0700",
		"max_connections":                   "200",
		"shared_buffers":                    "128MB",
		"timezone":                          "UTC",
		"log_timezone":                      "UTC",
		"jit":                               "off",
		"log_min_error_statement":           "panic", // statements carry what no log may hold (I9)
		"log_parameter_max_length_on_error": "0",
	}
	if c.cfg.Port != 0 {
		values["listen_addresses"] = "127.0.0.1"
	}
	if c.temporary() {
		values["fsync"] = "off"
		values["synchronous_commit"] = "off"
		values["full_page_writes"] = "off"
		values["autovacuum_naptime"] = "10min"
		values["max_wal_size"] = "4GB"
	}
	maps.Copy(values, c.cfg.Settings)
	var arguments []string
	for name, value := range values {
		arguments = append(arguments, "-c", name+"="+value)
	}
	return arguments
}

func shortTemp() string {
	if info, err := os.Stat("/tmp"); err == nil && info.IsDir() {
		return "/tmp"
	}
	return os.TempDir()
}

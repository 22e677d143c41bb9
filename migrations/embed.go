// Package migrations carries the schema's history inside the binary.
//
// It keeps the order of the migrations and the lock that lets any number of
// server processes migrate at the same time. It must not open connections of
// its own, and a released migration is never edited.
package migrations

import (
	"crypto/sha256"
	"database/sql"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"slices"

	"github.com/pressly/goose/v3"
)

// Files are the migrations, by name.
//
//go:embed *.sql
var Files embed.FS

// Provider applies and inspects migrations on db: those in files, which are Files but in
// tests. One process at a time applies them; waiting, which may be nil, is called in each that
// has to wait, once.
func Provider(db *sql.DB, files fs.FS, waiting func()) (*goose.Provider, error) {
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files, goose.WithSessionLocker(&locker{waiting: waiting}))
	if err != nil {
		return nil, fmt.Errorf("migrations: %w", err)
	}
	return provider, nil
}

// Digest identifies the text of all migrations: two binaries with the same
// digest make the same schema.
func Digest() string {
	names, err := fs.Glob(Files, "*.sql")
	if err != nil {
		panic(err) // the pattern is a constant
	}
	slices.Sort(names)
	hash := sha256.New()
	for _, name := range names {
		content, err := Files.ReadFile(name)
		if err != nil {
			panic(err) // the file is part of the binary
		}
		fmt.Fprintf(hash, "%s %d\n", name, len(content))
		hash.Write(content)
	}
	return hex.EncodeToString(hash.Sum(nil))[:16]
}

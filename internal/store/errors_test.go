package store

import (
	"os"
	"regexp"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"mls-server/internal/mls"
)

// TestViolationsNameConstraints: a renamed constraint must not turn its meaning into a fault.
func TestViolationsNameConstraints(t *testing.T) {
	t.Parallel()
	s := open(t, 1)
	source, err := os.ReadFile("errors.go")
	must(t, err)
	names := regexp.MustCompile(`violation\{"(\w+)"`).FindAllSubmatch(source, -1)
	if len(names) < 5 {
		t.Fatalf("%d violations found", len(names))
	}
	for _, name := range names {
		v := violation{string(name[1]), mls.ErrInvalidInput}
		n := one[int64](t, s, `SELECT (SELECT count(*) FROM pg_constraint WHERE conname = $1) +
			(SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE c.relname = $1 AND i.indisunique)`, v.constraint)
		if n == 0 {
			t.Errorf("the schema has no constraint %s", v.constraint)
		}
		fault := &pgconn.PgError{Code: codeUniqueViolation, ConstraintName: v.constraint}
		wantErr(t, fail("x", fault, v), v.means)
		if err := fail("x", fault); mls.AsError(err) != nil {
			t.Errorf("%s means %v to a verb that does not expect it", v.constraint, err)
		}
	}
}

func TestFaultsByClass(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]error{
		"08000": mls.ErrBusy, "08P01": mls.ErrBusy, "53300": mls.ErrBusy, "53100": mls.ErrBusy, "57014": mls.ErrBusy, "57P01": mls.ErrBusy,
		"57P04": mls.ErrBusy, "0A000": mls.ErrBusy, "25006": mls.ErrBusy, "40001": mls.ErrBusy, "40P01": mls.ErrBusy, "42P05": mls.ErrBusy,
		"26000": mls.ErrBusy, "55000": mls.ErrBusy, "55P03": mls.ErrBusy, "58030": mls.ErrBusy, "XX000": mls.ErrBusy,
		"22021": mls.ErrInvalidInput, "22003": mls.ErrInvalidInput, "22P05": mls.ErrInvalidInput,
		"23505": nil, "23503": nil, "42P01": nil, "42601": nil, "XX001": nil, "25P02": nil, "25001": nil, "40002": nil, "0A001": nil, "": nil,
	} {
		err := fail("step", &pgconn.PgError{Code: code, Message: "quotes did:plc:secret"})
		switch domain := mls.AsError(err); {
		case want == nil && domain != nil:
			t.Errorf("%s is %v, want a fault", code, domain)
		case want != nil:
			wantErr(t, err, want)
		}
		if sqlState(err) != code {
			t.Errorf("%q is lost: %v", code, err)
		}
	}
}

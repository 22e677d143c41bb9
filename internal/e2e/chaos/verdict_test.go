package chaos_test

import (
	"fmt"

	"github.com/jackc/pgx/v5"
)

// verdict is what became of the acknowledged messages.
type verdict struct {
	lost, doubled, unruly int
	why                   []string
}

func (v *verdict) say(format string, args ...any) {
	if len(v.why) < 5 {
		v.why = append(v.why, fmt.Sprintf(format, args...))
	}
}

// row is a message in the database.
type row struct {
	seq            int64
	rows, events   int
	eventsOutOfRow int
}

// stored reads all messages and their events, by conversation and id.
func (p *play) stored() map[string]*row {
	p.t.Helper()
	conn := p.connect("mls")
	defer p.close(conn)
	//nolint:rowserrcheck // ForEachRow below returns it
	rows, err := conn.Query(p.t.Context(), `
		SELECT (SELECT coalesce(c.first_group_id, c.group_id) FROM conversations c WHERE c.id = m.convo_id), m.msg_id, min(m.seq), count(DISTINCT m.seq), count(e.position), count(e.position) FILTER (WHERE e.seq <> m.seq)
		FROM messages m LEFT JOIN event_stream e ON e.convo_id = m.convo_id AND e.message_id = m.msg_id
		GROUP BY m.convo_id, m.msg_id`)
	if err != nil {
		p.t.Fatal(err)
	}
	out := map[string]*row{}
	var convo, id string
	var r row
	if _, err := pgx.ForEachRow(rows, []any{&convo, &id, &r.seq, &r.rows, &r.events, &r.eventsOutOfRow}, func() error {
		own := r
		out[convo+" "+id] = &own
		return nil
	}); err != nil {
		p.t.Fatal(err)
	}
	return out
}

// verdict looks for everything that was acknowledged so far: in the database at once, in the
// streams once they have got there.
func (p *play) verdict() verdict {
	p.t.Helper()
	all := p.load.acknowledged()
	for _, f := range p.followers {
		p.await("every stream has got everything", func() bool {
			f.mu.Lock()
			defer f.mu.Unlock()
			missing := 0
			for _, m := range all {
				if !f.has(m.id) {
					missing++
				}
			}
			return missing == 0
		})
	}
	var v verdict
	stored := p.stored()
	seqs := map[string]string{}
	for _, m := range all {
		r := stored[m.convo+" "+m.id]
		place := fmt.Sprint(m.convo, " ", m.seq)
		switch {
		case r == nil:
			v.lost++
			v.say("%s is not in the database", m.id)
		case r.seq != m.seq || seqs[place] != "":
			v.unruly++
			v.say("%s was acknowledged as %d and is %d", m.id, m.seq, r.seq)
		case r.rows != 1 || r.events > 1:
			v.doubled++
			v.say("%s has %d rows and %d events", m.id, r.rows, r.events)
		case r.events == 0 || r.eventsOutOfRow > 0:
			v.lost++
			v.say("%s has no event in its place", m.id)
		}
		seqs[place] = m.id
	}
	for _, f := range p.followers {
		f.mu.Lock()
		for id, n := range f.seen {
			if n > 1 {
				v.doubled++
				v.say("a stream said %s %d times", id, n)
			}
		}
		v.unruly += f.unruly
		f.unruly = 0
		f.mu.Unlock()
	}
	return v
}

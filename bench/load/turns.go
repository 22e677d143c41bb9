package main

import (
	"context"
	"time"
)

// turns is how often what is compared takes its turn.
const turns = 3

// kind is a kind of request.
type kind struct {
	name     string
	inFlight int
	request  func(i int) ([]byte, error)
}

// turn is the conversation and the user that the i-th request of a load is of.
func (m *machine) turn(i int) (convo, *identity) {
	c := m.convos[i%len(m.convos)]
	return c, c.users[i/len(m.convos)%2]
}

// alternate loads the server with each kind by turns, so that a slow moment of the machine is
// no kind's alone.
func (m *machine) alternate(ctx context.Context, r *report, o options, kinds []kind) error {
	for range turns {
		for _, k := range kinds {
			if err := m.turnOf(ctx, r, o, k); err != nil {
				return err
			}
		}
	}
	return nil
}

// turnOf is one turn of a kind; what it measures is added to that of earlier turns.
func (m *machine) turnOf(ctx context.Context, r *report, o options, k kind) error {
	o.warm, o.measure = o.warm/turns, max(o.measure/turns, time.Second)
	requests, err := prepare(int((o.warm+o.measure).Seconds()*perSecond), k.request)
	if err != nil {
		return err
	}
	result, err := load(ctx, m, k.name, k.inFlight, 0, o, requests)
	if err != nil {
		return err
	}
	for i, earlier := range r.loads {
		if earlier.name == k.name {
			r.loads[i] = result.add(earlier)
			return nil
		}
	}
	r.loads = append(r.loads, result)
	return nil
}

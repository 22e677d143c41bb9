package delivery

import (
	"context"
	"maps"
	"slices"
	"time"

	"mls-server/internal/mls"
	"mls-server/internal/store"
)

const (
	// seenSince is how many days before today (UTC) a user may have been here last to count as
	// seen.
	seenSince = 2 * 24 * time.Hour
	// loneVoidings is how long a lone reporter waits before it may take another commit of the same
	// committer back.
	loneVoidings = 24 * time.Hour
	// firstBackoff is how long a user whose commit was taken back waits before the next one; each
	// further one of its own doubles it, maxDoublings times at most.
	firstBackoff = 10 * time.Minute
	maxDoublings = 8
	// maxTaken is how many commits one report takes back at most: a transaction has its time.
	maxTaken = 200
)

// CommitReport is a device's word that it cannot follow a commit, nor any after it.
type CommitReport struct {
	Key  mls.ConvoKey
	User mls.DID
	// Device is one of the user's in the conversation, "" for a user without.
	Device mls.DeviceID
	// Commit names the commit, "" for the newest one that stands. Epoch is the one in which it was
	// made.
	Commit mls.MessageID
	Epoch  mls.Epoch
	At     time.Time
}

// ReportCommit keeps a report. When enough members report the newest commits, these are taken back,
// and the conversation is in the epoch in which the oldest of them was made. reopened says that the
// reported one is among them, or was taken back before. Errors: those of LockAsMember,
// mls.ErrCommitNotFound, mls.ErrGroupReset, mls.ErrInvalidInput for a device that is not the
// user's.
func (s *Service) ReportCommit(ctx context.Context, r CommitReport) (reopened bool, err error) {
	err = s.store.InTx(ctx, func(tx *store.Tx) error {
		reopened = false
		standing, err := tx.LockAsMember(ctx, r.Key, r.User)
		if err != nil {
			return err
		}
		convo := &standing.Convo
		k, err := reported(ctx, tx, convo, r.Commit)
		switch {
		case err != nil:
			return err
		case k == nil || k.Epoch != r.Epoch || k.Seq < standing.JoinSeq || k.Seq == standing.JoinSeq && k.Seq > 0:
			return mls.ErrCommitNotFound
		case k.Generation != convo.Generation:
			return mls.ErrGroupReset
		case k.Void:
			reopened = true
			return nil
		}
		active, err := tx.FindActive(ctx, convo.ID, r.User)
		if err != nil {
			return err
		}
		device := store.Device{User: r.User, ID: r.Device}
		if r.Device != "" && !slices.ContainsFunc(active, func(d store.ActiveDevice) bool { return d.Device == device }) {
			return mls.InvalidInput("/deviceId", "must name a device of the caller's in the conversation")
		}
		if err := tx.PutCommitReport(ctx, convo, store.CommitReport{Device: device, From: k.Seq, At: r.At}); err != nil {
			return err
		}
		before := convo.Epoch
		err = takeBack(ctx, tx, convo, r.At)
		reopened = convo.Epoch < before && convo.Epoch <= k.Epoch
		return err
	})
	return reopened, s.TellGroup(ctx, r.Key, r.User, err)
}

// reported is the commit that a report is about: the one that it names, or with "" the newest one
// that stands. Where none stands it is the beginning of the group, which cannot be taken back. It
// is nil for a name of nothing.
func reported(ctx context.Context, tx *store.Tx, convo *store.Convo, id mls.MessageID) (*store.StoredCommit, error) {
	k, err := tx.FindCommit(ctx, convo, id)
	if err != nil || k != nil {
		return k, err
	}
	if k, err = newest(ctx, tx, convo); err != nil || id != "" && k.ID != id {
		return nil, err
	}
	return k, nil
}

// newest is the newest commit that stands. One that is older than what is kept of the log has the
// place of the newest message and the beginning of time; where none stands, it is the beginning of
// the group.
func newest(ctx context.Context, tx *store.Tx, convo *store.Convo) (*store.StoredCommit, error) {
	k, err := tx.FindStandingCommit(ctx, convo)
	if err != nil || k != nil {
		return k, err
	}
	if convo.CommitID != "" {
		return &store.StoredCommit{ID: convo.CommitID, Seq: convo.LastSeq, Generation: convo.Generation, Epoch: convo.Epoch - 1}, nil
	}
	return tx.FindBeginning(ctx, convo)
}

// takeBack takes the newest standing commits back for as long as each has its quorum, maxTaken of
// them at most: where there are more, what is reached is a sound state, and the next report goes on
// from there.
func takeBack(ctx context.Context, tx *store.Tx, convo *store.Convo, at time.Time) error {
	v := voiding{convo: convo, at: at, notice: convo.LastSeq + 1, epoch: convo.Epoch, owing: map[mls.DID][]store.LeftDevice{}}
	for len(v.committers) < maxTaken {
		k, err := tx.FindStandingCommit(ctx, convo)
		if err != nil {
			return err
		}
		if k == nil || at.Sub(k.CreatedAt) >= store.VoidingTime {
			break
		}
		if ok, err := v.hasQuorum(ctx, tx, k); err != nil || !ok {
			if err != nil {
				return err
			}
			break
		}
		if err := v.take(ctx, tx, k); err != nil {
			return err
		}
	}
	if len(v.committers) == 0 {
		return nil
	}
	return v.finish(ctx, tx)
}

// voiding is commits that are taken back together.
type voiding struct {
	convo *store.Convo
	at    time.Time
	// notice is the place of the notice that tells of them, epoch the one that is open again.
	notice mls.Seq
	epoch  mls.Epoch
	// committers are those whose commits were taken, devices what they had added of users who had
	// accepted, gone all users who are off the roster now, invited those of them who were invited,
	// owing the devices whose removal stands without its commit.
	committers    []mls.DID
	devices       []store.Device
	gone, invited []mls.DID
	owing         map[mls.DID][]store.LeftDevice
}

// hasQuorum reports whether a commit is to be taken back: by more than half of the electors who
// were here lately, and at least a quarter of all or an admin. Where only one may speak, it is
// heard once a day about the commits of one committer.
func (v *voiding) hasQuorum(ctx context.Context, tx *store.Tx, k *store.StoredCommit) (bool, error) {
	voices, err := tx.CountVoices(ctx, v.convo, k, dayOf(v.at.Add(-seenSince)))
	if err != nil {
		return false, err
	}
	if voices.Electors != 1 || !agreed(voices) {
		return agreed(voices), nil
	}
	if slices.Contains(v.committers, k.Committer) {
		return false, nil
	}
	voided, err := tx.CountVoided(ctx, v.convo, k.Committer)
	return v.at.Sub(voided.LastSentAt) >= loneVoidings, err
}

// agreed reports whether enough members say that they cannot follow.
func agreed(v store.Voices) bool {
	if v.Electors == 1 {
		return v.Reporters > 0
	}
	return 2*v.Reporters > v.Seen && (4*v.Reporters >= v.Electors || v.AdminReports)
}

// beyondRepair reports whether enough members cannot follow the group, and no commit can be taken
// back for them: the newest one that stands is too old, or a lone reporter has taken one of the
// same committer back today, or none stands and the group began so.
func beyondRepair(ctx context.Context, tx *store.Tx, convo *store.Convo, at time.Time) (bool, error) {
	k, err := newest(ctx, tx, convo)
	if err != nil {
		return false, err
	}
	voices, err := tx.CountVoices(ctx, convo, k, dayOf(at.Add(-seenSince)))
	switch {
	case err != nil || !agreed(voices):
		return false, err
	case convo.CommitID == "" || at.Sub(k.CreatedAt) >= store.VoidingTime:
		return true, nil
	case voices.Electors > 1:
		return false, nil
	}
	voided, err := tx.CountVoided(ctx, convo, k.Committer)
	return at.Sub(voided.LastSentAt) < loneVoidings, err
}

func dayOf(t time.Time) time.Time { return t.UTC().Truncate(24 * time.Hour) }

// take takes one commit back.
func (v *voiding) take(ctx context.Context, tx *store.Tx, k *store.StoredCommit) error {
	undone, err := tx.VoidCommit(ctx, v.convo, k, v.notice)
	if err != nil {
		return err
	}
	v.epoch = k.Epoch
	v.committers = append(v.committers, k.Committer)
	v.devices = append(v.devices, undone.Members...)
	v.gone = append(v.gone, undone.Gone...)
	v.invited = append(v.invited, undone.Invited...)
	for _, d := range undone.Absent {
		// A later commit, which is void too, removed what was not there before this one.
		v.owing[d.User] = slices.DeleteFunc(v.owing[d.User], func(left store.LeftDevice) bool { return left.Device == d.ID })
	}
	for user, left := range undone.Owing {
		v.owing[user] = append(v.owing[user], left...)
	}
	return nil
}

// dismiss tells those who are off the roster now: members that they are, by the last event of their
// streams (I10), the invited that their invitation is over.
func (v *voiding) dismiss(ctx context.Context, tx *store.Tx, gone []mls.DID) error {
	var members []mls.DID
	var events []store.NewEvent
	for _, d := range v.devices {
		members = append(members, d.User)
		events = append(events, store.NewEvent{
			Kind: store.EventWelcomeRevoked, Audience: store.ToUser, AudienceDID: d.User, User: d.User, Device: d.ID, Epoch: &v.epoch,
		})
	}
	invited := mls.UniqueDIDs(v.invited)
	if err := tx.WithdrawInvitations(ctx, v.convo.ID, gone, v.at); err != nil {
		return err
	}
	for _, user := range invited {
		events = append(events,
			store.NewEvent{Kind: store.EventInvited, Audience: store.ToMembers, User: user, Epoch: &v.epoch},
			store.NewEvent{Kind: store.EventInvitation, Audience: store.ToUser, AudienceDID: user, User: user, Epoch: &v.epoch})
	}
	if err := tx.AppendEvents(ctx, v.convo.ID, v.at, events...); err != nil {
		return err
	}
	// Who was invited now, after an earlier membership, has had its last event then.
	left := without(gone, without(gone, members))
	return tx.LogDepartures(ctx, v.convo, without(left, invited), v.at)
}

// finish tells those who are gone, reopens the epoch, tells the members, and records what they owe.
func (v *voiding) finish(ctx context.Context, tx *store.Tx) error {
	gone := mls.UniqueDIDs(v.gone)
	if err := v.dismiss(ctx, tx, gone); err != nil {
		return err
	}
	for _, user := range gone {
		if err := tx.DropWishes(ctx, v.convo.ID, user, v.at); err != nil {
			return err
		}
		// It may have been made an admin, and the only one, since it was added.
		if err := succeed(ctx, tx, v.convo.ID, user, v.at); err != nil {
			return err
		}
	}
	if err := tx.ReopenEpoch(ctx, v.convo, v.epoch, v.at); err != nil {
		return err
	}
	if err := tx.AppendEvents(ctx, v.convo.ID, v.at, store.NewEvent{
		Kind: store.EventEpochReopened, Audience: store.ToMembers, Epoch: &v.epoch,
	}); err != nil {
		return err
	}
	for _, user := range slices.Sorted(maps.Keys(v.owing)) {
		if len(v.owing[user]) == 0 {
			continue
		}
		e := ending{Removal: Removal{Target: user, At: v.at}}
		if err := e.owe(ctx, tx, v.convo, v.owing[user]); err != nil {
			return err
		}
	}
	return nil
}

// mayCommit refuses the bytes of a commit that was taken back, and for a while the next commits of
// whoever made one.
func mayCommit(ctx context.Context, tx *store.Tx, convo *store.Convo, h handshake) error {
	void, err := tx.IsVoidCommit(ctx, convo, h.Message.Raw)
	switch {
	case err != nil:
		return err
	case void:
		return mls.ErrCommitVoid
	case h.urgent:
		return nil
	}
	voided, err := tx.CountVoided(ctx, convo, h.sender)
	if err != nil || voided.Commits == 0 {
		return err
	}
	if wait := firstBackoff<<min(max(voided.Commits-voided.Blamed-1, 0), maxDoublings) - h.at.Sub(voided.LastAt); wait > 0 {
		return mls.RateLimited(wait)
	}
	return nil
}

// RefuseVoid is mls.ErrCommitVoid when the commit that a kept answer names was taken back since.
func (s *Service) RefuseVoid(ctx context.Context, key mls.ConvoKey, user mls.DID, commit mls.MessageID) error {
	standing, err := s.store.FindStanding(ctx, key, user)
	if err != nil {
		return err
	}
	k, err := s.store.FindCommit(ctx, &standing.Convo, commit)
	if err == nil && k != nil && k.Void {
		return mls.ErrCommitVoid
	}
	return err
}

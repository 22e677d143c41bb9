package inspect

import (
	"errors"

	"mls-server/internal/mls"
)

// examine finds out what the input is, describes it and checks what can be checked.
func examine(input []byte, o options) *report {
	raw, encoding, err := decode(input)
	r := &report{Encoding: encoding, Size: len(raw)}
	if err != nil {
		return r.fail(err)
	}
	m, err := r.find(raw)
	if err != nil {
		return r.fail(err)
	}
	r.Format = m.Format.String()
	r.MessageSize = len(m.Raw)
	e := examiner{report: r, options: o}
	switch {
	case m.KeyPackage != nil:
		e.keyPackage(m.KeyPackage)
	case m.Welcome != nil:
		e.welcome(m)
	case m.GroupInfo != nil:
		e.groupInfo(m.GroupInfo)
	case m.Private != nil:
		r.PrivateMessage = &privateView{
			framing:                 viewFraming(&m.Private.Framing),
			EncryptedSenderDataSize: len(m.Private.EncryptedSenderData), CiphertextSize: len(m.Private.Ciphertext),
		}
		e.note("signature", unverified, "encrypted")
		e.identity(nil)
	case m.Public != nil:
		e.public(m)
	}
	r.Valid = r.Error == nil
	return r
}

// find parses the bytes as what they may be: an MLSMessage, a bare KeyPackage, a bare Welcome, a
// padded ciphertext. When they are nothing, the error is that of the reading that suits the first
// bytes.
func (r *report) find(raw []byte) (*mls.Message, error) {
	m, err := mls.ParseMessage(raw)
	if err == nil {
		r.Wrapped = true
		return m, nil
	}
	if k, err := mls.ParseKeyPackage(raw); err == nil {
		return &mls.Message{Raw: raw, Format: mls.FormatKeyPackage, KeyPackage: k}, nil
	}
	if w, err := mls.ParseWelcome(raw); err == nil {
		return &mls.Message{Raw: raw, Format: mls.FormatWelcome, Welcome: w}, nil
	}
	m, padding := mls.UnwrapPadding(raw)
	if m == nil {
		return nil, err
	}
	r.Wrapped, r.Padding = true, padding.String()
	return m, nil
}

type examiner struct {
	*report
	options
}

// note records the result of a check; code is why it failed or could not be made.
func (e *examiner) note(check, result, reason string) {
	e.Verification = append(e.Verification, checkView{check, result, reason})
}

// check records a check that was made, and its failure as the report's error unless there is one.
func (e *examiner) check(name string, err error) {
	if err == nil {
		e.note(name, ok, "")
		return
	}
	e.note(name, failed, mls.CodeOf(err).String())
	if e.Error == nil {
		e.fail(err)
	}
}

// identity applies --did to the credential that the object shows, nil if it shows none.
func (e *examiner) identity(l *mls.LeafNode) {
	switch {
	case e.did == "":
	case l == nil:
		e.note("identity", unverified, "no credential is visible")
	default:
		did, _, isDID := mls.SplitIdentity(l.Credential.Identity)
		if isDID && did == e.did {
			e.check("identity", nil)
		} else {
			e.check("identity", mls.CodeIdentityMismatch)
		}
	}
}

func (e *examiner) keyPackage(k *mls.KeyPackage) {
	e.KeyPackage = viewKeyPackage(k)
	// The policy stops at its first failure, so the signatures are checked by themselves too.
	policy := mls.DefaultKeyPackagePolicy()
	policyErr := policy.Validate(k, mls.KeyPackageOwner{}, e.at)
	signature := k.Leaf.Verify(k.Suite, nil, 0, false)
	e.check("policy", policyErr)
	e.check("leaf_signature", signature)
	if signature == nil {
		signature = k.Verify()
		e.check("key_package_signature", signature)
	} else {
		e.note("key_package_signature", unverified, "the leaf's signature is wrong")
	}
	e.identity(&k.Leaf)
}

func (e *examiner) welcome(m *mls.Message) {
	e.Welcome = viewWelcome(m.Welcome)
	_, err := mls.ReadWelcome(m.Raw)
	e.check("new_members", err)
	e.note("signature", unverified, "encrypted")
	e.identity(nil)
}

func (e *examiner) groupInfo(g *mls.GroupInfo) {
	e.GroupInfo = viewGroupInfo(g)
	if g.Tree == nil {
		e.note("signature", unverified, mls.CodeMissingTree.String())
		e.identity(nil)
		return
	}
	treeErr := g.Tree.Verify(&g.Context)
	e.check("ratchet_tree", treeErr)
	if treeErr == nil {
		e.check("signature", g.Verify(nil))
	} else {
		e.note("signature", unverified, "the tree is wrong")
	}
	e.identity(g.Tree.Leaf(g.Signer))
}

func (e *examiner) public(m *mls.Message) {
	p := m.Public
	e.PublicMessage = viewPublic(p)
	state := mls.GroupState{GroupID: mls.GroupIDFromBytes(p.GroupID), Epoch: p.Epoch, Suite: suiteOf(p)}
	var err error
	var subject *mls.LeafNode
	switch p.ContentType {
	case mls.ContentCommit:
		_, err = mls.ReadCommit(m.Raw, state)
		if p.Commit != nil && p.Commit.Path != nil {
			subject = &p.Commit.Path.Leaf
		}
	case mls.ContentProposal:
		_, err = mls.ReadProposal(m.Raw, state)
		switch {
		case p.Proposal == nil:
		case p.Proposal.Add != nil && p.SenderType == mls.SenderNewMemberProposal:
			subject = &p.Proposal.Add.Leaf
		case p.Proposal.Update != nil:
			subject = p.Proposal.Update
		}
	case mls.ContentApplication:
		err = mls.CodeWrongContentType
	}
	if p.Opaque {
		e.note("rules", unverified, mls.CodeUnsupportedProposal.String())
	} else {
		e.check("rules", err)
	}
	e.note("signature", unverified, "needs the GroupContext")
	if p.SenderType == mls.SenderMember {
		e.note("membership_tag", unverified, "needs the group's keys")
	}
	e.identity(subject)
}

// suiteOf returns the group's suite when the message gives it away: whoever is added is of that
// suite.
func suiteOf(p *mls.PublicMessage) mls.CipherSuite {
	if p.Proposal != nil && p.Proposal.Add != nil {
		return p.Proposal.Add.Suite
	}
	if p.Commit != nil {
		for _, x := range p.Commit.Proposals {
			if x.Proposal != nil && x.Proposal.Add != nil {
				return x.Proposal.Add.Suite
			}
		}
	}
	return 0
}

func (r *report) fail(err error) *report {
	r.Error = &errorView{Name: mls.CodeOf(err).String()}
	if wire, found := errors.AsType[*mls.WireError](err); found {
		r.Error.Offset = &wire.Offset
	}
	return r
}

package mls

// checkTree checks a tree that comes from outside: its structure, and every leaf against
// the rules of RFC 9420 7.3 but lifetime and signature.
func (g *Group) checkTree() Code {
	t := g.tree
	if !t.unmergedOK() || !t.chained() {
		return CodeBadParentHash
	}
	if code := t.checkKeys(); code != 0 {
		return code
	}
	rules, code := newMemberRules(&g.context)
	if code != 0 {
		return code
	}
	for _, l := range g.Leaves() {
		if code := rules.check(l); code != 0 {
			return code
		}
	}
	return t.checkCredentials()
}

// checkKeys refuses a key that stands in two nodes (RFC 9420 7.3, 12.4.3.1): signature keys
// among leaves, encryption keys among all nodes.
func (t *publicTree) checkKeys() Code {
	signature := make(map[string]bool, len(t.nodes)/2)
	encryption := make(map[string]bool, len(t.nodes))
	for _, n := range t.nodes {
		var key []byte
		switch {
		case n.Leaf != nil:
			if signature[string(n.Leaf.SignatureKey)] {
				return CodeDuplicateKey
			}
			signature[string(n.Leaf.SignatureKey)] = true
			key = n.Leaf.EncryptionKey
		case n.Parent != nil:
			key = n.Parent.EncryptionKey
		default:
			continue
		}
		if encryption[string(key)] {
			return CodeDuplicateKey
		}
		encryption[string(key)] = true
	}
	return 0
}

// checkCredentials checks that every member can read every other one's credential (RFC 9420 7.3).
func (t *publicTree) checkCredentials() Code {
	used := make(map[CredentialType]bool, 1)
	for i := range t.leafCount() {
		if l := t.leaf(i); l != nil {
			used[l.Credential.Type] = true
		}
	}
	for i := range t.leafCount() {
		l := t.leaf(i)
		if l == nil {
			continue
		}
		for c := range used {
			if !l.Capabilities.Credentials.Contains(uint16(c)) {
				return CodeCapabilityMissing
			}
		}
	}
	return 0
}

// everyone reports whether all members can read a proposal of a type beyond RFC 9420.
func (t *publicTree) everyone(p ProposalType) bool {
	for i := range t.leafCount() {
		if l := t.leaf(i); l != nil && !l.Capabilities.Proposals.Contains(uint16(p)) {
			return false
		}
	}
	return true
}

// memberRules is what a GroupContext asks of each leaf (RFC 9420 7.2, 7.3, 11.1).
type memberRules struct {
	suite      CipherSuite
	extensions []uint16 // types beyond the default ones
	proposals  Uint16s
	credential Uint16s
}

func newMemberRules(c *GroupContext) (memberRules, Code) {
	rules := memberRules{suite: c.Suite}
	for _, e := range c.Extensions {
		rules.require(uint16(e.Type))
	}
	data, ok := c.Extensions.Find(ExtensionRequiredCapabilities)
	if !ok {
		return rules, 0
	}
	var f failure
	r := newReader(data, &f)
	for t := range Uint16s(r.uints(2, maxCapabilities)).All() {
		rules.require(t)
	}
	rules.proposals, rules.credential = r.uints(2, maxCapabilities), r.uints(2, maxCapabilities)
	r.finish()
	return rules, f.code
}

func (m *memberRules) require(extension uint16) {
	if extension > uint16(lastDefaultExtension) {
		m.extensions = append(m.extensions, extension)
	}
}

// check judges one leaf. Types that everyone supports need not be listed.
func (m *memberRules) check(l *LeafNode) Code {
	c := &l.Capabilities
	for _, e := range l.Extensions {
		if e.Type > lastDefaultExtension && !c.Extensions.Contains(uint16(e.Type)) {
			return CodeCapabilityMissing
		}
	}
	for _, e := range m.extensions {
		if !c.Extensions.Contains(e) {
			return CodeCapabilityMissing
		}
	}
	for p := range m.proposals.All() {
		if p > uint16(ProposalGroupContextExtensions) && !c.Proposals.Contains(p) {
			return CodeCapabilityMissing
		}
	}
	for t := range m.credential.All() {
		if !c.Credentials.Contains(t) {
			return CodeCapabilityMissing
		}
	}
	if !c.Credentials.Contains(uint16(l.Credential.Type)) {
		return CodeCapabilityMissing
	}
	return m.suite.checkKEMKey(l.EncryptionKey)
}

package inspect

import (
	"encoding/hex"
	"fmt"
	"time"
	"unicode/utf8"

	"mls-server/internal/mls"
)

// Results of a check.
const (
	ok         = "ok"
	failed     = "failed"
	unverified = "unverified" // nobody but members can tell, or something is missing
)

// report is the output. Byte strings are hex, times RFC 3339.
type report struct {
	Valid    bool       `json:"valid"`
	Error    *errorView `json:"error,omitempty"`
	Format   string     `json:"format,omitempty"`
	Encoding string     `json:"encoding"`
	// Size is that of the input, MessageSize that of the object in it.
	Size        int    `json:"size"`
	MessageSize int    `json:"message_size,omitempty"`
	Wrapped     bool   `json:"wrapped"`
	Padding     string `json:"padding,omitempty"`

	KeyPackage     *keyPackageView `json:"key_package,omitempty"`
	Welcome        *welcomeView    `json:"welcome,omitempty"`
	GroupInfo      *groupInfoView  `json:"group_info,omitempty"`
	PrivateMessage *privateView    `json:"private_message,omitempty"`
	PublicMessage  *publicView     `json:"public_message,omitempty"`

	Verification []checkView `json:"verification,omitempty"`
}

type errorView struct {
	Name   string `json:"name"`
	Offset *int   `json:"offset,omitempty"`
}

func (e *errorView) String() string {
	if e.Offset == nil {
		return e.Name
	}
	return fmt.Sprintf("%s at byte %d", e.Name, *e.Offset)
}

type checkView struct {
	Check  string `json:"check"`
	Result string `json:"result"`
	Reason string `json:"reason,omitempty"`
}

type keyPackageView struct {
	Ref        string          `json:"key_package_ref,omitempty"`
	Suite      suiteView       `json:"cipher_suite"`
	InitKey    string          `json:"init_key"`
	LastResort bool            `json:"last_resort"`
	Leaf       leafView        `json:"leaf_node"`
	Extensions []extensionView `json:"extensions"`
	Signature  string          `json:"signature"`
}

type suiteView struct {
	Number mls.CipherSuite `json:"number"`
	Name   string          `json:"name"`
}

type leafView struct {
	EncryptionKey string           `json:"encryption_key"`
	SignatureKey  string           `json:"signature_key"`
	Credential    credentialView   `json:"credential"`
	Capabilities  capabilitiesView `json:"capabilities"`
	Source        string           `json:"source"`
	Lifetime      *lifetimeView    `json:"lifetime,omitempty"`
	ParentHash    string           `json:"parent_hash,omitempty"`
	Extensions    []extensionView  `json:"extensions"`
	Signature     string           `json:"signature"`
}

type credentialView struct {
	Type         mls.CredentialType `json:"type"`
	Identity     string             `json:"identity,omitempty"`
	IdentityHex  string             `json:"identity_hex,omitempty"`
	Certificates int                `json:"certificates,omitempty"`
}

type capabilitiesView struct {
	Versions     []uint16 `json:"versions"`
	CipherSuites []uint16 `json:"cipher_suites"`
	Extensions   []uint16 `json:"extensions"`
	Proposals    []uint16 `json:"proposals"`
	Credentials  []uint16 `json:"credentials"`
}

type lifetimeView struct {
	NotBefore string `json:"not_before"`
	NotAfter  string `json:"not_after"`
}

type extensionView struct {
	Type mls.ExtensionType `json:"type"`
	Size int               `json:"size"`
}

type welcomeView struct {
	Suite                  suiteView `json:"cipher_suite"`
	NewMembers             []string  `json:"new_members"`
	EncryptedGroupInfoSize int       `json:"encrypted_group_info_size"`
}

type groupInfoView struct {
	Suite                   suiteView       `json:"cipher_suite"`
	GroupID                 string          `json:"group_id"`
	Epoch                   mls.Epoch       `json:"epoch"`
	TreeHash                string          `json:"tree_hash"`
	ConfirmedTranscriptHash string          `json:"confirmed_transcript_hash"`
	ContextExtensions       []extensionView `json:"group_context_extensions"`
	Extensions              []extensionView `json:"extensions"`
	ExternalPub             string          `json:"external_pub,omitempty"`
	ConfirmationTag         string          `json:"confirmation_tag"`
	Signer                  uint32          `json:"signer"`
	Signature               string          `json:"signature"`
	Members                 []memberView    `json:"members,omitempty"`
}

type memberView struct {
	Leaf       uint32         `json:"leaf_index"`
	Credential credentialView `json:"credential"`
	Source     string         `json:"source"`
}

type framing struct {
	GroupID           string    `json:"group_id"`
	Epoch             mls.Epoch `json:"epoch"`
	ContentType       string    `json:"content_type"`
	AuthenticatedData string    `json:"authenticated_data"`
}

type privateView struct {
	framing
	EncryptedSenderDataSize int `json:"encrypted_sender_data_size"`
	CiphertextSize          int `json:"ciphertext_size"`
}

type publicView struct {
	framing
	SenderType      string         `json:"sender_type"`
	Sender          *uint32        `json:"sender,omitempty"`
	Opaque          bool           `json:"opaque,omitempty"`
	ApplicationSize *int           `json:"application_size,omitempty"`
	Proposals       []proposalView `json:"proposals,omitempty"`
	Path            *pathView      `json:"path,omitempty"`
	Signature       string         `json:"signature,omitempty"`
	ConfirmationTag string         `json:"confirmation_tag,omitempty"`
	MembershipTag   string         `json:"membership_tag,omitempty"`
}

type proposalView struct {
	Type       string          `json:"type,omitempty"`
	Reference  string          `json:"reference,omitempty"`
	Add        *keyPackageView `json:"add,omitempty"`
	Update     *leafView       `json:"update,omitempty"`
	Removed    *uint32         `json:"removed,omitempty"`
	Extensions []extensionView `json:"extensions,omitempty"`
}

type pathView struct {
	Leaf  leafView `json:"leaf_node"`
	Nodes []int    `json:"ciphertexts_per_node"`
}

func viewSuite(s mls.CipherSuite) suiteView { return suiteView{s, s.String()} }

func viewKeyPackage(k *mls.KeyPackage) *keyPackageView {
	return &keyPackageView{
		Ref: hex.EncodeToString([]byte(k.Ref())), Suite: viewSuite(k.Suite), InitKey: hex.EncodeToString(k.InitKey), LastResort: k.LastResort(),
		Leaf: viewLeaf(&k.Leaf), Extensions: viewExtensions(k.Extensions), Signature: hex.EncodeToString(k.Signature),
	}
}

func viewLeaf(l *mls.LeafNode) leafView {
	c := &l.Capabilities
	v := leafView{
		EncryptionKey: hex.EncodeToString(l.EncryptionKey), SignatureKey: hex.EncodeToString(l.SignatureKey),
		Credential: viewCredential(&l.Credential), Source: l.Source.String(), ParentHash: hex.EncodeToString(l.ParentHash),
		Capabilities: capabilitiesView{
			numbers(c.Versions), numbers(c.CipherSuites), numbers(c.Extensions), numbers(c.Proposals), numbers(c.Credentials),
		},
		Extensions: viewExtensions(l.Extensions), Signature: hex.EncodeToString(l.Signature),
	}
	if l.Source == mls.LeafKeyPackage {
		v.Lifetime = &lifetimeView{l.NotBeforeTime().Format(time.RFC3339), l.NotAfterTime().Format(time.RFC3339)}
	}
	return v
}

func viewCredential(c *mls.Credential) credentialView {
	v := credentialView{Type: c.Type, Certificates: len(c.Certificates)}
	if utf8.Valid(c.Identity) {
		v.Identity = string(c.Identity)
	} else {
		v.IdentityHex = hex.EncodeToString(c.Identity)
	}
	return v
}

func numbers(u mls.Uint16s) []uint16 {
	list := make([]uint16, 0, u.Len())
	for v := range u.All() {
		list = append(list, v)
	}
	return list
}

func viewExtensions(list mls.Extensions) []extensionView {
	v := make([]extensionView, 0, len(list))
	for _, e := range list {
		v = append(v, extensionView{e.Type, len(e.Data)})
	}
	return v
}

func viewWelcome(w *mls.Welcome) *welcomeView {
	v := &welcomeView{Suite: viewSuite(w.Suite), NewMembers: []string{}, EncryptedGroupInfoSize: len(w.EncryptedGroupInfo)}
	for i := range w.Secrets {
		v.NewMembers = append(v.NewMembers, hex.EncodeToString(w.Secrets[i].NewMember))
	}
	return v
}

func viewGroupInfo(g *mls.GroupInfo) *groupInfoView {
	c := &g.Context
	v := &groupInfoView{
		Suite: viewSuite(c.Suite), GroupID: hex.EncodeToString(c.GroupID), Epoch: c.Epoch,
		TreeHash: hex.EncodeToString(c.TreeHash), ConfirmedTranscriptHash: hex.EncodeToString(c.ConfirmedTranscriptHash),
		ContextExtensions: viewExtensions(c.Extensions), Extensions: viewExtensions(g.Extensions),
		ExternalPub: hex.EncodeToString(g.ExternalPub), ConfirmationTag: hex.EncodeToString(g.ConfirmationTag),
		Signer: g.Signer, Signature: hex.EncodeToString(g.Signature),
	}
	if g.Tree != nil {
		for i := range g.Tree.Leaves() {
			if l := g.Tree.Leaf(i); l != nil {
				v.Members = append(v.Members, memberView{i, viewCredential(&l.Credential), l.Source.String()})
			}
		}
	}
	return v
}

func viewFraming(f *mls.Framing) framing {
	return framing{hex.EncodeToString(f.GroupID), f.Epoch, f.ContentType.String(), hex.EncodeToString(f.AuthenticatedData)}
}

func viewPublic(p *mls.PublicMessage) *publicView {
	v := &publicView{
		framing: viewFraming(&p.Framing), SenderType: p.SenderType.String(), Opaque: p.Opaque,
		Signature: hex.EncodeToString(p.Signature), ConfirmationTag: hex.EncodeToString(p.ConfirmationTag),
		MembershipTag: hex.EncodeToString(p.MembershipTag),
	}
	if p.SenderType == mls.SenderMember || p.SenderType == mls.SenderExternal {
		v.Sender = &p.Sender
	}
	if p.ContentType == mls.ContentApplication {
		v.ApplicationSize = new(len(p.Application))
	}
	if p.Proposal != nil {
		v.Proposals = []proposalView{viewProposal(p.Proposal)}
	}
	if p.Commit == nil {
		return v
	}
	for _, x := range p.Commit.Proposals {
		if x.Proposal == nil {
			v.Proposals = append(v.Proposals, proposalView{Reference: hex.EncodeToString(x.Ref)})
		} else {
			v.Proposals = append(v.Proposals, viewProposal(x.Proposal))
		}
	}
	if path := p.Commit.Path; path != nil {
		v.Path = &pathView{Leaf: viewLeaf(&path.Leaf), Nodes: []int{}}
		for _, n := range path.Nodes {
			v.Path.Nodes = append(v.Path.Nodes, len(n.Secrets))
		}
	}
	return v
}

func viewProposal(p *mls.Proposal) proposalView {
	v := proposalView{Type: p.Type.String()}
	switch p.Type {
	case mls.ProposalAdd:
		v.Add = viewKeyPackage(p.Add)
	case mls.ProposalUpdate:
		v.Update = new(viewLeaf(p.Update))
	case mls.ProposalRemove:
		v.Removed = &p.Removed
	case mls.ProposalGroupContextExtensions:
		v.Extensions = viewExtensions(p.Extensions)
	case mls.ProposalPSK, mls.ProposalReInit, mls.ProposalExternalInit, mls.ProposalSelfRemove, mls.ProposalSelfRemovePrivate:
	}
	return v
}

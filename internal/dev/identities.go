//go:build mlsdev

package dev

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"

	"mls-server/lexrt"
)

// maxIdentities bounds the accounts that the playground makes.
const maxIdentities = 10_000

// Identities are the accounts of the playground: did:web below localhost, with keys that a browser
// made. A DID ends in a hash of its key, so that nobody can take over another's.
type Identities struct {
	// Port is the one that DIDs name: that of this server.
	Port int

	mu        sync.Mutex
	documents map[string][]byte // by DID
}

var (
	nameForm = regexp.MustCompile(`^[a-z]{1,16}$`)
	// keyForm is a did:key's multibase text of a compressed key on P-256.
	keyForm = regexp.MustCompile(`^z[1-9A-HJ-NP-Za-km-z]{40,60}$`)
)

// Document returns the DID document of an account of the playground, nil for all others.
func (i *Identities) Document(did lexrt.DID) []byte {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.documents[string(did)]
}

// add makes an account of a name and a key, again the same of the same.
func (i *Identities) add(name, key string) (did string, err error) {
	if !nameForm.MatchString(name) || !keyForm.MatchString(key) {
		return "", errNoIdentity
	}
	hash := sha256.Sum256([]byte(key))
	label := name + "-" + strings.ToLower(base32.StdEncoding.EncodeToString(hash[:10]))
	did = fmt.Sprintf("did:web:%s.localhost%%3A%d", label, i.Port)
	document, err := json.Marshal(map[string]any{
		"@context": []string{"https://www.w3.org/ns/did/v1", "https://w3id.org/security/multikey/v1"},
		"id":       did,
		"verificationMethod": []map[string]string{
			{"id": did + "#atproto", "type": "Multikey", "controller": did, "publicKeyMultibase": key},
		},
	})
	if err != nil {
		return "", err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.documents == nil {
		i.documents = map[string][]byte{}
	}
	if _, known := i.documents[did]; !known && len(i.documents) >= maxIdentities {
		return "", errTooManyIdentities
	}
	i.documents[did] = document
	return did, nil
}

// create makes the account that a page asks for.
func (i *Identities) create(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Name string `json:"name"`
		Key  string `json:"publicKeyMultibase"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<10)).Decode(&in); err != nil {
		http.Error(w, errNoIdentity.Error(), http.StatusBadRequest)
		return
	}
	did, err := i.add(in.Name, in.Key)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	body, err := json.Marshal(map[string]string{"did": did})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	write(w, "application/json", body)
}

// publish serves the document of the host that is asked, where did:web says that it is.
func (i *Identities) publish(w http.ResponseWriter, r *http.Request) {
	document := i.Document(lexrt.DID("did:web:" + strings.Replace(r.Host, ":", "%3A", 1)))
	if document == nil {
		http.Error(w, "there is no such account", http.StatusNotFound)
		return
	}
	write(w, "application/json", document)
}

package ir

import "mls-server/tools/lexgen/lexicon"

// Subject groups methods in reference pages and in the OpenAPI document.
type Subject struct {
	Name string `json:"name"`
	// Methods are NSIDs.
	Methods []string `json:"methods"`
}

// CommonError is an error that methods can answer with although their lexicons do not declare it.
type CommonError struct {
	Name string `json:"name"`
	// Status is the HTTP status; 0 means that of the name under "statuses".
	Status      int    `json:"status"`
	Description string `json:"description"`
	// Kinds limits it to methods of these kinds ("query", "procedure" …), nil allows all.
	Kinds []string `json:"kinds"`
	// Fields limits it to methods whose input has one of these fields, nil allows all.
	Fields []string `json:"fields"`
	// Token limits it to methods that take a token.
	Token bool `json:"token"`
}

// CommonStatus is the HTTP status of a common error.
func (p *Policy) CommonStatus(e CommonError) int {
	if e.Status != 0 {
		return e.Status
	}
	return p.Status(e.Name)
}

// referenceDiags checks what only the reference pages read.
func (b *builder) referenceDiags(checkMethod func(id, where string)) {
	p := b.opt.Policy
	seen := map[string]bool{}
	for _, s := range p.Subjects {
		if s.Name == "" {
			b.policyError("a subject needs a name")
		}
		for _, id := range s.Methods {
			checkMethod(id, "subjects")
			if seen[id] {
				b.policyError("the method %s has two subjects", id)
			}
			seen[id] = true
		}
	}
	for _, e := range p.Common {
		if e.Name == "" {
			b.policyError("a common error needs a name")
		}
		if s := p.CommonStatus(e); s < 400 || s > 599 {
			b.policyError("the status of the common error %s must be from 400 to 599", e.Name)
		}
		for _, k := range e.Kinds {
			if k != string(lexicon.KindQuery) && k != string(lexicon.KindProcedure) && k != string(lexicon.KindSubscription) {
				b.policyError("the common error %s names the kind %q; there are query, procedure and subscription", e.Name, k)
			}
		}
	}
}

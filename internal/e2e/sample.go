package e2e

import (
	"hash/maphash"
	"maps"
)

// maxSample is how many values of one kind are remembered.
const maxSample = 8192

var sampleSeed = maphash.MakeSeed()

// sample is a set of at most maxSample values. Once more are added it is an even
// sample of all that were: it keeps the values whose hash ends in enough zero
// bits, one more each time that it is full. A value that is added again changes nothing.
type sample struct {
	values map[string]struct{}
	mask   uint64 // the bits that have to be zero
}

func (s *sample) drops(v string) bool { return maphash.String(sampleSeed, v)&s.mask != 0 }

func (s *sample) add(v string) {
	if s.drops(v) {
		return
	}
	if s.values == nil {
		s.values = map[string]struct{}{}
	}
	s.values[v] = struct{}{}
	for len(s.values) > maxSample {
		s.mask = s.mask<<1 | 1
		maps.DeleteFunc(s.values, func(v string, _ struct{}) bool { return s.drops(v) })
	}
}

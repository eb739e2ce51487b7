package main

import "math/rand/v2"

// random is a source whose seed gives the same numbers everywhere.
type random struct{ source *rand.Rand }

func newRandom(seed uint64) *random {
	return &random{rand.New(rand.NewPCG(seed, 0))}
}

// below is a number from 0 to bound-1.
func (r *random) below(bound int) int { return r.source.IntN(bound) }

// onceIn is true once in so many times.
func (r *random) onceIn(times int) bool { return r.below(times) == 0 }

func (r *random) bits() uint64 { return r.source.Uint64() }

func (r *random) pick(from []string) string { return from[r.below(len(from))] }

// Command gotemplate compares the artifact controller's template engine with Go's text/template.
//
//	gotemplate compare -seed 7 -templates 5000   generated templates and changed Dockerfiles
//	gotemplate compare -hand-picked              templates thought up to find a difference
//	gotemplate unicode                           the character tables of Go, as the Rust file that holds them
//
// A comparison writes questions to standard output and reads the engine's answers from standard input (wire.go says how),
// and prints counts and differences on standard error. It fails when there is a difference.
package main

import (
	"errors"
	"flag"
	"fmt"
	"iter"
	"os"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "gotemplate:", err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) == 0 {
		return errors.New("say what to do: compare or unicode")
	}
	switch command := arguments[0]; command {
	case "unicode":
		return printUnicodeTables(os.Stdout)
	case "compare":
		return runCompare(arguments[1:])
	default:
		return fmt.Errorf("there is no command %q: say compare or unicode", command)
	}
}

func runCompare(arguments []string) error {
	flags := flag.NewFlagSet("compare", flag.ContinueOnError)
	seed := flags.Uint64("seed", 7, "seed of the generator")
	count := flags.Int("templates", 5_000, "how many templates to generate")
	picked := flags.Bool("hand-picked", false, "compare the hand-picked templates instead")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	if *picked {
		report, err := compare("hand-picked", ofHand(), os.Stdin, os.Stdout)
		if err != nil {
			return err
		}
		return report.judge(len(handPicked), 0)
	}
	name := fmt.Sprintf("seed %d", *seed)
	report, err := compare(name, ofSeed(*seed, *count), os.Stdin, os.Stdout)
	if err != nil {
		return err
	}
	// Most templates are compared and some of them render, or the comparison says little.
	return report.judge(*count*9/10, *count/10)
}

// origin says where a template comes from.
type origin string

func ofHand() iter.Seq2[origin, []byte] {
	return func(yield func(origin, []byte) bool) {
		for _, source := range handPicked {
			if !yield("picked by hand", []byte(source)) {
				return
			}
		}
	}
}

func ofSeed(seed uint64, count int) iter.Seq2[origin, []byte] {
	return func(yield func(origin, []byte) bool) {
		random := newRandom(seed)
		for number := range count {
			var from origin
			var source []byte
			switch number % 8 {
			case 0, 4:
				from, source = "changed Dockerfiles", mutated(random)
			case 7:
				from, source = "of numbers", numbers(random)
			default:
				from, source = "from the grammar", generated(random)
			}
			if !yield(from, source) {
				return
			}
		}
	}
}

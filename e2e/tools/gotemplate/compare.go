package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
)

const (
	// inFlight is how many templates are on their way between the two engines.
	inFlight = 256
	// shown is how many differences are printed, and shownBytes how much of each.
	shown      = 20
	shownBytes = 1_500
	// progress is after how many templates the counts are printed.
	progress = 50_000
)

// values are what every template is rendered with.
var values = map[string]string{
	"A":         "x",
	"B":         "",
	"N":         "3",
	"Z":         "<a&'\">",
	"k-e":       "dash",
	"b":         "low",
	"U":         "héé€😀\u200b",
	"Base":      "quay.io/kairos/fedora:40",
	"BaseImage": "opensuse/leap:15.6",
	"Script":    "#!/bin/sh\n\techo \"$HOME\" 100%\n",
	"Zero":      "\x00\x7f\\",
}

// report is what became of the templates.
type report struct {
	name        string
	origins     map[origin]int
	outcomes    map[outcome]int
	addresses   int
	differences []string
}

type question struct {
	from   origin
	source []byte
}

// compare renders each template with both engines.
func compare(name string, sources iter.Seq2[origin, []byte], answers io.Reader, questions io.WriteCloser) (*report, error) {
	asked := make(chan question, inFlight)
	failed := make(chan error, 1)
	go func() {
		failed <- errors.Join(ask(sources, questions, asked), questions.Close())
	}()
	result := &report{name: name, origins: map[origin]int{}, outcomes: map[outcome]int{}}
	reader := bufio.NewReaderSize(answers, 1<<20)
	count := 0
	for question := range asked {
		ours, text, err := readAnswer(reader)
		if err != nil {
			return nil, err
		}
		result.add(question, ours, text)
		count++
		if count%progress == 0 {
			fmt.Fprintln(os.Stderr, result)
		}
	}
	fmt.Fprintln(os.Stderr, result)
	return result, <-failed
}

func ask(sources iter.Seq2[origin, []byte], questions io.Writer, asked chan<- question) error {
	defer close(asked)
	if err := writeValues(questions); err != nil {
		return err
	}
	for from, source := range sources {
		if err := writeFrame(questions, source); err != nil {
			return fmt.Errorf("ask: %w", err)
		}
		asked <- question{from, source}
	}
	return nil
}

func (r *report) add(question question, ours outcome, text []byte) {
	r.origins[question.from]++
	// Without our limits Go would take as long and as much as it likes; an address is another one each time.
	if printsAddress.Match(question.source) {
		r.addresses++
		return
	}
	r.outcomes[ours]++
	if ours == limited {
		return
	}
	source := string(question.source)
	expected, expectedText := render(source)
	uses := usesOtherTemplates(source)
	var agrees bool
	switch ours {
	case rendered, executionError:
		agrees = expected == ours && !uses && sameText(ours, text, expectedText)
	case parseError:
		agrees = expected == ours && sameText(ours, text, expectedText)
	case refused:
		// Where Go finds fault with the rest of the template, it cannot say what was used.
		agrees = (uses || expected == parseError) && refusedWord.MatchString(source)
	}
	if !agrees {
		difference := fmt.Sprintf(
			"template %q\n  Go   %c %q\n  ours %c %q", source, expected, expectedText, ours, text,
		)
		r.differences = append(r.differences, difference[:min(len(difference), shownBytes)])
	}
}

// sameText compares texts by their bytes. Messages are text: in ours, bytes that are none were replaced, so runs of such count
// as one.
func sameText(ours outcome, text, expected []byte) bool {
	if ours == rendered {
		return bytes.Equal(text, expected)
	}
	return bytes.Equal(asText(text), asText(expected))
}

func asText(message []byte) []byte {
	valid := bytes.ToValidUTF8(message, []byte("\ufffd"))
	return replacements.ReplaceAll(valid, []byte("\ufffd"))
}

var (
	printsAddress = regexp.MustCompile(`%[-+# .*\[\]0-9]*p`)
	refusedWord   = regexp.MustCompile(`\{\{-?\s*(define|template|block)`)
	replacements  = regexp.MustCompile("\ufffd+")
)

func (r *report) compared() int {
	return r.outcomes[rendered] + r.outcomes[parseError] + r.outcomes[executionError] + r.outcomes[refused]
}

func (r *report) String() string {
	var origins []string
	for _, from := range slices.Sorted(maps.Keys(r.origins)) {
		origins = append(origins, fmt.Sprintf("%d %s", r.origins[from], from))
	}
	return fmt.Sprintf(
		"templates compared with Go's, %s (%s): %d rendered, %d parse errors, %d execution errors, %d refused, %d different; "+
			"not compared: %d beyond limits, %d with addresses",
		r.name, strings.Join(origins, ", "), r.outcomes[rendered], r.outcomes[parseError], r.outcomes[executionError],
		r.outcomes[refused], len(r.differences), r.outcomes[limited], r.addresses,
	)
}

// judge fails where there is a difference, or where less was compared or rendered than this.
func (r *report) judge(leastCompared, leastRendered int) error {
	if len(r.differences) > 0 {
		some := r.differences[:min(len(r.differences), shown)]
		return fmt.Errorf("%s: %d differences:\n%s", r.name, len(r.differences), strings.Join(some, "\n"))
	}
	if r.compared() < leastCompared || r.outcomes[rendered] < leastRendered {
		return fmt.Errorf("%s: too little was compared, or rendered, to say much", r.name)
	}
	return nil
}

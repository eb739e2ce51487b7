package main

import (
	"fmt"
	"io"
	"unicode"
)

// printUnicodeTables writes, for each class that text/template asks about, the code points
// at which membership changes: the first that is in, the next that is out, and so on.
func printUnicodeTables(out io.Writer) error {
	_, err := fmt.Fprintf(out, `//! Which characters are letters, digits or printable to Go (Unicode %s): each list holds the
//! code points at which membership changes, beginning with the first member.
//! Written by the gotemplate tool ("go run . unicode"); a test compares the two.

`, unicode.Version)
	if err != nil {
		return err
	}
	classes := []struct {
		name, what string
		holds      func(rune) bool
	}{
		{"LETTERS", "Letters, category L.", unicode.IsLetter},
		{"DIGITS", "Decimal digits, category Nd.", unicode.IsDigit},
		{"PRINTABLE", "Letters, marks, numbers, punctuation, symbols and the ASCII space.", unicode.IsPrint},
	}
	for index, class := range classes {
		if index > 0 {
			fmt.Fprintln(out)
		}
		fmt.Fprintf(out, "/// %s\npub(super) const %s: &[u32] = &[", class.what, class.name)
		column := 100
		inside := false
		for point := rune(0); point <= unicode.MaxRune+1; point++ {
			holds := point <= unicode.MaxRune && class.holds(point)
			if holds == inside {
				continue
			}
			inside = holds
			number := fmt.Sprintf(" %#x,", point)
			if column+len(number) > 100 {
				fmt.Fprint(out, "\n   ")
				column = 3
			}
			fmt.Fprint(out, number)
			column += len(number)
		}
		if _, err := fmt.Fprint(out, "\n];\n"); err != nil {
			return err
		}
	}
	return nil
}

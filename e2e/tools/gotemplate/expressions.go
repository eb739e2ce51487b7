package main

import (
	"fmt"
	"math"
	"strconv"
)

// fractions are those that a binary number can hold exactly.
var fractions = []string{"0625", "125", "25", "375", "5", "75", "875", "9375"}

// numbers prints numbers in random formats.
func (w *writer) numbers() {
	for range 12 {
		w.write("{{")
		if w.onceIn(2) {
			w.write("printf \"%")
			for range w.below(3) {
				w.one("+", "-", "#", " ", "0")
			}
			if w.onceIn(3) {
				w.one("9", "30")
			}
			if !w.onceIn(3) {
				w.write("." + strconv.Itoa(w.below(25)))
			}
			w.one("v", "e", "E", "f", "g", "G", "x", "X", "b", "g", "e", "f")
			w.write("\" ")
		}
		switch w.below(4) {
		case 0:
			w.one(floats...)
		case 1:
			w.one(spellings...)
		default:
			w.randomFloat()
		}
		w.write("}} ")
	}
}

func (w *writer) pipeline(depth int) {
	w.command(depth)
	for w.onceIn(4) {
		w.one(" | ", "|", " |", "| ")
		if w.onceIn(12) {
			w.operand(depth)
		} else {
			w.function(depth, 1)
		}
	}
}

func (w *writer) command(depth int) {
	if !w.onceIn(3) {
		w.function(depth, 0)
		return
	}
	w.operand(depth)
	if w.onceIn(30) {
		w.blank()
		w.operand(depth)
	}
}

// function writes a function with arguments, fewer by those that are piped into it.
func (w *writer) function(depth, piped int) {
	name := w.pick([]string{
		"and", "or", "not", "eq", "ne", "lt", "le", "gt", "ge", "len", "index", "slice",
		"print", "println", "printf", "printf", "printf", "printf", "printf", "html", "js",
		"urlquery", "call", "index", "slice", "eq", "lt", "print",
	})
	if w.onceIn(150) {
		w.one("nofunc", "upper", "printf2", "default", "_", "é")
		return
	}
	w.write(name)
	wanted := w.below(4)
	switch name {
	case "printf":
		if piped == 0 || !w.onceIn(4) {
			w.blank()
			if w.onceIn(25) {
				w.operand(depth)
			} else {
				w.format()
			}
		}
		w.arguments(depth, wanted)
		return
	case "index", "slice":
		w.indexed(depth, piped, wanted)
		return
	case "not", "len":
		wanted = 1
	case "ne", "lt", "le", "gt", "ge":
		wanted = 2
	}
	if w.onceIn(20) {
		w.arguments(depth, w.below(4))
	} else {
		w.arguments(depth, max(wanted, piped)-piped)
	}
}

// indexed writes what index and slice take.
func (w *writer) indexed(depth, piped, indexes int) {
	if piped == 0 {
		w.blank()
		if w.onceIn(2) {
			w.one(".Z", ".A", ".U", ".", "$", "\"abc\"", "\"é€\"", ".B", "nil", "`x`")
		} else {
			w.operand(depth)
		}
	}
	for range indexes {
		w.blank()
		if w.onceIn(5) {
			w.operand(depth)
		} else {
			w.one("0", "1", "2", "1", "0", "3", "\"A\"", "\"k-e\"", "(len .A)", "-1", "'\\x01'")
		}
	}
}

func (w *writer) arguments(depth, count int) {
	for range count {
		w.blank()
		w.operand(depth)
	}
}

func (w *writer) operand(depth int) {
	switch kind := w.below(16); {
	case kind <= 2:
		w.one(
			".A", ".B", ".N", ".Z", ".U", ".b", ".Base", ".Script", ".Zero", ".Missing", ".é",
			".if",
		)
	case kind == 3:
		w.one(
			".", "$", "$.A", "$.Z", ".A.B", ".Missing.X", "$.A.B", "nil", "true", "false", ".A.B.C",
		)
	case kind == 4 && len(w.declared) > 0:
		w.one(w.declared...)
		if w.onceIn(8) {
			w.one(".A", ".A.B")
		}
	case kind == 5 && w.onceIn(10):
		w.one(variables...)
	case (kind == 6 || kind == 7) && depth > 0:
		w.write("(")
		if w.onceIn(60) {
			w.declare()
		}
		w.pipeline(depth - 1)
		w.write(")")
		if w.onceIn(12) {
			w.one(".A", ".B.C", ".é")
		}
	case kind == 8 || kind == 9:
		if w.onceIn(30) {
			w.one(wrongStrings...)
		} else {
			w.one(goodStrings...)
		}
	case kind >= 10 && kind <= 13:
		w.number()
	case kind == 14 && w.onceIn(3):
		w.one(
			"print", "and", "len", "html", "print.X", "true.A", "nil.A", "1.A", "\"s\".A", "printf",
		)
	default:
		w.one(".A", "1", "\"s\"", "true", "2.5", "'a'", ".N")
	}
}

func (w *writer) number() {
	if w.onceIn(25) {
		w.one(wrongNumbers...)
		return
	}
	switch w.below(8) {
	case 0, 1, 2:
		w.one(smallIntegers...)
	case 3:
		w.one(floats...)
	case 4:
		w.one(complexNumbers...)
	case 5:
		w.one(characters...)
	case 6:
		w.one(spellings...)
	default:
		w.randomFloat()
	}
}

func (w *writer) randomFloat() {
	bits := w.bits()
	switch w.below(6) {
	case 0:
		value := math.Float64frombits(bits)
		if math.IsInf(value, 0) || math.IsNaN(value) {
			value = 1
		}
		w.write(strconv.FormatFloat(value, 'e', -1, 64))
	case 1:
		w.write(fmt.Sprintf("%d.%d", bits%1_000, w.below(1_000_000)))
	case 2:
		w.write(fmt.Sprintf("%d.%de-%d", bits%10, w.below(100_000), w.below(40)))
	case 3:
		// What lies in the middle between two shorter numbers, and is rounded to even.
		w.write(fmt.Sprintf("%d.%s", bits%10_000, w.pick(fractions)))
	case 4:
		// Large numbers with a fraction, of which few digits are left.
		w.write(fmt.Sprintf("%d.%s", bits>>(11+w.below(10)), w.pick(fractions)))
	default:
		w.write(strconv.FormatUint(bits>>1>>w.below(63), 10))
	}
}

func (w *writer) format() {
	w.write("\"")
	for range 1 + w.below(3) {
		w.one("", "", "a", " ", "é", ":", "%%", "\\xff")
		w.write("%")
		for range w.below(3) {
			w.one("+", "-", "#", " ", "0", "#", "+")
		}
		if w.onceIn(12) {
			w.one("[1]", "[2]", "[3]", "[0]", "[x]", "[]", "[", "[9]", "[1", "[99999999]")
		}
		if w.onceIn(3) {
			w.one("5", "12", "1", "*", "20", "08", "0", "*", "33", "9999999")
		}
		if w.onceIn(3) {
			w.write(".")
			w.one(
				"0", "1", "2", "3", "", "*", "10", "17", "18", "19", "25", "[1]*", "[2]", "60", "06",
			)
		}
		if w.onceIn(20) {
			w.one("[1]", "[2]", "[", "[5]")
		}
		w.one(
			"s", "d", "v", "q", "x", "X", "o", "O", "b", "c", "e", "E", "f", "F", "g", "G",
			"t", "T", "U", "w", "z", "é", "!", "%", "", "v", "d", "s", "v", "g", "f", "e", "x",
			"q",
		)
	}
	w.write("\"")
}

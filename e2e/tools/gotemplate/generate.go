package main

// variables are those that a template may have declared.
var variables = []string{"$x", "$y", "$value", "$k", "$é"}

// writer writes templates from the grammar: mostly valid, often wrong in the types of values, and now and then wrong in
// syntax.
type writer struct {
	*random
	out      []byte
	ranges   int
	declared []string
}

// generated is a template of a few pieces.
func generated(random *random) []byte {
	w := writer{random: random}
	for range 1 + random.below(4) {
		w.piece(3)
	}
	return w.out
}

// numbers is a template that prints numbers.
func numbers(random *random) []byte {
	w := writer{random: random}
	w.numbers()
	return w.out
}

func (w *writer) write(text string) { w.out = append(w.out, text...) }

// one writes one of the texts.
func (w *writer) one(of ...string) { w.write(w.pick(of)) }

func (w *writer) blank() {
	if w.onceIn(30) {
		w.one("  ", "\n", "\t", "\r\n", "", " \n ")
	} else {
		w.write(" ")
	}
}

func (w *writer) piece(depth int) {
	switch kind := w.below(12); {
	case kind <= 2:
		w.text()
	case kind == 3 && depth > 0:
		w.branch("if", depth)
	case kind == 4 && depth > 0:
		w.branch("with", depth)
	case kind == 5 && depth > 0:
		w.loop(depth)
	case kind == 6:
		w.open()
		w.declare()
		w.pipeline(depth)
		w.close()
	case kind == 7 && (w.ranges > 0 || w.onceIn(40)):
		w.open()
		w.one("break", "continue")
		w.close()
	case kind == 8 && w.onceIn(4):
		w.one(
			"{{/* c */}}",
			"{{- /* c\n}} */ -}}",
			"{{/**/}}",
			"{{ /* no */ }}",
			"{{/* c */ }}",
			"{{/* open",
			"{{- /* c */}} ",
		)
	case kind == 9 && w.onceIn(25):
		w.one(
			"{{end}}",
			"{{else}}",
			"{{define \"t\"}}d{{end}}",
			"{{template \"t\" .}}",
			"{{block \"t\" .}}d{{end}}",
			"{{}}",
			"{{",
			"}}",
			"{{ define }}",
			"{{ template.A }}",
			"{{else if}}",
			"{{break 1}}",
			"{{.A.}}",
			"{{{.A}}}",
			"{{. .}}",
			"{{$}}",
		)
	default:
		w.open()
		w.pipeline(depth)
		w.close()
	}
}

func (w *writer) text() {
	w.one(
		"FROM ",
		"\nRUN echo ",
		" ",
		"\n",
		"\t\n ",
		"x",
		"${A} $(id) ",
		"} }",
		"{ ",
		"% {% y %}",
		"é€",
		"\ufeff",
		"define template block ",
		"ARG V=1\n",
		"  \r\n  ",
		"-",
		"%d",
	)
}

func (w *writer) open() {
	if w.onceIn(8) {
		w.write("{{- ")
	} else {
		w.one("{{", "{{ ", "{{", "{{ ", "{{\n")
	}
}

func (w *writer) close() {
	switch kind := w.below(16); {
	case kind == 0:
		w.write(" -}}")
	case kind == 1:
		w.write("\n}}")
	case kind == 2 && w.onceIn(12):
		w.one("-}}", "} }", " - }}", "|}}", ")}}", ",}}", "")
	case kind >= 3 && kind <= 8:
		w.write(" }}")
	default:
		w.write("}}")
	}
}

func (w *writer) body(depth int) {
	mark := len(w.declared)
	for range w.below(3) {
		w.piece(depth - 1)
	}
	if !w.onceIn(30) {
		w.declared = w.declared[:mark]
	}
}

func (w *writer) end() {
	if w.onceIn(120) {
		return
	}
	w.open()
	w.write("end")
	if w.onceIn(100) {
		w.write(" x")
	}
	w.close()
}

func (w *writer) branch(word string, depth int) {
	mark := len(w.declared)
	w.open()
	w.write(word)
	w.blank()
	if w.onceIn(5) {
		w.declare()
	}
	w.pipeline(depth - 1)
	w.close()
	w.body(depth)
	for range w.below(3) {
		if w.onceIn(2) {
			w.open()
			w.write("else ")
			if w.onceIn(20) {
				w.write("range")
			} else {
				w.write(word)
			}
			w.blank()
			w.pipeline(depth - 1)
			w.close()
			w.body(depth)
		}
	}
	w.otherwise(depth)
	w.end()
	w.declared = w.declared[:mark]
}

func (w *writer) otherwise(depth int) {
	if w.onceIn(2) {
		w.open()
		w.write("else")
		w.close()
		w.body(depth)
	}
}

func (w *writer) loop(depth int) {
	mark := len(w.declared)
	w.open()
	w.write("range")
	w.blank()
	switch w.below(8) {
	case 0, 1:
		w.declare()
	case 2, 3:
		first := w.pick(variables)
		w.write(first)
		w.one(", ", ",", " , ")
		w.declared = append(w.declared, first)
		w.declare()
	}
	switch w.below(6) {
	case 0, 1:
		w.one(".", "$")
	case 2:
		w.one(
			"3",
			"2",
			"0",
			"-1",
			"'\\x02'",
			"5",
			"(len .A)",
			"(index .N 0)",
			"1.5",
			"nil",
			"(and nil)",
			"0x3",
		)
	default:
		w.pipeline(depth - 1)
	}
	w.close()
	w.ranges++
	w.body(depth)
	w.ranges--
	w.otherwise(depth)
	w.end()
	w.declared = w.declared[:mark]
}

// declare writes "$x := " or "$x = ".
func (w *writer) declare() {
	name := w.pick(variables)
	w.write(name)
	if w.onceIn(4) {
		w.one(" = ", "=")
	} else {
		w.one(" := ", ":=", " :=", " := ")
	}
	w.declared = append(w.declared, name)
}

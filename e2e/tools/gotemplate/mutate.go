package main

import (
	"bytes"
	"embed"
	"slices"
)

//go:embed dockerfiles
var dockerfileFolder embed.FS

// dockerfiles are the templates that are changed, in the order of their names.
var dockerfiles = readDockerfiles()

// words are written into a template where they do not belong.
var words = []string{
	"{{",
	"}}",
	"{{-",
	"-}}",
	"{{ ",
	" }}",
	"{{end}}",
	"{{else}}",
	"{{ if .A }}",
	"{{range .}}",
	"{{with .B}}",
	"{{break}}",
	"{{continue}}",
	"|",
	"(",
	")",
	".",
	".A",
	"$",
	"$x",
	":=",
	"=",
	",",
	"\"",
	"`",
	"'",
	"\\",
	"/*",
	"*/",
	" ",
	"\n",
	"\t",
	"-",
	"+",
	"0",
	"1",
	"9",
	"_",
	"i",
	"e",
	"x",
	"printf ",
	"print ",
	"eq ",
	"index ",
	"slice ",
	"len ",
	"nil",
	"true",
	"and ",
	"or ",
	"not ",
	"html ",
	"%",
	"%v",
	"%s",
	"%[1]d",
	"%*d",
	"é",
	"\u2028",
	"\x00",
	"{{define \"x\"}}",
	"define",
	"template",
	"block",
	"{{/* c */}}",
	"else if .A",
	"if",
	"end",
	"range $i, $v := ",
}

func readDockerfiles() [][]byte {
	entries, err := dockerfileFolder.ReadDir("dockerfiles")
	if err != nil {
		panic(err) // Embedded: it is there, or the program is not built.
	}
	var all [][]byte
	for _, entry := range entries {
		content, err := dockerfileFolder.ReadFile("dockerfiles/" + entry.Name())
		if err != nil {
			panic(err)
		}
		all = append(all, content)
	}
	return all
}

// mutated is a Dockerfile with a few changes, as a typing user or an attacker would make them; one in eight is cut to a
// short piece first.
func mutated(random *random) []byte {
	source := slices.Clone(dockerfiles[random.below(len(dockerfiles))])
	if random.onceIn(8) {
		start, end := span(random, len(source))
		source = source[start:end]
	}
	for range random.below(4) {
		source = changed(random, source)
	}
	return source
}

func span(random *random, length int) (start, end int) {
	start = random.below(length + 1)
	most := length - start
	if !random.onceIn(4) {
		most = min(most, 12)
	}
	return start, start + random.below(most+1)
}

// place is where a change is likely to matter: near an action, or anywhere.
func place(random *random, source []byte) int {
	anywhere := random.below(len(source) + 1)
	if random.onceIn(3) {
		return anywhere
	}
	rest := source[anywhere:]
	near := -1
	for _, mark := range []string{"{{", "}}"} {
		if at := bytes.Index(rest, []byte(mark)); at >= 0 && (near < 0 || at < near) {
			near = at
		}
	}
	if near < 0 {
		return anywhere
	}
	return min(anywhere+near+random.below(12), len(source))
}

func changed(random *random, source []byte) []byte {
	at := place(random, source)
	switch random.below(7) {
	case 0:
		return slices.Delete(source, at, min(at+1+random.below(6), len(source)))
	case 1:
		start, end := span(random, len(source))
		return slices.Insert(source, at, slices.Clone(source[start:end])...)
	case 2:
		if at < len(source) {
			source[at] = byte(random.below(256))
		}
		return source
	case 3:
		return slices.Replace(source, at, min(at+1, len(source)), []byte(random.pick(words))...)
	case 4:
		if random.onceIn(4) {
			return source[:at]
		}
	}
	return slices.Insert(source, at, []byte(random.pick(words))...)
}

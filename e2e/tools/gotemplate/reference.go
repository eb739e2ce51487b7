package main

import (
	"errors"
	"text/template"
	"text/template/parse"
	"time"
)

const (
	templateName = "ocispec"
	outputCap    = 32 << 20
	timeCap      = 60 * time.Second
)

var errTooLarge = errors.New("output larger than the cap")

// cappedWriter keeps what it is given and fails once there is too much of it, or too late.
type cappedWriter struct {
	text     []byte
	deadline time.Time
}

func (w *cappedWriter) Write(part []byte) (int, error) {
	if len(w.text)+len(part) > outputCap || time.Now().After(w.deadline) {
		return 0, errTooLarge
	}
	w.text = append(w.text, part...)
	return len(part), nil
}

// render renders with Go. The outcome is rendered, parseError, executionError, or limited where it was too large or too long.
func render(source string) (result outcome, text []byte) {
	parsed, err := template.New(templateName).Option("missingkey=zero").Parse(source)
	if err != nil {
		return parseError, []byte(err.Error())
	}
	output := cappedWriter{deadline: time.Now().Add(timeCap)}
	err = parsed.Execute(&output, values)
	if errors.Is(err, errTooLarge) {
		return limited, nil
	}
	if err != nil {
		return executionError, []byte(err.Error())
	}
	return rendered, output.text
}

// usesOtherTemplates reports whether the source parses and holds a define, template or block action.
func usesOtherTemplates(source string) bool {
	tree := parse.New(templateName)
	tree.Mode = parse.SkipFuncCheck
	trees := map[string]*parse.Tree{}
	root, err := tree.Parse(source, "", "", trees)
	if err != nil {
		return false
	}
	return len(trees) > 1 || holdsTemplateNode(root.Root)
}

func holdsTemplateNode(list *parse.ListNode) bool {
	if list == nil {
		return false
	}
	for _, node := range list.Nodes {
		switch node := node.(type) {
		case *parse.TemplateNode:
			return true
		case *parse.IfNode:
			if holdsTemplateNode(node.List) || holdsTemplateNode(node.ElseList) {
				return true
			}
		case *parse.WithNode:
			if holdsTemplateNode(node.List) || holdsTemplateNode(node.ElseList) {
				return true
			}
		case *parse.RangeNode:
			if holdsTemplateNode(node.List) || holdsTemplateNode(node.ElseList) {
				return true
			}
		}
	}
	return false
}

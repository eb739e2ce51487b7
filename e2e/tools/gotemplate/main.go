// Command gotemplate renders templates with Go's text/template, as the reference that the
// artifact controller's own engine is compared with.
//
// It reads frames on standard input (a big-endian 32-bit length, then that many bytes):
// first the number of values as decimal text, then key and value of each, then any number
// of templates. For each template it answers with one byte and one frame:
//
//	O text     it rendered
//	P message  it did not parse
//	E message  it failed while executing
//	L          its output is larger than the cap, or it ran for too long
//
// preceded by one byte: R if the template parses and defines or calls another template, else a dash.
//
// With the argument "unicode" it prints the character tables of Go's unicode package
// in the form of the Rust file that holds them.
package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
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

func main() {
	var err error
	if len(os.Args) > 1 && os.Args[1] == "unicode" {
		err = printUnicodeTables(os.Stdout)
	} else {
		err = serve(os.Stdin, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gotemplate:", err)
		os.Exit(1)
	}
}

func serve(in io.Reader, out io.Writer) error {
	reader := bufio.NewReaderSize(in, 1<<20)
	writer := bufio.NewWriterSize(out, 1<<20)
	values, err := readValues(reader)
	if err != nil {
		return err
	}
	for {
		source, err := readFrame(reader)
		if errors.Is(err, io.EOF) {
			return writer.Flush()
		}
		if err != nil {
			return err
		}
		outcome, text := render(string(source), values)
		uses := byte('-')
		if usesOtherTemplates(string(source)) {
			uses = 'R'
		}
		if _, err := writer.Write([]byte{uses, outcome}); err != nil {
			return err
		}
		if err := writeFrame(writer, text); err != nil {
			return err
		}
		if reader.Buffered() == 0 {
			if err := writer.Flush(); err != nil {
				return err
			}
		}
	}
}

func render(source string, values map[string]string) (outcome byte, text []byte) {
	parsed, err := template.New(templateName).Option("missingkey=zero").Parse(source)
	if err != nil {
		return 'P', []byte(err.Error())
	}
	output := cappedWriter{deadline: time.Now().Add(timeCap)}
	err = parsed.Execute(&output, values)
	if errors.Is(err, errTooLarge) {
		return 'L', nil
	}
	if err != nil {
		return 'E', []byte(err.Error())
	}
	return 'O', output.text
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

func readValues(reader io.Reader) (map[string]string, error) {
	frame, err := readFrame(reader)
	if err != nil {
		return nil, fmt.Errorf("read the number of values: %w", err)
	}
	count, err := strconv.Atoi(string(frame))
	if err != nil {
		return nil, fmt.Errorf("read the number of values: %w", err)
	}
	values := make(map[string]string, count)
	for range count {
		key, err := readFrame(reader)
		if err != nil {
			return nil, fmt.Errorf("read a key: %w", err)
		}
		value, err := readFrame(reader)
		if err != nil {
			return nil, fmt.Errorf("read the value of %q: %w", key, err)
		}
		values[string(key)] = string(value)
	}
	return values, nil
}

func readFrame(reader io.Reader) ([]byte, error) {
	var header [4]byte
	if _, err := io.ReadFull(reader, header[:]); err != nil {
		return nil, err
	}
	frame := make([]byte, binary.BigEndian.Uint32(header[:]))
	if _, err := io.ReadFull(reader, frame); err != nil {
		return nil, err
	}
	return frame, nil
}

func writeFrame(writer io.Writer, frame []byte) error {
	var header [4]byte
	binary.BigEndian.PutUint32(header[:], uint32(len(frame)))
	if _, err := writer.Write(header[:]); err != nil {
		return err
	}
	_, err := writer.Write(frame)
	return err
}

package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
)

// The questions are frames: a big-endian 32-bit length, then that many bytes. First comes the number of values as decimal
// text, then key and value of each, then the templates. Each answer is the byte of an outcome and a frame with text or
// message.

// outcome is what became of a template.
type outcome byte

const (
	rendered       outcome = 'O'
	parseError     outcome = 'P'
	executionError outcome = 'E'
	// Only the engine under test refuses.
	refused outcome = 'R'
	limited outcome = 'L'
)

func writeFrame(writer io.Writer, frame []byte) error {
	var header [4]byte
	binary.BigEndian.PutUint32(header[:], uint32(len(frame)))
	if _, err := writer.Write(header[:]); err != nil {
		return err
	}
	_, err := writer.Write(frame)
	return err
}

func writeValues(writer io.Writer) error {
	frames := []string{strconv.Itoa(len(values))}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		frames = append(frames, key, values[key])
	}
	for _, frame := range frames {
		if err := writeFrame(writer, []byte(frame)); err != nil {
			return fmt.Errorf("ask: %w", err)
		}
	}
	return nil
}

func readAnswer(reader io.Reader) (outcome, []byte, error) {
	var header [5]byte
	if _, err := io.ReadFull(reader, header[:]); err != nil {
		return 0, nil, fmt.Errorf("read an answer: %w", err)
	}
	text := make([]byte, binary.BigEndian.Uint32(header[1:]))
	if _, err := io.ReadFull(reader, text); err != nil {
		return 0, nil, fmt.Errorf("read an answer: %w", err)
	}
	return outcome(header[0]), text, nil
}

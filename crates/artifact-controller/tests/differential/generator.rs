//! Writes templates from the grammar: mostly valid, often wrong in the types of values, and now
//! and then wrong in syntax.

use super::random::Random;

/// Variables that a template may have declared.
pub(crate) const VARIABLES: &[&str] = &["$x", "$y", "$value", "$k", "$é"];

/// A template of a few pieces.
pub(crate) fn template(random: &mut Random) -> Vec<u8> {
    let mut writer = Writer::new(random);
    for _ in 0..=writer.random.below(4) {
        writer.piece(3);
    }
    writer.out
}

/// A template that prints numbers.
pub(crate) fn numbers(random: &mut Random) -> Vec<u8> {
    let mut writer = Writer::new(random);
    writer.numbers();
    writer.out
}

pub(crate) struct Writer<'r> {
    pub(crate) random: &'r mut Random,
    out: Vec<u8>,
    ranges: usize,
    pub(crate) variables: Vec<&'static str>,
}

impl<'r> Writer<'r> {
    fn new(random: &'r mut Random) -> Self {
        Self {
            random,
            out: Vec::new(),
            ranges: 0,
            variables: Vec::new(),
        }
    }
    pub(crate) fn write(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    pub(crate) fn pick(&mut self, from: &[&str]) {
        let text = self.random.pick(from).to_owned();
        self.write(&text);
    }

    pub(crate) fn blank(&mut self) {
        if self.random.once_in(30) {
            self.pick(&["  ", "\n", "\t", "\r\n", "", " \n "]);
        } else {
            self.write(" ");
        }
    }

    fn piece(&mut self, depth: usize) {
        match self.random.below(12) {
            0..=2 => self.text(),
            3 if depth > 0 => self.branch("if", depth),
            4 if depth > 0 => self.branch("with", depth),
            5 if depth > 0 => self.range(depth),
            6 => self.declaration(depth),
            7 if self.ranges > 0 || self.random.once_in(40) => {
                self.open();
                self.pick(&["break", "continue"]);
                self.close();
            }
            8 if self.random.once_in(4) => self.pick(&[
                "{{/* c */}}",
                "{{- /* c\n}} */ -}}",
                "{{/**/}}",
                "{{ /* no */ }}",
                "{{/* c */ }}",
                "{{/* open",
                "{{- /* c */}} ",
            ]),
            9 if self.random.once_in(25) => self.pick(&[
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
            ]),
            _ => {
                self.open();
                self.pipeline(depth);
                self.close();
            }
        }
    }

    fn text(&mut self) {
        self.pick(&[
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
            "\u{feff}",
            "define template block ",
            "ARG V=1\n",
            "  \r\n  ",
            "-",
            "%d",
        ]);
    }

    fn open(&mut self) {
        if self.random.once_in(8) {
            self.write("{{- ");
        } else {
            self.pick(&["{{", "{{ ", "{{", "{{ ", "{{\n"]);
        }
    }

    fn close(&mut self) {
        match self.random.below(16) {
            0 => self.write(" -}}"),
            1 => self.write("\n}}"),
            2 if self.random.once_in(12) => {
                self.pick(&["-}}", "} }", " - }}", "|}}", ")}}", ",}}", ""]);
            }
            3..=8 => self.write(" }}"),
            _ => self.write("}}"),
        }
    }

    fn body(&mut self, depth: usize) {
        let mark = self.variables.len();
        for _ in 0..self.random.below(3) {
            self.piece(depth - 1);
        }
        if !self.random.once_in(30) {
            self.variables.truncate(mark);
        }
    }

    fn end(&mut self) {
        if self.random.once_in(120) {
            return;
        }
        self.open();
        self.write("end");
        if self.random.once_in(100) {
            self.write(" x");
        }
        self.close();
    }

    fn branch(&mut self, word: &str, depth: usize) {
        let mark = self.variables.len();
        self.open();
        self.write(word);
        self.blank();
        if self.random.once_in(5) {
            self.declare();
        }
        self.pipeline(depth - 1);
        self.close();
        self.body(depth);
        for _ in 0..self.random.below(3) {
            if self.random.once_in(2) {
                self.open();
                self.write("else ");
                let word = if self.random.once_in(20) {
                    "range"
                } else {
                    word
                };
                self.write(word);
                self.blank();
                self.pipeline(depth - 1);
                self.close();
                self.body(depth);
            }
        }
        self.otherwise(depth);
        self.end();
        self.variables.truncate(mark);
    }

    fn otherwise(&mut self, depth: usize) {
        if self.random.once_in(2) {
            self.open();
            self.write("else");
            self.close();
            self.body(depth);
        }
    }

    fn range(&mut self, depth: usize) {
        let mark = self.variables.len();
        self.open();
        self.write("range");
        self.blank();
        match self.random.below(8) {
            0 | 1 => self.declare(),
            2 | 3 => {
                let first = self.random.pick(VARIABLES).to_owned();
                self.write(&first);
                self.pick(&[", ", ",", " , "]);
                self.variables.push(
                    VARIABLES[VARIABLES
                        .iter()
                        .position(|name| *name == first)
                        .unwrap_or(0)],
                );
                self.declare();
            }
            _ => {}
        }
        match self.random.below(6) {
            0 | 1 => self.pick(&[".", "$"]),
            2 => self.pick(&[
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
            ]),
            _ => self.pipeline(depth - 1),
        }
        self.close();
        self.ranges += 1;
        self.body(depth);
        self.ranges -= 1;
        self.otherwise(depth);
        self.end();
        self.variables.truncate(mark);
    }

    /// `$x := ` or `$x = `
    pub(crate) fn declare(&mut self) {
        let index = self.random.below(VARIABLES.len());
        self.write(VARIABLES[index]);
        if self.random.once_in(4) {
            self.pick(&[" = ", "="]);
        } else {
            self.pick(&[" := ", ":=", " :=", " := "]);
        }
        self.variables.push(VARIABLES[index]);
    }

    fn declaration(&mut self, depth: usize) {
        self.open();
        self.declare();
        self.pipeline(depth);
        self.close();
    }
}

//! Writes templates from the grammar: mostly valid, often wrong in the types of values, and now
//! and then wrong in syntax.

use super::random::Random;

/// Variables that a template may have declared.
const VARIABLES: &[&str] = &["$x", "$y", "$value", "$k", "$é"];

/// A template of a few pieces.
pub(crate) fn template(random: &mut Random) -> Vec<u8> {
    let mut writer = Writer {
        random,
        out: Vec::new(),
        ranges: 0,
        variables: Vec::new(),
    };
    let pieces = 1 + writer.random.below(4);
    for _ in 0..pieces {
        writer.piece(3);
    }
    writer.out
}

struct Writer<'r> {
    random: &'r mut Random,
    out: Vec<u8>,
    ranges: usize,
    variables: Vec<&'static str>,
}

impl Writer<'_> {
    fn write(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    fn pick(&mut self, from: &[&str]) {
        let text = self.random.pick(from).to_owned();
        self.write(&text);
    }

    fn blank(&mut self) {
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
                self.pick(&["-}}", "} }", " - }}", "|}}", ")}}", ",}}", ""])
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
    fn declare(&mut self) {
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

    fn pipeline(&mut self, depth: usize) {
        self.command(depth);
        while self.random.once_in(4) {
            self.pick(&[" | ", "|", " |", "| "]);
            if self.random.once_in(12) {
                self.operand(depth);
            } else {
                self.function(depth, 1);
            }
        }
    }

    fn command(&mut self, depth: usize) {
        if self.random.once_in(3) {
            self.operand(depth);
            if self.random.once_in(30) {
                self.blank();
                self.operand(depth);
            }
        } else {
            self.function(depth, 0);
        }
    }

    /// A function with arguments, fewer by those that are piped into it.
    fn function(&mut self, depth: usize, piped: usize) {
        let name = self
            .random
            .pick(&[
                "and", "or", "not", "eq", "ne", "lt", "le", "gt", "ge", "len", "index", "slice",
                "print", "println", "printf", "printf", "printf", "printf", "printf", "html", "js",
                "urlquery", "call", "index", "slice", "eq", "lt", "print",
            ])
            .to_owned();
        if self.random.once_in(150) {
            self.pick(&["nofunc", "upper", "printf2", "default", "_", "é"]);
            return;
        }
        self.write(&name);
        match name.as_str() {
            "printf" => {
                if piped == 0 || !self.random.once_in(4) {
                    self.blank();
                    if self.random.once_in(25) {
                        self.operand(depth);
                    } else {
                        self.format();
                    }
                }
                let arguments = self.random.below(4);
                self.arguments(depth, arguments);
            }
            "index" | "slice" => {
                if piped == 0 {
                    self.blank();
                    if self.random.once_in(2) {
                        self.pick(&[
                            ".Z",
                            ".A",
                            ".U",
                            ".",
                            "$",
                            "\"abc\"",
                            "\"é€\"",
                            ".B",
                            "nil",
                            "`x`",
                        ]);
                    } else {
                        self.operand(depth);
                    }
                }
                let indexes = self.random.below(4);
                for _ in 0..indexes {
                    self.blank();
                    if self.random.once_in(5) {
                        self.operand(depth);
                    } else {
                        self.pick(&[
                            "0", "1", "2", "1", "0", "3", "\"A\"", "\"k-e\"", "(len .A)", "-1",
                            "'\\x01'",
                        ]);
                    }
                }
            }
            _ => {
                let wanted = match name.as_str() {
                    "not" | "len" => 1,
                    "ne" | "lt" | "le" | "gt" | "ge" => 2,
                    _ => self.random.below(4),
                };
                let wanted = if self.random.once_in(20) {
                    self.random.below(4)
                } else {
                    wanted.max(piped) - piped
                };
                self.arguments(depth, wanted);
            }
        }
    }

    fn arguments(&mut self, depth: usize, count: usize) {
        for _ in 0..count {
            self.blank();
            self.operand(depth);
        }
    }

    fn operand(&mut self, depth: usize) {
        match self.random.below(16) {
            0..=2 => self.pick(&[
                ".A", ".B", ".N", ".Z", ".U", ".b", ".Base", ".Script", ".Zero", ".Missing", ".é",
                ".if",
            ]),
            3 => self.pick(&[
                ".",
                "$",
                "$.A",
                "$.Z",
                ".A.B",
                ".Missing.X",
                "$.A.B",
                "nil",
                "true",
                "false",
                ".A.B.C",
            ]),
            4 if !self.variables.is_empty() => {
                let index = self.random.below(self.variables.len());
                self.write(self.variables[index]);
                if self.random.once_in(8) {
                    self.pick(&[".A", ".A.B"]);
                }
            }
            5 if self.random.once_in(10) => self.pick(VARIABLES),
            6 | 7 if depth > 0 => {
                self.write("(");
                if self.random.once_in(60) {
                    self.declare();
                }
                self.pipeline(depth - 1);
                self.write(")");
                if self.random.once_in(12) {
                    self.pick(&[".A", ".B.C", ".é"]);
                }
            }
            8 | 9 => self.string(),
            10..=13 => self.number(),
            14 if self.random.once_in(3) => self.pick(&[
                "print", "and", "len", "html", "print.X", "true.A", "nil.A", "1.A", "\"s\".A",
                "printf",
            ]),
            _ => self.pick(&[".A", "1", "\"s\"", "true", "2.5", "'a'", ".N"]),
        }
    }

    fn string(&mut self) {
        self.pick(&[
            "\"\"",
            "\"a\"",
            "\"x\"",
            "`raw\n\\`",
            "\"é€😀\"",
            "\"\\x41\\n\\t\"",
            "\"\\xff\\xfe\"",
            "\"\\u00e9\\U0001F600\"",
            "\"<a href='x'>&\"",
            "\"a b/c?d=e\"",
            "\"{{\"",
            "\"}}\"",
            "\"\\\"q\\\"\"",
            "`\r\n`",
            "\"\\a\\b\\f\\r\\v\\\\\"",
            "\"\\0\"",
            "\"\\101\"",
            "\"\\400\"",
            "\"\\'\"",
            "\"\\q\"",
            "\"\\ud800\"",
            "\"\u{200b}\u{e000}\u{10ffff}\"",
            "\"100%\"",
            "\"abcdefghijklmno\"",
            "\"A\"",
            "`A`",
            "\"-\"",
            "\"\\x00<\"",
            "\"\u{ad}\\u0085\\u00a0\\ufeff\\ufffd\"",
            "\"{{ define \\\"x\\\" }}\"",
            "`%s`",
        ]);
    }

    fn number(&mut self) {
        match self.random.below(8) {
            0..=2 => self.pick(&[
                "0", "1", "2", "3", "-1", "42", "10", "7", "+5", "255", "65", "8364",
            ]),
            3 => self.pick(&[
                "1.0",
                "0.5",
                "1.5",
                "-2.5",
                "1e3",
                "1e6",
                "1e-5",
                "123456789.0",
                "1e20",
                "1e21",
                "1e100",
                ".5",
                "5.",
                "0.1",
                "100000.5",
                "3.14159265358979",
                "5e-324",
                "1.7976931348623157e308",
                "0.0",
                "-0.0",
                "2.5",
                "0.25",
                "1e400",
                "2.2250738585072014e-308",
                "9007199254740993.0",
            ]),
            4 => self.pick(&[
                "1i",
                "1+2i",
                "-1.5i",
                "1e3-2.5i",
                "0i",
                "0x1p4i",
                "1+0i",
                "0x1p-2+0x1.8p1i",
                "1+2",
                "1i+2i",
                "0x1+2i",
                "1+i",
                "0b1+2i",
                "1_0+2i",
                "1__0+2i",
                "1e400+1i",
                "+1-1i",
                "++2i",
                "1+-2i",
                "+.i",
                "1e+2i",
                "1+0x2i",
                "-0i",
                "07i",
                "0b1i",
                "+i+2i",
                "1e5+1e-5i",
            ]),
            5 => self.pick(&[
                "'a'",
                "'\\n'",
                "'é'",
                "'\\x41'",
                "'\\''",
                "'\"'",
                "'ab'",
                "''",
                "'\\u20ac'",
                "'😀'",
                "'\\q'",
                "'\\377'",
                "'a",
                "'\\ud800'",
            ]),
            6 => self.pick(&[
                "0x1F",
                "0X1f",
                "0b11",
                "0o17",
                "017",
                "1_000",
                "0x_1",
                "0b1_1",
                "1_0_",
                "08",
                "0x",
                "0b",
                "1__0",
                "0_7",
                "9223372036854775807",
                "9223372036854775808",
                "18446744073709551615",
                "18446744073709551616",
                "-9223372036854775808",
                "-9223372036854775809",
                "0x1p4",
                "0x1.8p1",
                "0x.8p0",
                "0x1p-1080",
                "0x1.fffffffffffff8p1023",
                "0x1p1024",
                "0x1.00000000000008p0",
                "0x1.000000000000080001p0",
                "0xe",
                "-0xe",
                "+0x1E",
                "0x1.8",
                "1e",
                "1e+",
                "1.2.3",
                ".",
                "+",
                "-",
                "0x1p",
                "1ee1",
                "00",
                "-0",
                "0x7FFFFFFFFFFFFFFF",
                "0xFFFFFFFFFFFFFFFF",
                "1e1_0",
                "1_e1",
                "0x1_p1",
                "0b2",
                "0o8",
                "1a",
                "0x1p-1074",
                "0x1p-1075",
                "0x1.8p-1074",
                "0x0p9",
                "-0x1p-1",
                "1e0010",
                "9e18",
                "1e19",
                "9223372036854775808.0",
                "0x8000000000000000p0",
            ]),
            _ => self.random_float(),
        }
    }

    fn random_float(&mut self) {
        let text = match self.random.below(5) {
            0 => {
                let value = f64::from_bits(self.random.bits());
                if value.is_finite() {
                    format!("{value:e}")
                } else {
                    "1.0".to_owned()
                }
            }
            1 => format!(
                "{}.{}",
                self.random.below(1_000),
                self.random.below(1_000_000)
            ),
            2 => format!(
                "{}.{}e{}",
                self.random.below(10),
                self.random.below(100_000),
                self.random.below(40) as i64 - 20
            ),
            // Halves: what is rounded to even.
            3 => format!("{}", self.random.below(100_000) as f64 / 8.0 + 0.0625),
            _ => format!("{}", self.random.bits() as i64 >> self.random.below(64)),
        };
        self.write(&text);
    }

    fn format(&mut self) {
        self.write("\"");
        for _ in 0..1 + self.random.below(3) {
            self.pick(&["", "", "a", " ", "é", ":", "%%", "\\xff"]);
            self.write("%");
            for _ in 0..self.random.below(3) {
                self.pick(&["+", "-", "#", " ", "0", "#", "+"]);
            }
            if self.random.once_in(12) {
                self.pick(&[
                    "[1]",
                    "[2]",
                    "[3]",
                    "[0]",
                    "[x]",
                    "[]",
                    "[",
                    "[9]",
                    "[1",
                    "[99999999]",
                ]);
            }
            if self.random.once_in(3) {
                self.pick(&["5", "12", "1", "*", "20", "08", "0", "*", "33", "9999999"]);
            }
            if self.random.once_in(3) {
                self.write(".");
                self.pick(&[
                    "0", "1", "2", "3", "", "*", "10", "17", "18", "19", "25", "[1]*", "[2]", "60",
                    "06",
                ]);
            }
            if self.random.once_in(20) {
                self.pick(&["[1]", "[2]", "[", "[5]"]);
            }
            self.pick(&[
                "s", "d", "v", "q", "x", "X", "o", "O", "b", "c", "e", "E", "f", "F", "g", "G",
                "t", "T", "U", "w", "z", "é", "!", "%", "", "v", "d", "s", "v", "g", "f", "e", "x",
                "q",
            ]);
        }
        self.write("\"");
    }
}

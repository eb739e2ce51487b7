//! Writes pipelines, commands and operands.

use super::generator::{VARIABLES, Writer};
use super::literals;

/// Fractions that a binary number can hold exactly.
const FRACTIONS: &[&str] = &["0625", "125", "25", "375", "5", "75", "875", "9375"];

impl Writer<'_> {
    /// Prints numbers in random formats.
    pub(crate) fn numbers(&mut self) {
        for _ in 0..12 {
            self.write("{{");
            if self.random.once_in(2) {
                self.write("printf \"%");
                for _ in 0..self.random.below(3) {
                    self.pick(&["+", "-", "#", " ", "0"]);
                }
                if self.random.once_in(3) {
                    self.pick(&["9", "30"]);
                }
                if !self.random.once_in(3) {
                    let digits = self.random.below(25);
                    self.write(&format!(".{digits}"));
                }
                self.pick(&["v", "e", "E", "f", "g", "G", "x", "X", "b", "g", "e", "f"]);
                self.write("\" ");
            }
            match self.random.below(4) {
                0 => self.pick(literals::FLOATS),
                1 => self.pick(literals::SPELLINGS),
                _ => self.random_float(),
            }
            self.write("}} ");
        }
    }

    pub(crate) fn pipeline(&mut self, depth: usize) {
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
        if self.random.once_in(30) {
            return self.pick(literals::WRONG_STRINGS);
        }
        self.pick(literals::STRINGS);
    }

    fn number(&mut self) {
        if self.random.once_in(25) {
            return self.pick(literals::WRONG_NUMBERS);
        }
        match self.random.below(8) {
            0..=2 => self.pick(literals::SMALL_INTEGERS),
            3 => self.pick(literals::FLOATS),
            4 => self.pick(literals::COMPLEX),
            5 => self.pick(literals::CHARACTERS),
            6 => self.pick(literals::SPELLINGS),
            _ => self.random_float(),
        }
    }

    fn random_float(&mut self) {
        let bits = self.random.bits();
        let text = match self.random.below(6) {
            0 => {
                let value = f64::from_bits(bits);
                let value = if value.is_finite() { value } else { 1.0 };
                format!("{value:e}")
            }
            1 => format!("{}.{}", bits % 1_000, self.random.below(1_000_000)),
            2 => format!(
                "{}.{}e-{}",
                bits % 10,
                self.random.below(100_000),
                self.random.below(40)
            ),
            // Large numbers with a fraction, of which few digits are left.
            4 => format!(
                "{}.{}",
                bits >> (11 + self.random.below(10)),
                self.random.pick(FRACTIONS)
            ),
            // What lies in the middle between two shorter numbers, and is rounded to even.
            3 => format!("{}.{}", bits % 10_000, self.random.pick(FRACTIONS)),
            _ => format!("{}", bits >> 1 >> self.random.below(63)),
        };
        self.write(&text);
    }

    fn format(&mut self) {
        self.write("\"");
        for _ in 0..=self.random.below(3) {
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

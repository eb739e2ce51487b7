//! Changes Dockerfile templates a little, as a typing user or an attacker would.

use super::random::Random;

const DOCKERFILES: &[&str] = &[
    include_str!("dockerfiles/base-image.dockerfile"),
    include_str!("dockerfiles/loops.dockerfile"),
    include_str!("dockerfiles/registry.dockerfile"),
    include_str!("dockerfiles/functions.dockerfile"),
];

/// What is written into a template where it does not belong.
const WORDS: &[&str] = &[
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
    "\u{2028}",
    "\0",
    "{{define \"x\"}}",
    "define",
    "template",
    "block",
    "{{/* c */}}",
    "else if .A",
    "if",
    "end",
    "range $i, $v := ",
];

/// A Dockerfile with a few changes; one in eight is cut to a short piece first.
pub(crate) fn mutated(random: &mut Random) -> Vec<u8> {
    let mut source = random.pick(DOCKERFILES).as_bytes().to_vec();
    if random.once_in(8) {
        let (start, end) = span(random, source.len());
        source = source[start..end].to_vec();
    }
    for _ in 0..random.below(4) {
        change(random, &mut source);
    }
    source
}

fn span(random: &mut Random, length: usize) -> (usize, usize) {
    let start = random.below(length + 1);
    let most = if random.once_in(4) {
        length - start
    } else {
        (length - start).min(12)
    };
    (start, start + random.below(most + 1))
}

/// A place at which a change is likely to matter: near an action, or anywhere.
fn place(random: &mut Random, source: &[u8]) -> usize {
    let anywhere = random.below(source.len() + 1);
    if random.once_in(3) {
        return anywhere;
    }
    let near = source[anywhere..]
        .windows(2)
        .position(|pair| pair == b"{{" || pair == b"}}");
    let offset = random.below(12);
    near.map_or(anywhere, |distance| {
        (anywhere + distance + offset).min(source.len())
    })
}

fn change(random: &mut Random, source: &mut Vec<u8>) {
    let at = place(random, source);
    match random.below(7) {
        0 => {
            let end = (at + 1 + random.below(6)).min(source.len());
            source.drain(at..end);
        }
        1 => {
            let (start, end) = span(random, source.len());
            let copy = source[start..end].to_vec();
            source.splice(at..at, copy);
        }
        2 => {
            if let Some(byte) = source.get_mut(at) {
                *byte = u8::try_from(random.below(256)).expect("a byte");
            }
        }
        3 => {
            let end = (at + 1).min(source.len());
            source.splice(at..end, random.pick(WORDS).bytes());
        }
        4 if random.once_in(4) => source.truncate(at),
        _ => {
            source.splice(at..at, random.pick(WORDS).bytes());
        }
    }
}

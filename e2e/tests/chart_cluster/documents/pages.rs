//! What in a page of the documentation can be run or applied.

/// One command, block of commands or manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// For a shell.
    Commands(String),
    /// YAML.
    Manifest(String),
}

/// Programs whose commands are run.
const PROGRAMS: [&str; 4] = ["kubectl ", "helm ", "cargo xtask ", "artifact-controller "];

/// The pieces of a page in Markdown, in its order: fenced blocks of a shell or of YAML, and commands within sentences.
/// Two words within a sentence name a command, they do not give one.
pub(crate) fn pieces(page: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut block: Option<(String, String)> = None;
    for line in page.lines() {
        let fence = line.trim_start().strip_prefix("```");
        match (&mut block, fence) {
            (None, Some(language)) => block = Some((language.trim().to_owned(), String::new())),
            (Some((language, text)), Some(_)) => {
                pieces.push(piece(language, text));
                block = None;
            }
            (Some((_, text)), None) => {
                text.push_str(line);
                text.push('\n');
            }
            (None, None) => pieces.extend(within_sentence(line)),
        }
    }
    assert!(block.is_none(), "a block that does not end");
    pieces
}

fn piece(language: &str, text: &str) -> Piece {
    match language {
        "sh" => Piece::Commands(text.to_owned()),
        "console" => {
            let typed = text
                .lines()
                .filter_map(|line| line.trim_start().strip_prefix("$ "));
            Piece::Commands(typed.flat_map(|line| [line, "\n"]).collect())
        }
        "yaml" => Piece::Manifest(text.to_owned()),
        other => {
            panic!("a block of language \"{other}\": say sh, console or yaml, so that it is tried")
        }
    }
}

fn within_sentence(line: &str) -> impl Iterator<Item = Piece> {
    let spans = line.split('`').skip(1).step_by(2);
    spans
        .filter(|span| PROGRAMS.iter().any(|program| span.starts_with(program)))
        .filter(|span| span.split_whitespace().count() > 2 && !span.ends_with("--help"))
        .map(|span| Piece::Commands(format!("{span}\n")))
}

#[test]
fn blocks_and_commands_within_sentences_are_found_in_their_order() {
    let page = "Do `kubectl get pods -A` or `kubectl drain`, not `rm x`.\n\n  ```console\n  $ kubectl get nodes\n  NAME\n  ```\n\
                ```yaml\na: 1\n```\n```sh\nhelm list |\n  cat\n```\n";
    let expected = [
        Piece::Commands("kubectl get pods -A\n".to_owned()),
        Piece::Commands("kubectl get nodes\n".to_owned()),
        Piece::Manifest("a: 1\n".to_owned()),
        Piece::Commands("helm list |\n  cat\n".to_owned()),
    ];
    assert_eq!(pieces(page), expected);
}

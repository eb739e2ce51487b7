//! The Dockerfile cannot be run in every place where tests run, so it is compared with what `cargo xtask image` makes.

use std::{collections::BTreeMap, fs};

use crate::workspace::Workspace;

use super::contents;

/// Instructions of each stage by its name.
type Stages = BTreeMap<String, Vec<(String, String)>>;

/// Reads a Dockerfile: continued lines are joined; a here-document belongs to the instruction that begins it.
fn stages(text: &str) -> Stages {
    let mut stages = Stages::new();
    let mut stage = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let mut line = line.to_owned();
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        while let Some(begun) = line.strip_suffix('\\') {
            line = format!("{} {}", begun.trim_end(), lines.next().unwrap().trim());
        }
        if let Some((_, end)) = line.clone().split_once("<<") {
            for more in lines.by_ref().take_while(|more| *more != end) {
                line.push('\n');
                line.push_str(more);
            }
        }
        let (instruction, arguments) = line.split_once(' ').unwrap();
        if instruction == "FROM" {
            stage = arguments.rsplit_once(" AS ").unwrap().1.to_owned();
        }
        let instruction = (instruction.to_owned(), arguments.to_owned());
        stages.entry(stage.clone()).or_default().push(instruction);
    }
    stages
}

fn read() -> (Workspace, Stages) {
    let workspace = Workspace::load().unwrap();
    let text = fs::read_to_string(workspace.root.join("Dockerfile")).unwrap();
    let stages = stages(&text);
    (workspace, stages)
}

#[test]
fn each_target_is_the_image_that_xtask_makes() {
    let (workspace, mut stages) = read();
    stages.remove("build").unwrap();
    let expected: Stages = contents::of(&workspace)
        .into_iter()
        .map(|image| {
            let programs: Vec<String> = image
                .programs
                .iter()
                .map(|program| format!("/out/{program}"))
                .collect();
            let instructions = [
                ("FROM", format!("scratch AS {}", image.name)),
                ("COPY", format!("--from=build {} /", programs.join(" "))),
                ("USER", "65532:65532".to_owned()),
                ("ENTRYPOINT", format!("[\"/{}\"]", image.name)),
            ];
            let instructions = instructions.map(|(name, words)| (name.to_owned(), words));
            (image.name, instructions.into())
        })
        .collect();
    assert_eq!(stages, expected);
}

#[test]
fn the_build_makes_every_program_with_the_pinned_compiler() {
    let (workspace, stages) = read();
    let build: Vec<&str> = stages["build"]
        .iter()
        .flat_map(|(_, words)| words.split_whitespace())
        .collect();
    let after = |word: &str| {
        let places = build.windows(2).filter(|pair| pair[0] == word);
        let mut found: Vec<&str> = places.map(|pair| pair[1]).collect();
        found.sort_unstable();
        found
    };
    let images = contents::of(&workspace);
    let packages: Vec<&str> = images.iter().map(|image| &*image.name).collect();
    assert_eq!(after("--package"), packages);
    let copied = build.iter().skip_while(|word| **word != "cp").skip(1);
    let mut copied: Vec<&str> = copied
        .copied()
        .take_while(|word| *word != "/out/")
        .collect();
    copied.sort_unstable();
    let mut programs: Vec<&str> = images
        .iter()
        .flat_map(|image| image.programs.iter().map(|program| &**program))
        .collect();
    programs.sort_unstable();
    assert_eq!(copied, programs);

    let toolchain = fs::read_to_string(workspace.root.join("rust-toolchain.toml")).unwrap();
    let channel = toolchain.split('"').nth(1).unwrap();
    assert!(
        build.contains(&&*format!("rust:{channel}-bookworm")),
        "{channel}"
    );
    assert!(
        build.contains(&&*format!("RUSTUP_TOOLCHAIN={channel}")),
        "{channel}"
    );
}

#[test]
fn what_the_build_does_not_read_is_not_sent_to_it() {
    let workspace = Workspace::load().unwrap();
    let ignored = fs::read_to_string(workspace.root.join(".dockerignore")).unwrap();
    let lines: Vec<&str> = ignored.lines().collect();
    assert!(
        lines.contains(&"target") && lines.contains(&".git"),
        "{ignored}"
    );
}

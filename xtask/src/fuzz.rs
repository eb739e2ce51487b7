//! `cargo xtask fuzz`: libFuzzer on our own code, with the pinned compiler. What cargo-fuzz does, less its nightly compiler:
//! coverage comes from a pass of LLVM that the stable compiler runs too, and the address sanitizer would add little to code
//! without `unsafe`.

use std::{fs, process::ExitCode};

use anyhow::{Context, ensure};

use crate::{image, workspace::Workspace};

/// Has each branch counted and each comparison watched.
const COVERAGE: [&str; 6] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
];

/// Feed made-up bytes to a part of ours until the time is over, beginning with the committed ones.
///
/// Ends at the first input that makes it panic, is slow or takes too much memory, and prints how to repeat that.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// What gets the bytes.
    target: Target,
    /// How long to go on.
    #[arg(long, default_value_t = 20)]
    seconds: u32,
    /// Only run this file, as one that was found.
    #[arg(long, conflicts_with = "seconds")]
    input: Option<std::path::PathBuf>,
}

/// `fuzz/targets/NAME.rs`.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Target {
    /// Dockerfile templates.
    Template,
}

impl Target {
    fn name(self) -> &'static str {
        match self {
            Self::Template => "template",
        }
    }
}

pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let name = arguments.target.name();
    let folder = workspace.target_directory.join("fuzz");
    let machine = image::target();
    let mut build = workspace.cargo(["build", "--quiet", "--package", "fuzz", "--profile", "fuzz"]);
    build
        .args(["--features", "libfuzzer", "--bin", name, "--target-dir"])
        .arg(&folder)
        // With a target that is named, the flags are not for what runs while it is built.
        .args(["--target", &machine])
        .env("CARGO_ENCODED_RUSTFLAGS", COVERAGE.join("\u{1f}"));
    let status = build.status().context("failed to start `cargo build`")?;
    ensure!(
        status.success(),
        "failed to build fuzz/targets/{name}.rs; libFuzzer itself needs a C++ compiler (on Debian: g++)"
    );

    let seeds = workspace.root.join("fuzz/corpus").join(name);
    let found = folder.join("found").join(name);
    // What runs found out is kept beside the build, and the next one begins with it.
    let corpus = folder.join("corpus").join(name);
    for folder in [&found, &corpus] {
        fs::create_dir_all(folder)
            .with_context(|| format!("failed to create {}", folder.display()))?;
    }
    let program = folder.join(machine).join("fuzz").join(name);
    let mut fuzz = std::process::Command::new(&program);
    fuzz.current_dir(&workspace.root)
        // One input may take ten seconds, and the process a gigabyte.
        .args(["-timeout=10", "-rss_limit_mb=1024", "-print_final_stats=1"])
        .arg(format!("-artifact_prefix={}/", found.display()));
    match &arguments.input {
        Some(input) => fuzz.arg(input),
        None => fuzz
            .arg(format!("-max_total_time={}", arguments.seconds))
            .arg(format!(
                "-dict={}",
                workspace
                    .root
                    .join("fuzz")
                    .join(name)
                    .with_extension("dict")
                    .display()
            ))
            .args([corpus, seeds]),
    };
    let status = fuzz
        .status()
        .with_context(|| format!("failed to start {}", program.display()))?;
    if status.success() {
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "fuzz: repeat it with `cargo xtask fuzz {name} --input FILE`, FILE being the one that is named above"
    );
    Ok(ExitCode::FAILURE)
}

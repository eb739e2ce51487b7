//! Where the guard's program is: given, beside the running test, or built now.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail};

/// Environment variable that names the guard's program and saves the search.
const VARIABLE: &str = "KAIROS_E2E_GUARD";

/// Finds the guard's program, building it when it is not known to be fresh.
pub(super) fn guard_program() -> anyhow::Result<PathBuf> {
    // The second one is set by cargo for integration tests of this package.
    for variable in [VARIABLE, "CARGO_BIN_EXE_e2e-guard"] {
        if let Some(path) = std::env::var_os(variable) {
            return Ok(path.into());
        }
    }
    let own = std::env::current_exe().context("failed to find the running program")?;
    let folder = own.parent().context("the running program has no folder")?;
    if folder.ends_with("deps") {
        // A test: cargo built the guard together with it.
        let beside = folder.with_file_name("e2e-guard");
        if beside.exists() {
            return Ok(beside);
        }
    }
    build()
}

fn build() -> anyhow::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "build",
            "--quiet",
            "--package",
            "e2e",
            "--bin",
            "e2e-guard",
            "--message-format",
            "json-render-diagnostics",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(std::process::Stdio::inherit())
        .output()
        .with_context(|| {
            format!("failed to run cargo to build e2e-guard: install Rust, or set {VARIABLE}")
        })?;
    if !output.status.success() {
        bail!("failed to build e2e-guard with cargo: {}", output.status);
    }
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .find(|message| {
            message["target"]["name"] == "e2e-guard" && message["executable"].is_string()
        })
        .and_then(|message| message["executable"].as_str().map(PathBuf::from))
        .context("cargo built e2e-guard but did not name the file")
}

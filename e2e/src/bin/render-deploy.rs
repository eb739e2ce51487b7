//! Prints the kustomize components that the chart renders to, as one JSON object of paths and contents, for
//! `cargo xtask generate`.

fn main() -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(&e2e::chart::components()?)?);
    Ok(())
}

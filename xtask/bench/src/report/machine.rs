//! What the figures were measured on.

use std::fs;

use serde_json::{Value, json};

/// CPUs and memory of this machine.
pub(super) fn describe() -> Value {
    let cpus = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    json!({
        "cpus": cpus,
        "cpu": value(&cpuinfo, "model name"),
        "memory": value(&meminfo, "MemTotal"),
    })
}

fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_by_its_name() {
        assert_eq!(
            value("a : 1\nmodel name\t: X 2\n", "model name"),
            Some("X 2")
        );
        assert_eq!(value("", "MemTotal"), None);
    }
}

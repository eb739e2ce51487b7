//! Dockerfile templates: any bytes are rendered or explained, within the limits, and `check` agrees with `render`.

#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use artifact_controller::template::{Limits, TemplateErrorKind, check, render};
use libfuzzer_sys::fuzz_target;

/// Those of the golden cases.
static VALUES: LazyLock<BTreeMap<String, String>> = LazyLock::new(|| {
    [
        ("A", "x"),
        ("B", ""),
        ("N", "3"),
        ("Z", "<a&'\">"),
        ("k-e", "dash"),
        ("b", "low"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
});

/// Small enough for thousands of runs a second. Nesting stays as in the product: the stack must be enough for it.
fn limits() -> Limits {
    Limits {
        output_bytes: 64 << 10,
        function_bytes: 1 << 20,
        steps: 10_000,
        ..Limits::default()
    }
}

fuzz_target!(|source: &[u8]| {
    let limits = limits();
    let rendered = render(source, &VALUES, &limits);
    let checked = check(source, &limits);
    match rendered {
        Ok(text) => {
            assert!(text.len() <= limits.output_bytes, "more than the limit");
            assert_eq!(checked, Ok(()), "rendered, and found wrong");
        }
        Err(error) => {
            let message = error.message();
            assert!(message.starts_with("template: ocispec:"), "{message}");
            let lines = 1 + source.iter().filter(|byte| **byte == b'\n').count();
            assert!(error.line().is_none_or(|line| line <= lines), "{message}");
            if matches!(
                error.kind(),
                TemplateErrorKind::Parse | TemplateErrorKind::Refused
            ) {
                assert_eq!(checked, Err(error), "found wrong in two ways");
            }
        }
    }
});

//! The same text for readers that do not know OpenMetrics: Prometheus' older text format, in which a counter is described
//! by the name of its sample.

use std::fmt::Write as _;

/// The text of the `OpenMetrics` format in Prometheus' text format 0.0.4.
pub(crate) fn from_open_metrics(text: &str) -> String {
    let mut classic = String::with_capacity(text.len() + text.len() / 16);
    let mut help = None;
    for line in text.lines() {
        match described(line) {
            Some(("HELP", name, words)) => help = Some((name, words)),
            Some(("TYPE", name, kind)) => {
                let (suffix, kind) = match kind {
                    "counter" => ("_total", "counter"),
                    "info" => ("_info", "gauge"),
                    other => ("", other),
                };
                if let Some((_, words)) = help.take().filter(|(described, _)| *described == name) {
                    put(&mut classic, format_args!("# HELP {name}{suffix} {words}"));
                }
                put(&mut classic, format_args!("# TYPE {name}{suffix} {kind}"));
            }
            Some(_) => {}
            None => put(&mut classic, format_args!("{line}")),
        }
    }
    classic
}

/// Keyword, name and the rest of a line that describes; the end mark is one without a name.
fn described(line: &str) -> Option<(&str, &str, &str)> {
    let mut words = line.strip_prefix("# ")?.splitn(3, ' ');
    Some((
        words.next()?,
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    ))
}

fn put(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    writeln!(text, "{line}").unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_described_by_the_name_of_their_sample() {
        let open = "# HELP build Version.\n# TYPE build info\nbuild_info{version=\"1\"} 1\n\
                    # HELP a_b Things done.\n# TYPE a_b counter\n# UNIT a_b things\na_b_total 2\n\
                    # HELP h Seconds.\n# TYPE h histogram\nh_count 1\n# EOF\n";
        let classic = "# HELP build_info Version.\n# TYPE build_info gauge\nbuild_info{version=\"1\"} 1\n\
                       # HELP a_b_total Things done.\n# TYPE a_b_total counter\na_b_total 2\n\
                       # HELP h Seconds.\n# TYPE h histogram\nh_count 1\n";
        assert_eq!(from_open_metrics(open), classic);
    }
}

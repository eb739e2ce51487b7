//! The history of a node's boots, as boot.sh and firmware.sh write it: a line `booted SECONDS BOOT-ID` at each start and a line
//! `ended STATUS` at each end.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};

/// One boot of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
    /// What the kubelet reports as `status.nodeInfo.bootID`.
    pub boot_id: String,
    /// When it started, to the second.
    pub started: SystemTime,
    /// How it ended; absent while it runs.
    pub end: Option<End>,
}

/// How a boot ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// reboot(2) was called: the node boots again.
    Reboot,
    /// The node shut down and stays off.
    PowerOff,
    /// The power was cut and the node stays off.
    PowerCut,
    /// Its init ended with this status, as a shell counts: the node is broken and stays off.
    Failed(i32),
}

impl End {
    /// In a PID namespace reboot(2) ends the init by SIGHUP or, for power off, by SIGINT; a shell adds 128.
    fn from_status(status: i32) -> Self {
        match status {
            129 => Self::Reboot,
            130 => Self::PowerOff,
            137 => Self::PowerCut,
            other => Self::Failed(other),
        }
    }
}

/// Reads a history. A line that is not finished yet does not count.
pub(super) fn read(text: &str) -> anyhow::Result<Vec<Boot>> {
    let mut boots: Vec<Boot> = Vec::new();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    for line in whole.lines() {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["booted", seconds, boot_id] => {
                let started = UNIX_EPOCH
                    + Duration::from_secs(
                        seconds
                            .parse()
                            .with_context(|| format!("bad time in {line:?}"))?,
                    );
                boots.push(Boot {
                    boot_id: boot_id.to_owned(),
                    started,
                    end: None,
                });
            }
            ["ended", status] => {
                let end = End::from_status(
                    status
                        .parse()
                        .with_context(|| format!("bad status in {line:?}"))?,
                );
                match boots.last_mut().filter(|boot| boot.end.is_none()) {
                    Some(boot) => boot.end = Some(end),
                    // It ended before its boot ID was made.
                    None => boots.push(Boot {
                        boot_id: String::new(),
                        started: UNIX_EPOCH,
                        end: Some(end),
                    }),
                }
            }
            _ => bail!("unknown line {line:?}"),
        }
    }
    Ok(boots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boots_and_their_ends_are_paired() {
        let boots = read("booted 10 a\nended 129\nbooted 20 b\nended 137\nbooted 30 c\n").unwrap();
        let ends: Vec<_> = boots
            .iter()
            .map(|boot| (boot.boot_id.as_str(), boot.end))
            .collect();
        assert_eq!(
            ends,
            [
                ("a", Some(End::Reboot)),
                ("b", Some(End::PowerCut)),
                ("c", None)
            ]
        );
        assert_eq!(boots[1].started, UNIX_EPOCH + Duration::from_secs(20));
    }

    #[test]
    fn an_unfinished_line_does_not_count() {
        assert_eq!(read("booted 10 a\nended 1").unwrap()[0].end, None);
    }

    #[test]
    fn a_boot_that_failed_early_is_told() {
        assert_eq!(read("ended 32\n").unwrap()[0].end, Some(End::Failed(32)));
    }

    #[test]
    fn an_unknown_line_is_an_error() {
        assert!(read("rebooted\n").is_err());
    }
}

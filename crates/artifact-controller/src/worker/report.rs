//! The list of finished files as the last step's termination message: short, because all containers of a Pod share 12 KiB,
//! each getting an equal part, and the API server cuts what is longer in silence.

use std::fmt::Write as _;

use api_types::osartifact::ArtifactFile;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::recipe::OutputKind;

/// How the message begins.
const HEAD: &str = "files";
/// Bytes of a SHA-256.
const DIGEST: usize = 32;

/// A finished file as the worker measured it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measured {
    /// Which one.
    pub kind: OutputKind,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256.
    pub sha256: [u8; DIGEST],
}

/// The message: `files COUNT`, then per file a letter, the size and the checksum in base64.
pub fn write(files: &[Measured]) -> String {
    let mut text = format!("{HEAD} {}", files.len());
    for file in files {
        // Writing to a String cannot fail.
        write!(
            text,
            "\n{}{} {}",
            file.kind.letter(),
            file.bytes,
            URL_SAFE_NO_PAD.encode(file.sha256)
        )
        .ok();
    }
    text
}

/// The files of an `OSArtifact` of that name that the message lists; none where it is cut or of another kind.
pub fn read(message: &str, name: &str) -> Option<Vec<ArtifactFile>> {
    let mut lines = message.trim().lines();
    let count: usize = lines.next()?.strip_prefix(HEAD)?.trim().parse().ok()?;
    let files: Vec<ArtifactFile> = lines.map(|line| file(line, name)).collect::<Option<_>>()?;
    (files.len() == count).then_some(files)
}

fn file(line: &str, name: &str) -> Option<ArtifactFile> {
    let mut characters = line.chars();
    let kind = OutputKind::of_letter(characters.next()?)?;
    let (bytes, digest) = characters.as_str().split_once(' ')?;
    let digest = URL_SAFE_NO_PAD.decode(digest).ok()?;
    (digest.len() == DIGEST).then_some(())?;
    Some(ArtifactFile {
        file: kind.file(name),
        kind: kind.wire_name().to_owned(),
        bytes: bytes.parse().ok()?,
        sha256: hexadecimal(&digest),
    })
}

/// Bytes as lower-case hexadecimal digits.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").ok();
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests_support::MOST_CONTAINERS;

    fn every_file() -> Vec<Measured> {
        OutputKind::ALL
            .map(|kind| Measured {
                kind,
                bytes: 64 << 40,
                sha256: [0xab; DIGEST],
            })
            .to_vec()
    }

    #[test]
    fn what_is_written_is_read_back() {
        let files = read(&write(&every_file()), "net").unwrap();
        assert_eq!(files.len(), 9);
        assert_eq!(files[0].file, "net.tar");
        assert_eq!(files[6].file, "net-kernel");
        assert_eq!(files[6].kind, "netboot");
        assert_eq!(files[6].bytes, 64 << 40);
        assert_eq!(files[6].sha256, "ab".repeat(32));
    }

    #[test]
    fn a_cut_message_is_none() {
        let text = write(&every_file());
        for length in 0..text.len() {
            assert_eq!(read(&text[..length], "net"), None, "{length}");
        }
    }

    #[test]
    fn the_longest_message_fits_into_the_largest_pods_share() {
        let share = 12 * 1024 / MOST_CONTAINERS;
        assert!(
            write(&every_file()).len() <= share,
            "{} > {share}",
            write(&every_file()).len()
        );
    }
}

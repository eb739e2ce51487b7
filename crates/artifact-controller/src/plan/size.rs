//! Disk sizes: what people write, as the whole MiB that the tool takes.

use super::Refusal;

/// Bytes of one MiB.
const MEBIBYTE: u128 = 1 << 20;
/// Nobody wants a larger disk image, and the tool counts MiB in 32 bits.
const MOST_MEBIBYTES: u128 = 64 << 20;

/// A Quantity such as `10G` or `16Gi`, or a bare number of MiB, as MiB, rounded up.
pub fn mebibytes(text: &str) -> Result<u64, Refusal> {
    let refuse = || {
        Refusal(format!(
            "diskSize {text:?} is no size; write a whole number of MiB such as \"16384\", or a whole number with M, G, T, \
             Mi, Gi or Ti such as \"16Gi\""
        ))
    };
    let digits = text.len()
        - text
            .trim_start_matches(|digit: char| digit.is_ascii_digit())
            .len();
    let (number, unit) = text.split_at(digits);
    let bytes_per_unit = match unit {
        "" | "Mi" => MEBIBYTE,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        _ => return Err(refuse()),
    };
    let number: u64 = number.parse().map_err(|_| refuse())?;
    let mebibytes = (u128::from(number) * bytes_per_unit).div_ceil(MEBIBYTE);
    if mebibytes == 0 || mebibytes > MOST_MEBIBYTES {
        return Err(Refusal(format!(
            "diskSize {text:?} must be at least 1 MiB and at most 64 TiB; write such as \"16Gi\""
        )));
    }
    u64::try_from(mebibytes).map_err(|_| refuse())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_become_whole_mebibytes_rounded_up() {
        for (text, expected) in [
            ("16000", 16_000),
            ("1Mi", 1),
            ("1M", 1),
            ("10G", 9_537),
            ("16Gi", 16_384),
            ("2Ti", 2_097_152),
            ("1T", 953_675),
        ] {
            assert_eq!(mebibytes(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused_with_an_example() {
        for text in [
            "",
            "G",
            "16g",
            "1.5G",
            "-1",
            "0",
            "16 Gi",
            "16Gi; reboot",
            "99999999999999999999",
            "999999T",
        ] {
            let refusal = mebibytes(text).unwrap_err().to_string();
            assert!(refusal.contains("\"16Gi\""), "{text}: {refusal}");
        }
    }
}

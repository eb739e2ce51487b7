//! The texts that we own and that carry values, rendered with escaping for what they go into. A value that cannot stand
//! there is an error, never text of another meaning.

use std::fmt::Write as _;

use minijinja::value::{Value, ValueKind};
use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior, context,
};

use crate::plan::{Version, is_reference};
use crate::tools::kairos_init::{PROGRAM, Stage, convert};

const CONVERT: &str = "convert.dockerfile";
const ASSEMBLE: &str = "assemble.dockerfile";
const FROM: &str = "from.dockerfile";
const IPXE: &str = "netboot.ipxe";
/// The kinds of text, as the names of templates end.
const DOCKERFILE: &str = "dockerfile";
const IPXE_SCRIPT: &str = "ipxe";

/// A text could not be rendered with these values.
#[derive(Debug, thiserror::Error)]
#[error("failed to write the {text}: {source:#}")]
pub struct TextError {
    text: &'static str,
    source: Error,
}

/// The Dockerfile that makes a Kairos image of `base`.
pub fn convert_dockerfile(
    base: &str,
    kairos_init: &str,
    version: &Version,
) -> Result<String, TextError> {
    let values = context! {
        base, kairos_init, program => PROGRAM,
        install => convert(Stage::Install, version.as_str()),
        init => convert(Stage::Init, version.as_str()),
    };
    render(CONVERT, values)
}

/// The Dockerfile that lays its context over `base`.
pub fn assemble_dockerfile(base: &str) -> Result<String, TextError> {
    render(ASSEMBLE, context! { base })
}

/// The Dockerfile that is nothing but `base`.
pub fn from_dockerfile(base: &str) -> Result<String, TextError> {
    render(FROM, context! { base })
}

/// The script with which a machine boots from the files of `name` at `url`.
///
/// The kernel's words are those with which AuroraBoot itself serves a network boot: `rd.live.overlay.overlayfs` because
/// the root file system is a squashfs without an image in it, which a device-mapper overlay could not be laid over. As in
/// the script of Kairos' documentation, `install-mode` installs; AuroraBoot's `nodepair.enable` would ask to be paired.
pub fn ipxe(url: &str, name: &str) -> Result<String, TextError> {
    render(IPXE, context! { url, name })
}

fn render(text: &'static str, values: Value) -> Result<String, TextError> {
    let failed = |source| TextError { text, source };
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|name| match name.rsplit('.').next() {
        Some(IPXE_SCRIPT) => AutoEscape::Custom(IPXE_SCRIPT.into()),
        _ => AutoEscape::Custom(DOCKERFILE.into()),
    });
    environment.set_formatter(escape);
    let source = match text {
        CONVERT => include_str!("texts/convert.dockerfile.j2"),
        ASSEMBLE => include_str!("texts/assemble.dockerfile.j2"),
        FROM => include_str!("texts/from.dockerfile.j2"),
        _ => include_str!("texts/netboot.ipxe.j2"),
    };
    environment.add_template(text, source).map_err(failed)?;
    let template = environment.get_template(text).map_err(failed)?;
    // Templates lose their last newline.
    Ok(template.render(values).map_err(failed)? + "\n")
}

fn escape(output: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    let escaped = match state.auto_escape() {
        AutoEscape::Custom(kind) if kind == IPXE_SCRIPT => for_ipxe(value),
        _ => for_dockerfile(value),
    }?;
    output.write_str(&escaped).map_err(Error::from)
}

fn refused(value: &Value, place: &str) -> Error {
    Error::new(
        ErrorKind::InvalidOperation,
        format!("{value:?} cannot stand in {place}"),
    )
}

/// A list of words becomes the exec form, in which neither a shell nor Docker replaces anything. A single word has to be
/// an image reference or an absolute path, which have no character with a meaning.
fn for_dockerfile(value: &Value) -> Result<String, Error> {
    if value.kind() == ValueKind::Seq {
        let words: Vec<String> = value.try_iter()?.map(|word| word.to_string()).collect();
        return serde_json::to_string(&words)
            .map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()));
    }
    let word = value
        .as_str()
        .ok_or_else(|| refused(value, "a Dockerfile"))?;
    if is_reference(word.strip_prefix('/').unwrap_or(word)) {
        Ok(word.to_owned())
    } else {
        Err(refused(value, "a Dockerfile"))
    }
}

/// iPXE splits at blanks and replaces `${…}`; a `#` begins a comment and a line's end a command. All of these are
/// percent-encoded, which is what they would have to be in an address anyway.
fn for_ipxe(value: &Value) -> Result<String, Error> {
    let word = value
        .as_str()
        .ok_or_else(|| refused(value, "an iPXE script"))?;
    let mut escaped = String::with_capacity(word.len());
    for byte in word.bytes() {
        let plain = byte.is_ascii_alphanumeric() || b"-._~:/?[]@!*+,;=%&".contains(&byte);
        if plain {
            escaped.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            write!(escaped, "%{byte:02X}").ok();
        }
    }
    Ok(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version() -> Version {
        Version::parse("v3.6.0").unwrap()
    }

    #[test]
    fn the_conversion_calls_kairos_init_without_a_shell_and_removes_it() {
        let text = convert_dockerfile(
            "opensuse/leap:15.6",
            "quay.io/kairos/kairos-init:v0.16.1",
            &version(),
        )
        .unwrap();
        insta::assert_snapshot!(text);
    }

    #[test]
    fn an_image_name_that_would_be_another_instruction_is_refused() {
        for base in ["a\nRUN reboot", "$HOME", "--platform=x a", "a b"] {
            let error = convert_dockerfile(base, "init", &version())
                .unwrap_err()
                .to_string();
            assert!(error.contains("cannot stand in a Dockerfile"), "{error}");
            assert!(assemble_dockerfile(base).is_err());
            assert!(from_dockerfile(base).is_err());
        }
    }

    #[test]
    fn the_script_points_at_each_file() {
        insta::assert_snapshot!(ipxe("http://example.com/netboot", "net").unwrap());
    }

    #[test]
    fn an_address_cannot_leave_its_place_in_the_script() {
        let text = ipxe("http://a/ ${net0/mac}#\nshell\n|| sh", "net").unwrap();
        assert_eq!(
            text.lines().count(),
            ipxe("http://a", "net").unwrap().lines().count()
        );
        assert!(!text.contains("${net0"), "{text}");
        assert!(!text.contains('|'), "{text}");
    }
}

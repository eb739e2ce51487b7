//! Image names as manifests write them, completed as container runtimes complete them.

use anyhow::bail;

/// A complete image name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference {
    /// Host with port where one is given, e.g. `docker.io`.
    pub(super) host: String,
    /// Path of the repository, e.g. `library/busybox`.
    pub(super) repository: String,
    /// Tag, e.g. `latest`.
    pub(super) tag: String,
}

impl Reference {
    /// Reads a name such as `busybox`, `quay.io/kairos/ubuntu:v1` or `registry.example.com:5000/tool`.
    pub(super) fn parse(name: &str) -> anyhow::Result<Self> {
        let (path, tag) = match name.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, tag),
            _ => (name, "latest"),
        };
        let (host, repository) = match path.split_once('/') {
            Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => {
                (host, rest.to_owned())
            }
            Some(_) => ("docker.io", path.to_owned()),
            None => ("docker.io", format!("library/{path}")),
        };
        if !is_safe(host) || !is_safe_path(&repository) || !is_safe(tag) {
            bail!(
                "image name {name} is not valid: write it as HOST/REPOSITORY:TAG, in lower case and without a digest"
            );
        }
        Ok(Self {
            host: host.to_owned(),
            repository,
            tag: tag.to_owned(),
        })
    }
}

/// Whether every part of a repository is fit to be the name of a folder.
pub(super) fn is_safe_path(repository: &str) -> bool {
    repository.split('/').all(is_safe)
}

/// Whether `part` is fit to be the name of a file: never a way out of its folder.
pub(super) fn is_safe(part: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':');
    !part.is_empty() && part.len() <= 128 && !part.starts_with('.') && part.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_completed_as_runtimes_do() {
        for (name, host, repository, tag) in [
            ("busybox", "docker.io", "library/busybox", "latest"),
            ("busybox:1.36", "docker.io", "library/busybox", "1.36"),
            ("user/tool", "docker.io", "user/tool", "latest"),
            ("quay.io/kairos/ubuntu:v3", "quay.io", "kairos/ubuntu", "v3"),
            ("localhost/tool", "localhost", "tool", "latest"),
            (
                "registry.example.com:5000/tool",
                "registry.example.com:5000",
                "tool",
                "latest",
            ),
        ] {
            let expected = Reference {
                host: host.into(),
                repository: repository.into(),
                tag: tag.into(),
            };
            assert_eq!(Reference::parse(name).unwrap(), expected, "{name}");
        }
    }

    #[test]
    fn names_that_lead_out_of_the_folder_are_refused() {
        for name in [
            "",
            "../x",
            "a/../../etc",
            "quay.io//x",
            "quay.io/x:..",
            "x@sha256:00",
            "a b",
        ] {
            assert!(Reference::parse(name).is_err(), "{name}");
        }
    }
}

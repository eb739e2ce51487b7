//! Lays the user's files and release texts over the root file system.

use super::root::Root;
use super::{Layout, Result, file, overlay};
use crate::paths;
use crate::plan::ReleaseText;
use crate::recipe::Recipe;

/// First the files, then the texts: what the spec says in words wins.
pub fn customise(layout: &Layout, recipe: &Recipe) -> Result<()> {
    let path = layout.path(paths::ROOT);
    if recipe.overlay_rootfs {
        let source = layout.path(paths::ROOT_OVERLAY_VOLUME);
        overlay::copy(&source, &path, overlay::Owners::Theirs)?;
    }
    let root = file("open", &path, Root::open(&path))?;
    let texts = [
        ("etc/os-release", "IMAGE_ID", &recipe.os_release),
        (
            "etc/kairos-release",
            "KAIROS_VERSION",
            &recipe.kairos_release,
        ),
    ];
    for (name, key, text) in texts {
        let written = match text {
            None => continue,
            Some(ReleaseText::File(text)) => root.write(name, &ending_with_newline(text)),
            Some(ReleaseText::Word(word)) => root.read(name).and_then(|before| {
                root.write(name, &with_key(&before.unwrap_or_default(), key, word))
            }),
        };
        file("write", &path.join(name), written)?;
    }
    Ok(())
}

fn ending_with_newline(text: &str) -> String {
    format!("{}\n", text.trim_end_matches('\n'))
}

/// The text with one key set: its last line in place, further ones of the same key gone.
fn with_key(text: &str, key: &str, word: &str) -> String {
    let prefix = format!("{key}=");
    let is_key = |line: &&str| line.trim_start().starts_with(&prefix);
    let mut lines: Vec<String> = text
        .lines()
        .filter(|line| !is_key(line))
        .map(str::to_owned)
        .collect();
    // The word has no character that a shell would read otherwise; see the plan.
    lines.push(format!("{prefix}\"{word}\""));
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::tests_support::recipe;

    fn customised(recipe: &Recipe, before: &[(&str, &str)]) -> (tempfile::TempDir, Layout) {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::below(folder.path());
        std::fs::create_dir_all(layout.path("/build/rootfs/etc")).unwrap();
        for (name, text) in before {
            std::fs::write(layout.path("/build/rootfs").join(name), text).unwrap();
        }
        customise(&layout, recipe).unwrap();
        (folder, layout)
    }

    #[test]
    fn a_word_sets_one_key_and_keeps_the_others() {
        let mut recipe = recipe();
        recipe.os_release = Some(ReleaseText::Word("opensuse-leap-15.6".into()));
        recipe.kairos_release = Some(ReleaseText::Word("v3.6.0".into()));
        let (_folder, layout) = customised(
            &recipe,
            &[
                ("etc/os-release", "ID=x\nIMAGE_ID=old\nNAME=y"),
                ("etc/kairos-release", "KAIROS_VERSION=v1\n"),
            ],
        );
        let read = |name: &str| std::fs::read_to_string(layout.path(name)).unwrap();
        assert_eq!(
            read("/build/rootfs/etc/os-release"),
            "ID=x\nNAME=y\nIMAGE_ID=\"opensuse-leap-15.6\"\n"
        );
        assert_eq!(
            read("/build/rootfs/etc/kairos-release"),
            "KAIROS_VERSION=\"v3.6.0\"\n"
        );
    }

    #[test]
    fn a_text_replaces_the_file_and_wins_over_the_overlay() {
        let mut recipe = recipe();
        recipe.overlay_rootfs = true;
        recipe.os_release = Some(ReleaseText::File("A=b".into()));
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::below(folder.path());
        std::fs::create_dir_all(layout.path("/build/rootfs/etc")).unwrap();
        std::fs::create_dir_all(layout.path("/kairos/overlay-rootfs/etc")).unwrap();
        std::fs::write(
            layout.path("/kairos/overlay-rootfs/etc/os-release"),
            "OVERLAY=1",
        )
        .unwrap();
        std::fs::write(layout.path("/kairos/overlay-rootfs/etc/motd"), "hi").unwrap();
        customise(&layout, &recipe).unwrap();
        assert_eq!(
            std::fs::read_to_string(layout.path("/build/rootfs/etc/os-release")).unwrap(),
            "A=b\n"
        );
        assert_eq!(
            std::fs::read_to_string(layout.path("/build/rootfs/etc/motd")).unwrap(),
            "hi"
        );
    }
}

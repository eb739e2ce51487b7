//! What the first step lays out, and what it refuses.

use super::tests_support::recipe;
use super::{Layout, prepare};
use crate::recipe::{Dockerfile, Recipe};

struct Place {
    _folder: tempfile::TempDir,
    layout: Layout,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::below(folder.path());
        std::fs::create_dir_all(layout.path("/registry-auth")).unwrap();
        Self {
            _folder: folder,
            layout,
        }
    }

    fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.layout.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.layout.path(path)).unwrap()
    }

    fn error(&self, recipe: &Recipe) -> String {
        prepare(&self.layout, recipe).unwrap_err().to_string()
    }
}

fn with_template(values_from: Option<&str>, values: &[(&str, &str)]) -> Recipe {
    let mut recipe = recipe();
    recipe.dockerfile = Some(Dockerfile::Template {
        secret: "my-dockerfile".into(),
        key: "Dockerfile".into(),
        values_from: values_from.map(str::to_owned),
        values_key: None,
        values: values
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
    });
    recipe
}

#[test]
fn the_dockerfile_is_rendered_and_inline_values_win() {
    let place = Place::new();
    place.write(
        "/kairos/dockerfile/Dockerfile",
        "FROM {{ .Base }}\nRUN echo {{ .Version }}\n",
    );
    place.write("/kairos/values/Base", "opensuse/leap:15.6");
    place.write("/kairos/values/Version", "1.0.0 {{ .Base }}");
    let recipe = with_template(Some("values"), &[("Version", "{{ .Base }} 2.0.0")]);
    assert_eq!(prepare(&place.layout, &recipe).unwrap(), "");
    assert_eq!(
        place.read("/build/dockerfiles/Dockerfile"),
        "FROM opensuse/leap:15.6\nRUN echo {{ .Base }} 2.0.0\n",
        "values are never parsed again"
    );
}

#[test]
fn a_template_of_exactly_one_mebibyte_is_rendered_and_a_larger_one_is_refused() {
    const LARGEST: usize = 1 << 20;
    let place = Place::new();
    let recipe = with_template(None, &[("A", "last")]);
    let of_size = |size: usize| {
        let (begin, end) = ("FROM a\n# ", "\n# {{ .A }}");
        let filling = "x".repeat(size - begin.len() - end.len());
        format!("{begin}{filling}{end}")
    };
    place.write("/kairos/dockerfile/Dockerfile", of_size(LARGEST));
    assert_eq!(prepare(&place.layout, &recipe).unwrap(), "");
    let rendered = place.read("/build/dockerfiles/Dockerfile");
    assert!(rendered.ends_with("x\n# last"), "read to its end");
    place.write("/kairos/dockerfile/Dockerfile", of_size(LARGEST + 1));
    let error = place.error(&recipe);
    assert!(
        error.ends_with("template: ocispec: the template is larger than 1048576 bytes"),
        "{error}"
    );
}

#[test]
fn the_last_words_about_a_long_value_keep_the_place_and_lose_the_value() {
    let place = Place::new();
    let source = "FROM a\nRUN {{ range .A }}{{ end }}\n";
    place.write("/kairos/dockerfile/Dockerfile", source);
    let long = "é ".repeat(3_000);
    let error = prepare(&place.layout, &with_template(None, &[("A", &long)])).unwrap_err();
    let words = error.last_words();
    assert!(words.len() <= 1000, "{}", words.len());
    assert!(
        words.contains(
            "template: ocispec:2:13: executing \"ocispec\" at <.A>: range can't iterate over é é"
        ),
        "{words}"
    );
    assert!(words.ends_with('…'), "{words}");
}

#[test]
fn a_template_error_names_secret_key_line_and_column() {
    let place = Place::new();
    place.write("/kairos/dockerfile/Dockerfile", "FROM a\nRUN {{ .A.B }}\n");
    let error = place.error(&with_template(None, &[("A", "x")]));
    assert!(error.contains("\"my-dockerfile\""), "{error}");
    assert!(
        error.contains("template: ocispec:2:9: executing"),
        "{error}"
    );
}

#[test]
fn an_error_that_quotes_a_secret_value_shows_its_name_instead() {
    let place = Place::new();
    place.write(
        "/kairos/dockerfile/Dockerfile",
        "{{ range .Password }}{{ end }}",
    );
    place.write("/kairos/values/Password", "correct horse");
    let error = place.error(&with_template(Some("values"), &[]));
    assert!(
        error.contains("can't iterate over [the value of Password]"),
        "{error}"
    );
    assert!(!error.contains("horse"), "{error}");
}

#[test]
fn a_missing_dockerfile_or_cloud_config_is_named() {
    let place = Place::new();
    let error = place.error(&with_template(None, &[]));
    assert!(
        error.contains("\"my-dockerfile\"") && error.contains("no key \"Dockerfile\""),
        "{error}"
    );
    let mut recipe = recipe();
    recipe.cloud_config = Some(("cloud".into(), "userdata".into()));
    let error = place.error(&recipe);
    assert!(
        error.starts_with("cloudConfigRef: the Secret \"cloud\""),
        "{error}"
    );
    place.write("/kairos/cloud-config/cloud-config.yaml", " \n");
    assert!(place.error(&recipe).contains("is empty"));
}

#[test]
fn a_cloud_config_with_auroraboots_own_template_marks_is_noted() {
    let place = Place::new();
    let mut recipe = recipe();
    recipe.cloud_config = Some(("cloud".into(), "userdata".into()));
    place.write("/kairos/cloud-config/cloud-config.yaml", "a: '[[[ .X ]]]'");
    let note = prepare(&place.layout, &recipe).unwrap();
    assert!(note.contains("contains \"[[[\""), "{note}");
}

#[test]
fn the_grub_config_arrives_in_the_overlay_and_wins() {
    let place = Place::new();
    let mut recipe = recipe();
    recipe.overlay_iso = true;
    recipe.grub_config = Some("set timeout=5".into());
    place.write("/kairos/overlay-iso/boot/grub2/grub.cfg", "other");
    place.write("/kairos/overlay-iso/README", "hello");
    prepare(&place.layout, &recipe).unwrap();
    assert_eq!(
        place.read("/build/iso-overlay/boot/grub2/grub.cfg"),
        "set timeout=5"
    );
    assert_eq!(place.read("/build/iso-overlay/README"), "hello");
}

#[test]
fn a_pull_secret_that_is_missing_is_a_note_and_no_error() {
    let place = Place::new();
    let mut recipe = recipe();
    recipe.pull_secrets = vec!["registry".into()];
    let note = prepare(&place.layout, &recipe).unwrap();
    assert!(note.contains("\"registry\""), "{note}");
    assert_eq!(place.read("/registry-auth/config.json"), "{\"auths\":{}}");
}

#[test]
fn the_script_for_network_boot_is_written_beside_its_files() {
    let place = Place::new();
    let mut recipe = recipe();
    recipe.netboot_url = Some("http://example.com/netboot".into());
    prepare(&place.layout, &recipe).unwrap();
    let script = place.read("/build/netboot/my.ipxe");
    assert!(
        script.contains("http://example.com/netboot/my-kernel"),
        "{script}"
    );
}

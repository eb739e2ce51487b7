//! CEL rules that keep fields as they are once an operation has started.
//!
//! Written with `has` and not with optional values (`self.?field`): the API server cannot bound the size of an optional
//! value, estimates its comparison as too expensive, and refuses the CRD.

/// Whether the operation had started before this change: its status says when.
const STARTED: &str = "has(oldSelf.status) && has(oldSelf.status.startTime)";

/// A rule that demands all of `conditions` of an operation that has started, and nothing before.
pub(crate) fn unless_started(conditions: &[String]) -> String {
    format!("!({STARTED}) || ({})", conditions.join(" && "))
}

/// Makes conditions which say that fields below one object are what they were.
pub(crate) struct Unchanged {
    path: String,
}

impl Unchanged {
    /// Fields below the object at `path`, counted from the resource.
    pub(crate) fn below(path: &str) -> Self {
        Self {
            path: path.to_owned(),
        }
    }

    /// A field that is required or has a default, so that it is always there.
    pub(crate) fn field(&self, name: &str) -> String {
        let path = &self.path;
        format!("self.{path}.{name} == oldSelf.{path}.{name}")
    }

    /// A field that may be left out.
    pub(crate) fn optional(&self, name: &str) -> String {
        self.optional_object(name, |_| vec![self.field(name)])
    }

    /// An object that may be left out, and of which only some fields must stay.
    pub(crate) fn optional_object(
        &self,
        name: &str,
        fields: impl Fn(&Self) -> Vec<String>,
    ) -> String {
        let path = format!("{}.{name}", self.path);
        let conditions = fields(&Self::below(&path)).join(" && ");
        format!("has(self.{path}) == has(oldSelf.{path}) && (!has(self.{path}) || ({conditions}))")
    }
}

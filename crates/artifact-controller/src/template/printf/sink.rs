//! A text under construction that must not become larger than its limit.

/// Collects bytes up to a limit; what is beyond it is dropped, and remembered.
#[derive(Debug)]
pub(super) struct Sink {
    bytes: Vec<u8>,
    limit: usize,
    overflowed: bool,
}

impl Sink {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            bytes: Vec::new(),
            limit,
            overflowed: false,
        }
    }

    pub(super) fn write(&mut self, text: &[u8]) {
        if self.overflowed || text.len() > self.limit - self.bytes.len() {
            self.overflowed = true;
        } else {
            self.bytes.extend_from_slice(text);
        }
    }

    pub(super) fn fill(&mut self, count: usize, byte: u8) {
        if self.overflowed || count > self.limit - self.bytes.len() {
            self.overflowed = true;
        } else {
            self.bytes.resize(self.bytes.len() + count, byte);
        }
    }

    /// Whether so many bytes can still be written; if not, the text counts as too large.
    pub(super) fn has_room(&mut self, count: usize) -> bool {
        self.overflowed |= count > self.limit - self.bytes.len();
        !self.overflowed
    }

    pub(super) fn overflowed(&self) -> bool {
        self.overflowed
    }

    /// The text; `None` if it was too large.
    pub(super) fn finish(self) -> Option<Vec<u8>> {
        (!self.overflowed).then_some(self.bytes)
    }
}

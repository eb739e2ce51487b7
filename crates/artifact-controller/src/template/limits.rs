//! How much a template may take: its author need not be the one who pays for the machine.

/// The bounds of one rendering. [`Limits::default`] is what the product uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest template, in bytes.
    pub input_bytes: usize,
    /// Largest rendered text, in bytes.
    pub output_bytes: usize,
    /// Most text that functions may build, in bytes over the whole rendering; bounds the memory
    /// that variables can hold.
    pub function_bytes: usize,
    /// Most steps of evaluation: one for each action, command, argument and loop turn, and more for a
    /// function that reads or writes long text. Bounds the time without a clock.
    pub steps: u64,
    /// Deepest nesting of `if`, `with` and `range`. Parentheses have Go's own limit of 10,000.
    pub nesting: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            input_bytes: 1 << 20,
            output_bytes: 8 << 20,
            function_bytes: 32 << 20,
            steps: 5_000_000,
            nesting: 1_000,
        }
    }
}

/// Go's limit for parentheses within parentheses.
pub(super) const MAXIMUM_EXPRESSION_DEPTH: usize = 10_000;

/// Bytes of text that a function handles in the time of one step.
const BYTES_PER_STEP: usize = 64;

/// The limit that was reached, as the end of a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LimitReached(pub(super) &'static str);

/// What is left of the steps and of the text that functions may build.
#[derive(Debug)]
pub(super) struct Budget {
    steps: u64,
    function_bytes: usize,
}

impl Budget {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            steps: limits.steps,
            function_bytes: limits.function_bytes,
        }
    }

    /// Takes `count` steps.
    pub(super) fn step(&mut self, count: usize) -> Result<(), LimitReached> {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        match self.steps.checked_sub(count) {
            Some(left) => {
                self.steps = left;
                Ok(())
            }
            None => Err(LimitReached(
                "the template takes too many steps; make its loops shorter",
            )),
        }
    }

    /// Takes the steps that reading `bytes` of text is worth.
    pub(super) fn read(&mut self, bytes: usize) -> Result<(), LimitReached> {
        self.step(bytes / BYTES_PER_STEP)
    }

    /// The most bytes that a function may still build.
    pub(super) fn function_bytes(&self) -> usize {
        self.function_bytes
    }

    /// Takes `bytes` that a function has built.
    pub(super) fn build(&mut self, bytes: usize) -> Result<(), LimitReached> {
        self.read(bytes)?;
        match self.function_bytes.checked_sub(bytes) {
            Some(left) => {
                self.function_bytes = left;
                Ok(())
            }
            None => Err(TOO_MUCH_TEXT),
        }
    }
}

/// Reached when functions have built more than [`Limits::function_bytes`].
pub(super) const TOO_MUCH_TEXT: LimitReached = LimitReached(
    "the functions of the template build too much text; shorten widths and repeated values",
);

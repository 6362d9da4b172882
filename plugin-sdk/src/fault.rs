use crate::{Fault, FaultKind};

impl Fault {
    /// A failure with a stable `code` (`a-z 0-9 . _`, at most 64 bytes) and one sentence for people, without secrets.
    #[must_use]
    pub fn new(kind: FaultKind, code: &str, message: impl Into<String>) -> Self {
        Self { kind, code: code.to_owned(), message: message.into(), extra: Vec::new() }
    }

    /// The request makes no sense to this node: an unknown process, a wrong state.
    #[must_use]
    pub fn caller(code: &str, message: impl Into<String>) -> Self {
        Self::new(FaultKind::Caller, code, message)
    }

    /// The node failed, refused, or answered nonsense.
    #[must_use]
    pub fn node(code: &str, message: impl Into<String>) -> Self {
        Self::new(FaultKind::Node, code, message)
    }

    /// The node did not answer in time.
    #[must_use]
    pub fn timeout(code: &str, message: impl Into<String>) -> Self {
        Self::new(FaultKind::Timeout, code, message)
    }

    /// This kind of node cannot do that.
    #[must_use]
    pub fn unsupported(code: &str, message: impl Into<String>) -> Self {
        Self::new(FaultKind::Unsupported, code, message)
    }

    /// The plugin itself gave up.
    #[must_use]
    pub fn plugin(code: &str, message: impl Into<String>) -> Self {
        Self::new(FaultKind::Plugin, code, message)
    }

    /// Adds a fact for the host's log, which nobody else sees.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl ToString) -> Self {
        self.extra.push((key.to_owned(), value.to_string()));
        self
    }
}

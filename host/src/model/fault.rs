/// At whose door a failure lies. The edge turns this, with the error's kind, into a status code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The one who asked.
    Caller,
    /// The supervised node.
    Node,
    /// A plugin.
    Plugin,
    /// Omnivisor itself, or its machine.
    Host,
}

/// What kind of failure an adapter reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The request makes no sense to this node: unknown process, wrong state.
    Caller,
    /// The node failed, refused, or answered nonsense.
    Node,
    /// The node did not answer in time.
    Timeout,
    /// This kind of node cannot do that.
    Unsupported,
    /// The adapter itself gave up.
    Plugin,
}

/// A failure as an adapter reports it.
///
/// `code` is stable, lower case with dots and underscores, e.g. `process.not_found`; the list stands in
/// `wit/types/0.1.0/types.wit`. `message` is one sentence for people, without secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct AdapterFault {
    /// What kind.
    pub kind: FaultKind,
    /// Which one.
    pub code: String,
    /// What happened, in words.
    pub message: String,
}

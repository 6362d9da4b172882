use crate::model::{AdapterFault, FaultKind};
use crate::plugin::bindings::types::{Fault, FaultKind as Kind};
use crate::plugin::ending::Refused;
use crate::plugin::text::{MESSAGE_BYTES_MAX, clean, code};

/// A plugin's own fault, checked: its code in our alphabet, its sentence short and plain. `extra` is for later versions.
pub(super) fn accepted(fault: Fault) -> Refused {
    let kind = match fault.kind {
        Kind::Caller => FaultKind::Caller,
        Kind::Node | Kind::Other(_) => FaultKind::Node,
        Kind::Timeout => FaultKind::Timeout,
        Kind::Unsupported => FaultKind::Unsupported,
        Kind::Plugin => FaultKind::Plugin,
    };
    Refused::Fault(AdapterFault {
        kind,
        code: code(&fault.code, "plugin.unnamed"),
        message: clean(&fault.message, MESSAGE_BYTES_MAX),
    })
}

/// The plugin said something that makes no sense.
pub(super) fn nonsense(message: String) -> Refused {
    Refused::Fault(AdapterFault { kind: FaultKind::Plugin, code: "plugin.bad_answer".to_owned(), message })
}

/// A list longer than its contract allows.
pub(super) fn at_most(count: usize, max: usize, what: &str) -> Result<(), Refused> {
    if count > max { Err(Refused::TooMuch(format!("{count} {what}, at most {max}"))) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_made_short_and_plain() {
        let fault = Fault {
            kind: Kind::Other("moon-phase".to_owned()),
            code: "Node Broken\r\n".to_owned(),
            message: format!("no\u{1b}[2J{}", "x".repeat(5_000)),
            extra: vec![],
        };
        let Refused::Fault(fault) = accepted(fault) else { panic!("a fault stays one") };
        assert_eq!((fault.kind, fault.code.as_str()), (FaultKind::Node, "node_broken__"));
        assert!(fault.message.starts_with("no\\u{1b}[2J") && fault.message.len() == MESSAGE_BYTES_MAX);
    }
}

//! Pure rules on how we stand with a node, given how calls to it went.

use crate::model::{AdapterFault, FaultKind, NodeState};
use crate::plugin::AdapterError;

/// How we stand with a node, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Health {
    pub(super) state: NodeState,
    pub(super) reason: Option<String>,
    /// Failed calls in a row.
    pub(super) failures: u32,
    has_data: bool,
    /// It was told to restart or to end, so silence is what is expected of it.
    is_leaving: bool,
    stale_after: u32,
    unreachable_after: u32,
}

impl Health {
    /// A node not heard from yet. One failed call is a hiccup; `stale_after` in a row make it stale, and
    /// `unreachable_after` unreachable.
    pub(super) fn new(stale_after: u32, unreachable_after: u32) -> Self {
        Self {
            state: NodeState::Connecting,
            reason: None,
            failures: 0,
            has_data: false,
            is_leaving: false,
            stale_after,
            unreachable_after: unreachable_after.max(stale_after),
        }
    }

    /// A node that is left alone, whatever was known of it.
    pub(super) fn disabled(self) -> Self {
        Self { state: NodeState::Disabled, reason: None, failures: 0, ..self }
    }

    /// The same with other thresholds. They count from the next call on.
    pub(super) fn set(&mut self, stale_after: u32, unreachable_after: u32) {
        self.stale_after = stale_after;
        self.unreachable_after = unreachable_after.max(stale_after);
    }

    /// A complete observation came in.
    pub(super) fn observed(&mut self, has_hints: bool) {
        self.state = if has_hints { NodeState::Live } else { NodeState::LivePoll };
        self.reason = None;
        self.failures = 0;
        self.has_data = true;
        self.is_leaving = false;
    }

    /// The supervisor took an order to restart or to end: until it is observed again it is shutting down, not failing.
    pub(super) fn leave(&mut self, reason: &str) {
        self.is_leaving = true;
        self.state = NodeState::ShuttingDown;
        self.reason = Some(reason.to_owned());
    }

    /// Its time to be silent is over.
    pub(super) const fn stay(&mut self) {
        self.is_leaving = false;
    }

    /// A call failed. An answer of the node (refused, shutting down, something else there) counts at once; silence has
    /// to last.
    pub(super) fn failed(&mut self, error: &AdapterError) {
        self.failures = self.failures.saturating_add(1);
        let (state, reason) = match error {
            AdapterError::Plugin(failure) => (Some(NodeState::AdapterFailed), failure.to_string()),
            AdapterError::Fault(fault) => (answered(fault), fault.message.clone()),
        };
        let state = match state {
            Some(state) => state,
            None if self.is_leaving => return,
            None if self.failures >= self.unreachable_after => NodeState::Unreachable,
            None if self.failures < self.stale_after => return,
            None if self.has_data => NodeState::Stale,
            None => NodeState::Unreachable,
        };
        self.state = state;
        self.reason = Some(reason);
    }
}

fn answered(fault: &AdapterFault) -> Option<NodeState> {
    match (fault.code.as_str(), fault.kind) {
        ("node.unauthenticated", _) => Some(NodeState::Refused),
        ("node.wrong_endpoint", _) => Some(NodeState::WrongEndpoint),
        ("node.shutting_down", _) => Some(NodeState::ShuttingDown),
        (_, FaultKind::Plugin) => Some(NodeState::AdapterFailed),
        (_, FaultKind::Caller | FaultKind::Node | FaultKind::Timeout | FaultKind::Unsupported) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silence() -> AdapterError {
        fault("node.timed_out", FaultKind::Timeout)
    }

    fn fault(code: &str, kind: FaultKind) -> AdapterError {
        AdapterError::Fault(AdapterFault { kind, code: code.into(), message: "why".into() })
    }

    #[test]
    fn one_lost_call_is_no_news_and_one_good_one_heals() {
        let mut health = Health::new(2, 5);
        health.observed(true);
        health.failed(&silence());
        assert_eq!(health.state, NodeState::Live);
        health.failed(&silence());
        assert_eq!((health.state, health.reason.as_deref()), (NodeState::Stale, Some("why")));
        for _ in 0..3 {
            health.failed(&silence());
        }
        assert_eq!(health.state, NodeState::Unreachable);
        health.observed(false);
        assert_eq!((health.state, health.reason, health.failures), (NodeState::LivePoll, None, 0));
    }

    #[test]
    fn a_node_never_heard_from_is_unreachable_not_stale() {
        let mut health = Health::new(2, 5);
        health.failed(&silence());
        assert_eq!(health.state, NodeState::Connecting);
        health.failed(&silence());
        assert_eq!(health.state, NodeState::Unreachable);
    }

    #[test]
    fn a_supervisor_that_was_told_to_go_is_not_failing_until_its_time_is_over() {
        let mut health = Health::new(2, 5);
        health.observed(true);
        health.leave("told to");
        for _ in 0..9 {
            health.failed(&silence());
            assert_eq!((health.state, health.reason.as_deref()), (NodeState::ShuttingDown, Some("told to")));
        }
        health.stay();
        health.failed(&silence());
        assert_eq!(health.state, NodeState::Unreachable);
        health.leave("told to");
        health.observed(true);
        health.failed(&silence());
        health.failed(&silence());
        assert_eq!(health.state, NodeState::Stale, "one that came back is like any other");
    }

    #[test]
    fn an_answer_counts_at_once() {
        for (code, state) in [
            ("node.unauthenticated", NodeState::Refused),
            ("node.wrong_endpoint", NodeState::WrongEndpoint),
            ("node.shutting_down", NodeState::ShuttingDown),
        ] {
            let mut health = Health::new(2, 5);
            health.observed(true);
            health.failed(&fault(code, FaultKind::Node));
            assert_eq!(health.state, state);
        }
    }
}

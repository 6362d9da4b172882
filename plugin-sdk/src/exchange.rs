use crate::Fault;
use crate::bindings::common::omnivisor::host::exchange;

pub use exchange::{Failure, Request, Response};

/// One HTTP exchange at a time with the node that a call is about.
///
/// In a component this is the host's link to the node: the host resolves, connects, adds the credentials and keeps the
/// connection. In a native test it is a script, or a real connection to a supervisor.
pub trait Exchange {
    /// Sends a request and reads the whole response, inside the deadline of this call.
    ///
    /// # Errors
    /// [`Failure`], which the host has counted against the node already; `?` turns it into the [`Fault`] that the host
    /// expects.
    fn send(&mut self, request: Request) -> Result<Response, Failure>;
}

/// The host's own link.
pub(crate) struct HostExchange;

impl Exchange for HostExchange {
    fn send(&mut self, request: Request) -> Result<Response, Failure> {
        exchange::send(&request)
    }
}

impl From<Failure> for Fault {
    /// The fault that an adapter reports when there was no response at all.
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::TimedOut => Self::timeout("node.timed_out", "the node did not answer in time"),
            Failure::Unreachable(why) => Self::node("node.unreachable", why),
            Failure::TooLarge(limit) => {
                Self::node("node.bad_reply", format!("the node's reply is larger than the {limit} bytes allowed"))
            }
            Failure::Protocol(why) => Self::node("node.bad_reply", why),
            Failure::Refused(why) => Self::plugin("plugin.request_refused", why),
            Failure::Other(why) => Self::node("node.unreachable", why),
        }
    }
}

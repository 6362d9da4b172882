//! Node adapters: how Omnivisor speaks to one kind of process supervisor. The words are those of `wit/adapter`.

use crate::bindings::adapter::exports::omnivisor::adapter::node as contract;
use crate::exchange::HostExchange;
use crate::{Exchange, Fault};
use std::marker::PhantomData;

pub use crate::bindings::common::omnivisor::types::types::{ProcessId, ProcessState};
pub use contract::{
    Ability, AdapterInfo, ConfigurationChanges, GroupOperation, Hints, LogChannel, LogRange, LogSlice, MemberOutcome,
    NodeOperation, Operation, Outcome, Process, Snapshot, StreamRequest,
};

/// Speaks to one kind of process supervisor. Export it with [`export_node_adapter!`](crate::export_node_adapter).
///
/// Functions, not methods: every call has an instance of its own, so there is nothing to keep in a `self`. Those that
/// have a body are called only where [`NodeAdapter::describe`] names the [`Ability`].
pub trait NodeAdapter {
    /// What this adapter is and can do. Asked once after loading; has no node to send anything to.
    fn describe() -> AdapterInfo;

    /// Reads everything.
    ///
    /// # Errors
    /// A [`Fault`] with one of the codes listed in `wit/types/0.1.0/types.wit`.
    fn observe(link: &mut dyn Exchange) -> Result<Snapshot, Fault>;

    /// Reads some processes only. One that does not exist is left out of the answer.
    ///
    /// # Errors
    /// As [`NodeAdapter::observe`].
    fn observe_some(link: &mut dyn Exchange, ids: Vec<ProcessId>) -> Result<Vec<Process>, Fault>;

    /// Gives one order to one process, at most once, and does not wait for its effect.
    ///
    /// # Errors
    /// As [`NodeAdapter::observe`].
    fn run(link: &mut dyn Exchange, operation: Operation, id: ProcessId) -> Result<Outcome, Fault>;

    /// Gives one order to a whole group, at most once, and does not wait for its effect.
    ///
    /// # Errors
    /// As [`NodeAdapter::observe`]; what went wrong with one process alone stands in its outcome.
    fn run_group(
        link: &mut dyn Exchange,
        operation: GroupOperation,
        group: String,
    ) -> Result<Vec<MemberOutcome>, Fault> {
        let _ = (link, operation, group);
        Err(unasked())
    }

    /// Gives one order to the supervisor itself, at most once, and does not wait for its effect.
    ///
    /// # Errors
    /// As [`NodeAdapter::observe`].
    fn run_node(link: &mut dyn Exchange, operation: NodeOperation) -> Result<Outcome, Fault> {
        let _ = (link, operation);
        Err(unasked())
    }

    /// Has the supervisor read its configuration files, and tells how they differ from what runs.
    ///
    /// # Errors
    /// As [`NodeAdapter::observe`].
    fn reread(link: &mut dyn Exchange) -> Result<ConfigurationChanges, Fault> {
        let _ = link;
        Err(unasked())
    }

    /// How to open a live stream of a log; none if it has none.
    fn follow_request(id: ProcessId, channel: LogChannel) -> Option<StreamRequest> {
        let _ = (id, channel);
        None
    }

    /// Reads the end of the supervisor's own log, at most so many bytes.
    ///
    /// # Errors
    /// As [`NodeAdapter::observe`].
    fn read_node_log(link: &mut dyn Exchange, bytes_max: u32) -> Result<Vec<u8>, Fault> {
        let _ = (link, bytes_max);
        Err(unasked())
    }

    /// Reads a piece of a log: the file's bytes, unchanged.
    ///
    /// # Errors
    /// As [`NodeAdapter::observe`].
    fn read_log(
        link: &mut dyn Exchange,
        id: ProcessId,
        channel: LogChannel,
        range: LogRange,
    ) -> Result<LogSlice, Fault>;

    /// How to open the stream that tells of changes; none if there is none.
    fn hint_request() -> Option<StreamRequest> {
        None
    }

    /// Reads a piece of that stream. `rest` is what the last call gave back, empty at first.
    fn read_hints(rest: Vec<u8>, piece: Vec<u8>) -> Hints {
        let _ = (rest, piece);
        Hints { names: Vec::new(), everything: true, rest: Vec::new() }
    }
}

/// What an adapter answers to what it did not name.
fn unasked() -> Fault {
    Fault::unsupported("operation.unknown", "this adapter cannot do that")
}

/// The component that an adapter becomes.
#[doc(hidden)]
pub struct Component<T>(PhantomData<T>);

impl<T: NodeAdapter> contract::Guest for Component<T> {
    fn describe() -> AdapterInfo {
        crate::panic::announce();
        T::describe()
    }

    fn observe() -> Result<Snapshot, Fault> {
        crate::panic::announce();
        T::observe(&mut HostExchange)
    }

    fn observe_some(ids: Vec<ProcessId>) -> Result<Vec<Process>, Fault> {
        crate::panic::announce();
        T::observe_some(&mut HostExchange, ids)
    }

    fn run(operation: Operation, id: ProcessId) -> Result<Outcome, Fault> {
        crate::panic::announce();
        T::run(&mut HostExchange, operation, id)
    }

    fn run_group(operation: GroupOperation, group: String) -> Result<Vec<MemberOutcome>, Fault> {
        crate::panic::announce();
        T::run_group(&mut HostExchange, operation, group)
    }

    fn run_node(operation: NodeOperation) -> Result<Outcome, Fault> {
        crate::panic::announce();
        T::run_node(&mut HostExchange, operation)
    }

    fn reread() -> Result<ConfigurationChanges, Fault> {
        crate::panic::announce();
        T::reread(&mut HostExchange)
    }

    fn follow_request(id: ProcessId, channel: LogChannel) -> Option<StreamRequest> {
        crate::panic::announce();
        T::follow_request(id, channel)
    }

    fn read_node_log(bytes_max: u32) -> Result<Vec<u8>, Fault> {
        crate::panic::announce();
        T::read_node_log(&mut HostExchange, bytes_max)
    }

    fn read_log(id: ProcessId, channel: LogChannel, range: LogRange) -> Result<LogSlice, Fault> {
        crate::panic::announce();
        T::read_log(&mut HostExchange, id, channel, range)
    }

    fn hint_request() -> Option<StreamRequest> {
        crate::panic::announce();
        T::hint_request()
    }

    fn read_hints(rest: Vec<u8>, piece: Vec<u8>) -> Hints {
        crate::panic::announce();
        T::read_hints(rest, piece)
    }
}

/// Makes this crate a node adapter: names the type that implements [`NodeAdapter`]. Once in a crate.
#[macro_export]
macro_rules! export_node_adapter {
    ($adapter:ty) => {
        const _: () = {
            type Component = $crate::__private::AdapterComponent<$adapter>;
            #[cfg(target_arch = "wasm32")]
    $crate::__private::adapter::__export_node_adapter!(Component with_types_in $crate::__private::adapter);
            #[cfg(not(target_arch = "wasm32"))]
            const fn is_an_adapter<T: $crate::__private::adapter::exports::omnivisor::adapter::node::Guest>() {}
            #[cfg(not(target_arch = "wasm32"))]
            is_an_adapter::<Component>();
        };
    };
}

//! Node adapters: how Omnivisor speaks to one kind of process supervisor. The words are those of `wit/adapter`.

use crate::bindings::adapter::exports::omnivisor::adapter::node as contract;
use crate::exchange::HostExchange;
use crate::{Exchange, Fault};
use std::marker::PhantomData;

pub use crate::bindings::common::omnivisor::types::types::{ProcessId, ProcessState};
pub use contract::{
    AdapterInfo, Hints, LogChannel, LogRange, LogSlice, Operation, Outcome, Process, Snapshot, StreamRequest,
};

/// Speaks to one kind of process supervisor. Export it with [`export_node_adapter!`](crate::export_node_adapter).
///
/// Functions, not methods: every call has an instance of its own, so there is nothing to keep in a `self`.
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

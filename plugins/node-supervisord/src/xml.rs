//! XML-RPC as supervisord speaks it: a writer for requests and a tolerant, bounded reader for replies.

mod read;
mod value;
mod write;

pub(crate) use read::{Document, ReadError, Reply};
pub(crate) use value::Value;
pub(crate) use write::{Call, Parameter, multicall};

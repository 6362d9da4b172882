use super::window::{Log, unreadable};
use plugin_sdk::Fault;
use plugin_sdk::adapter::LogSlice;

pub(crate) fn tail(_log: &mut Log<'_>, _size: u64, _bytes_max: u32) -> Result<LogSlice, Fault> {
    Err(unreadable())
}

pub(crate) fn from(_log: &mut Log<'_>, _size: u64, _start: u64, _bytes_max: u32) -> Result<LogSlice, Fault> {
    Err(unreadable())
}

use plugin_sdk::Fault;

/// A fault as supervisord reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RpcFault {
    pub(crate) code: i64,
    pub(crate) text: String,
}

/// The fault codes that a caller decides by. The others only pass through [`RpcFault::into_fault`] (S9).
pub(crate) const BAD_NAME: i64 = 10;
pub(crate) const NO_FILE: i64 = 20;
pub(crate) const FAILED: i64 = 30;
pub(crate) const ALREADY_STARTED: i64 = 60;
pub(crate) const NOT_RUNNING: i64 = 70;
/// In place of a fault, where a list says what became of each process.
pub(crate) const SUCCESS: i64 = 80;
pub(crate) const ALREADY_ADDED: i64 = 90;
pub(crate) const CANT_REREAD: i64 = 92;

impl RpcFault {
    /// The fault in the contract's words. supervisord's own text goes to the log only: it may name paths.
    pub(crate) fn into_fault(self) -> Fault {
        let fault = match self.code {
            1 => Fault::node("node.wrong_endpoint", "the node does not know a method that every supervisord has"),
            2..=4 => Fault::plugin("plugin.bad_request", "supervisord refused the form of the request"),
            6 => Fault::node("node.shutting_down", "supervisord is shutting down"),
            BAD_NAME => Fault::caller("process.not_found", "supervisord has no such process"),
            11 => Fault::caller("process.bad_signal", "supervisord does not know that signal"),
            NO_FILE => Fault::node("process.no_file", "the program's file does not exist"),
            21 => Fault::node("process.not_executable", "the program's file cannot be executed"),
            40 => Fault::caller("process.stopping", "the process has not ended yet"),
            50 => Fault::node("process.spawn_error", "the program did not start"),
            ALREADY_STARTED => Fault::caller("process.already_started", "the process is running already"),
            NOT_RUNNING => Fault::caller("process.not_running", "the process is not running"),
            ALREADY_ADDED => Fault::caller("group.already_added", "the group is active already"),
            91 => Fault::caller("group.still_running", "processes of the group are still running"),
            CANT_REREAD => Fault::node("node.cannot_reread", "supervisord cannot read its configuration"),
            code => Fault::node("node.fault", format!("supervisord reported fault {code}")),
        };
        fault.with("fault", self.code).with("text", self.text)
    }
}

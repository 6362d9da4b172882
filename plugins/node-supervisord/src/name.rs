use plugin_sdk::Fault;
use plugin_sdk::adapter::ProcessId;

/// A process's full name as supervisord takes it, `group:name`.
///
/// Only a literal one comes out of here. In `startProcess` and its kin `group:*` and `group:` mean the whole group (S2),
/// and the group ends at the *first* colon; an identity that supervisord would read as anything but this one process is
/// refused before anything is sent.
///
/// # Errors
/// `process.not_found`: no process can have that identity.
///
/// Source: supervisor's `split_namespec`.
pub(crate) fn literal(id: &ProcessId) -> Result<String, Fault> {
    let is_literal = !id.group.is_empty() && !id.group.contains(':') && !id.name.is_empty() && id.name != "*";
    // XML has no way to write most control characters, and supervisord answers such a request with 400.
    let is_writable = !id.group.chars().chain(id.name.chars()).any(char::is_control);
    if is_literal && is_writable {
        return Ok(format!("{}:{}", id.group, id.name));
    }
    let shown = format!("{}:{}", id.group, id.name);
    Err(Fault::caller("process.not_found", format!("`{}` is not the name of one process", shown.escape_default())))
}

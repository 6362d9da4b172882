//! What the operator set for this plugin.

/// The table `settings` of this plugin as one JSON object; `{}` when there is none.
#[must_use]
pub fn get() -> String {
    crate::bindings::common::omnivisor::host::settings::get()
}
